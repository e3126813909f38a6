"""What ``--model`` may say: names, lists, patterns, files of names, and names of the user's own for checkpoints."""

import fnmatch
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from assay.common.errors import UserError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,79}")
_PREFIXES = ("trained:", "onnx:")
_WEIGHTS = (".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".tar")


class RequestedModel(NamedTuple):
    """One model of the command line.

    Attributes:
        model: as the zoo knows it.
        name: that its results are filed under, or None for its own.
        weights: a checkpoint, or None.
    """

    model: str
    name: str | None = None
    weights: str | None = None


def asked_models(given: Iterable[str]) -> list[RequestedModel]:
    """Every model that the options name, each once, in their order.

    Each option is a name, a list with commas, a pattern with ``*``, ``?`` or ``[…]`` over files and known names, or
    ``@FILE`` with one of these per line. A name may be ``NAME=MODEL``, ``MODEL@WEIGHTS`` or ``NAME=MODEL@WEIGHTS``.

    Raises:
        UserError: a file that cannot be read, a pattern that nothing fits, a name that no file can carry.
    """
    found = [each for text in given for part in _parts(text) for each in _expanded(_parsed(part))]
    return list(dict.fromkeys(found))


def _parts(text: str) -> Iterator[str]:
    """The option's names, its ``@FILE`` read and its commas taken apart."""
    if text.startswith("@"):
        for line in _lines(Path(text[1:])):
            yield from _parts(line)
    elif Path(text).exists():
        yield text
    else:
        yield from (part.strip() for part in text.split(",") if part.strip())


def _lines(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"--model @{path}: cannot be read ({getattr(error, 'strerror', error)}); give a text file, one model a line"
        ) from error
    names = [line.split(" #")[0].strip() for line in lines]
    named = [name for name in names if name and not name.startswith("#")]
    if not named:
        raise UserError(f"--model @{path}: names no model; write one per line")
    return named


def _parsed(text: str) -> RequestedModel:
    name, equals, rest = text.partition("=")
    if not equals or Path(text).exists() or "/" in name or ":" in name:
        return _with_weights(text, None)
    return _with_weights(rest, checked_name(name, f"--model {text}"))


def _with_weights(text: str, name: str | None) -> RequestedModel:
    model, at, weights = text.rpartition("@")
    if at and not Path(text).exists() and (weights.endswith(_WEIGHTS) or Path(weights).is_file()):
        return RequestedModel(model, name, weights)
    return RequestedModel(text, name)


def checked_name(name: str, option: str) -> str:
    """A name of the user's own for a model.

    Raises:
        UserError: no file can carry it.
    """
    if not _NAME.fullmatch(name):
        raise UserError(f"{option}: expected a name of 1 to 80 letters, digits and . _ + - (got {name!r})")
    return name


def _expanded(asked: RequestedModel) -> Sequence[RequestedModel]:
    """The models that a pattern fits; the model itself where it is none."""
    if not re.search(r"[*?\[]", asked.model) or Path(asked.model).exists():
        return [asked]
    prefix = next((each for each in _PREFIXES if asked.model.startswith(each)), "")
    files = [f"{prefix}{path}" for path in _files(asked.model.removeprefix(prefix))]
    fits = files or sorted(name for name in _known() if fnmatch.fnmatchcase(name, asked.model))
    if not fits:
        raise UserError(
            f"--model {asked.model}: no file and no known model fits this pattern (`assay list models`)"
        )
    if len(fits) > 1 and (asked.name or asked.weights):
        raise UserError(
            f"--model {asked.model}: fits {len(fits)} models, which cannot share one name or checkpoint"
        )
    return [asked._replace(model=fit) for fit in fits]


def _files(pattern: str) -> list[str]:
    """The paths that a pattern fits, written as it is: relative where it is."""
    absolute = Path(pattern).is_absolute()
    start, rest = (Path("/"), pattern.lstrip("/")) if absolute else (Path(), pattern)
    return sorted(str(path) for path in start.glob(rest))


def _known() -> set[str]:
    """Every name that the zoo knows; patterns of names are none."""
    from assay.models.zoo import registry

    known = registry()
    return {*known.entries, *(name for family in known.families for name in family.names())}
