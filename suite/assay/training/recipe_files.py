"""Files of recipes: one recipe, or a sweep, a base and its variants that say what differs (no torch)."""

from __future__ import annotations

from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any

from assay.common.errors import UserError
from assay.common.resources import shipped_folder
from assay.common.validation import read_yaml, validate
from assay.training.recipe import Recipe

VARIANTS = "variants"
_ENDINGS = (".yaml", ".yml")


def shipped_recipes() -> list[str]:
    """Ids of every recipe that ships with Assay, sorted: ``folder/file/variant``, or ``folder/file``."""
    found = []
    for path in _folder().rglob("*.yaml"):
        name = path.relative_to(_folder()).with_suffix("").as_posix()
        found += [f"{name}/{variant}" for variant in variants_in(path)] or [name]
    return sorted(found)


def load_recipe(name: str | Path) -> Recipe:
    """A shipped recipe by id, ``FILE.yaml``, or ``FILE.yaml:VARIANT`` for one of a sweep.

    A file with ``extends: FILE`` takes the keys that it lacks from that file.

    Raises:
        UserError: no such recipe, or it is not a valid one: names the field.
    """
    path, variant = _located(str(name))
    document = _document(path)
    variants = _variants(document, path)
    if variant is None and variants:
        raise UserError(f"{path}: holds several recipes; choose one, such as {path}:{next(iter(variants))}")
    if variant is None:
        return validate(Recipe, document, str(path))
    if variant not in variants:
        nearest = get_close_matches(variant, variants, n=3, cutoff=0.4) or list(variants)[:3]
        raise UserError(
            f"{path}: has no variant {variant!r}; did you mean {' or '.join(nearest) or 'the file itself'}?"
        )
    return validate(Recipe, _with_base(variants[variant], document), f"{path}:{variant}")


def variants_in(path: Path) -> list[str]:
    """The names of a sweep's recipes; none for a file of one recipe.

    Raises:
        UserError: it cannot be read, or its variants are no mappings.
    """
    return list(_variants(_document(path), path))


def recipe_file(name: str) -> Path | None:
    """The user's own file that a recipe's name means; None for a shipped one."""
    path, _ = _split(name)
    return path if path.suffix in _ENDINGS and path.is_file() else None


def _with_base(difference: dict[str, Any], base: dict[str, Any]) -> dict[str, Any]:
    """A variant with the base's keys where it has none; its title comes before the base's."""
    titles = [str(part["title"]) for part in (difference, base) if "title" in part]
    whole = {**base, **difference, "title": ", ".join(titles)}
    whole.pop(VARIANTS)
    return whole


def _variants(document: dict[str, Any], path: Path) -> dict[str, dict[str, Any]]:
    variants = document.get(VARIANTS, {})
    if not isinstance(variants, dict) or not all(isinstance(one, dict) for one in variants.values()):
        raise UserError(
            f"{path}: `{VARIANTS}`: expected a name and what differs for each recipe, found {variants!r}"
        )
    return variants


@lru_cache(maxsize=64)
def _read_shipped(path: Path) -> dict[str, Any]:
    return read_yaml(path)


def _document(path: Path, extended: tuple[Path, ...] = ()) -> dict[str, Any]:
    document = dict(_read_shipped(path) if path.is_relative_to(_folder()) else read_yaml(path))
    base = document.pop("extends", None)
    if base is None:
        return document
    if not isinstance(base, str):
        raise UserError(f"{path}: `extends`: expected the name of a file beside it, found {base!r}")
    other = path.parent / base
    if other.resolve() in extended:
        raise UserError(f"{path}: `extends` {base}, which extends this file again; remove one of the two")
    return _document(other, (*extended, path.resolve())) | document


def _folder() -> Path:
    return shipped_folder("benchmarks") / "recipes"


def _split(name: str) -> tuple[Path, str | None]:
    """A path, and the variant after its last colon."""
    file, colon, variant = name.rpartition(":")
    return (Path(file), variant) if colon and file.endswith(_ENDINGS) else (Path(name), None)


def _located(name: str) -> tuple[Path, str | None]:
    path, variant = _split(name)
    if path.suffix in _ENDINGS:
        if path.is_file():
            return path, variant
        raise UserError(f"recipe {name!r}: there is no such file; check the path")
    shipped = shipped_recipes()
    if name in shipped:
        whole = _folder() / f"{name}.yaml"
        return (
            (whole, None) if whole.is_file() else (_folder() / f"{Path(name).parent}.yaml", Path(name).name)
        )
    nearest = get_close_matches(name, shipped, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(nearest)}?" if nearest else "`assay list recipes` shows all"
    raise UserError(f"unknown recipe {name!r}; {hint} (your own file ends in .yaml)")
