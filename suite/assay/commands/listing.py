"""Models, tasks, data and recipes as rows for `assay list`, and the kind of document that a file holds."""

import textwrap
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from assay.common.errors import UserError
from assay.common.validation import read_yaml
from assay.models.card_file import KEY
from assay.models.entries.card_file import check_card
from assay.tasks.task_spec import shipped_specs
from assay.tasks.tracks import read_track, shipped_tracks

if TYPE_CHECKING:
    from assay.tasks.base import DataSets
    from assay.training.recipe import Recipe

Row = dict[str, str]


def rows(what: str, roots: Sequence[Path] = ()) -> list[Row]:
    """The rows of ``models``, ``tasks``, ``tracks``, ``data`` or ``recipes``."""
    if what in ("models", "tasks", "tracks"):
        return {"models": models, "tasks": tasks, "tracks": tracks}[what]()
    return data(roots) if what == "data" else recipes(roots)


def filtered(rows: Sequence[Row], texts: Sequence[str]) -> list[Row]:
    """The rows that have every text, in upper or lower case: in any column, or in the one of ``COLUMN=TEXT``.

    Raises:
        UserError: there is no such column.
    """
    kept = list(rows)
    for asked in texts:
        column, equals, text = asked.partition("=")
        if equals and column not in rows[0]:
            raise UserError(
                f"--filter {asked}: unknown column {column!r}; choose one of {', '.join(rows[0])}"
            )
        sought = (text if equals else asked).casefold()
        kept = [
            row
            for row in kept
            if any(sought in row[name].casefold() for name in ([column] if equals else row))
        ]
    return kept


def models() -> list[Row]:
    """Name, label space, licence, source and availability of every model."""
    from assay.models.zoo import list_models

    return [
        {
            "name": entry.name,
            "label_space": entry.label_space,
            "licence": entry.licence,
            "available": "no" if entry.available() else "yes",
            "source": _short(entry.source),
        }
        for entry in list_models()
    ]


def tasks() -> list[Row]:
    """Id, family, data, default model, whether the board takes it, and title of every shipped task."""
    from assay.board.submissions.register import shipped_register
    from assay.tasks.families import read_spec

    rows, admitted = [], shipped_register().tasks
    for task, path in shipped_specs().items():
        spec = read_spec(path)
        rows.append(
            {
                "name": task,
                "family": spec.family,
                "data": spec.data,
                "default_model": spec.default_model or "",
                "board": "yes" if task in admitted else "",
                "title": spec.title,
            }
        )
    return rows


def tracks() -> list[Row]:
    """Name, label space, default model and the tasks of every track at each scale, with what their headlines are."""
    from assay.tasks.families import family, read_spec

    specs = {task: read_spec(path) for task, path in shipped_specs().items()}
    return [
        {
            "name": name,
            "label_space": track.label_space,
            "default_model": track.default_model,
            "embedded": "\n".join(track.embedded.tasks),
            "medium": "\n".join(track.medium.tasks),
            "full": "\n".join(track.full.tasks),
            "headlines": "\n".join(
                family(specs[task].family).headline_title(specs[task]) for task in track.full.tasks
            ),
            "title": track.title,
        }
        for name, track in shipped_tracks().items()
    ]


def data(roots: Sequence[Path] = ()) -> list[Row]:
    """Name, label space, kind (images or shapes), licence, source of every data manifest, and how it can be had."""
    from assay.data.dataset import is_available
    from assay.data.manifest import list_manifests, load_manifest

    found = [
        ("images", each, is_available(each, list(roots))) for each in map(load_manifest, list_manifests())
    ]
    for sets in _own_data_sets():
        manifests = map(sets.load, sets.names())
        found += [(sets.kind, each, sets.available(each, roots)) for each in manifests]
    return [
        {
            "name": manifest.name,
            "label_space": manifest.label_space,
            "kind": kind,
            "licence": _short(manifest.licence),
            "available": "no" if missing else "yes",
            "fetch": "yes" if getattr(manifest, "can_be_fetched", False) else "",
            "source": _short(manifest.source),
        }
        for kind, manifest, missing in found
    ]


def _own_data_sets() -> list["DataSets"]:
    """What families take that is no labelled picture."""
    from assay.tasks.families import families, family

    kinds = [family(name).data_sets for name in families()]
    return [sets for sets in kinds if sets is not None]


def recipes(roots: Sequence[Path] = ()) -> list[Row]:
    """Id, method, saliency, architecture, data, whether they are available, and title of every shipped recipe."""
    from assay.data.dataset import is_available
    from assay.data.manifest import load_manifest
    from assay.training.recipe_files import load_recipe, shipped_recipes

    @cache
    def there(manifest: str) -> bool:
        return is_available(load_manifest(manifest), list(roots)) is None

    rows = []
    for name in shipped_recipes():
        recipe = load_recipe(name)
        manifests = dict.fromkeys((recipe.data.train.manifest, recipe.data.test.manifest))
        rows.append(
            {
                "name": name,
                "method": recipe.method.name,
                "saliency": _saliency(recipe),
                "architecture": recipe.architecture,
                "data": ", ".join(manifests),
                "available": "yes" if all(map(there, manifests)) else "no",
                "title": recipe.title,
            }
        )
    return rows


def _saliency(recipe: "Recipe") -> str:
    """Where the method's saliency comes from: a teacher (and how it is asked), the annotation, the foreground."""
    block = getattr(recipe.method, "saliency", None)
    if block is None:
        return ""
    return f"teacher ({block.method})" if block.source == "teacher" else str(block.source)


def _short(text: str, width: int = 60) -> str:
    return textwrap.shorten(text, width, placeholder=" …")


def kind_of(path: Path) -> str:
    """The kind of valid document that a file holds, such as a task spec, a recipe, a data manifest or a model card.

    Raises:
        UserError: it is none, or not valid.
    """
    if path.suffix == ".json":
        from assay.results.document import read_result

        read_result(path)
        return "result document"
    document = read_yaml(path)
    if KEY in document:
        unseen = check_card(path)
        return f"model card (network not looked at: {unseen})" if unseen else "model card"
    if "embedded" in document:
        read_track(path)
        return "track"
    if "family" in document:
        from assay.tasks.families import read_spec

        read_spec(path)
        return "task spec"
    if "optimiser" in document or "extends" in document:
        from assay.training.recipe_files import load_recipe, variants_in

        for name in [f"{path}:{variant}" for variant in variants_in(path)] or [str(path)]:
            load_recipe(name)
        return "recipe"
    for sets in _own_data_sets():
        if document.get("kind") == sets.kind:
            sets.load(str(path.resolve()))
            return f"{sets.kind} manifest"
    if "layout" in document:
        from assay.data.manifest import load_manifest

        load_manifest(str(path.resolve()))
        return "data manifest"
    if "claims" in document:
        from assay.papers.spec.paper import load_paper

        load_paper(str(path))
        return "paper"
    raise UserError(
        f"{path}: of no known kind; add the key that says it: `family` (a task spec), `layout` (a data manifest), "
        f"`optimiser` (a recipe), `claims` (a paper) or `{KEY}` (a model card)"
    )
