"""The text form of perturbations: `brightness:0:0.5`, `patch:0:1:10:10:4x4`, `translation:xy:0:2`, `rotation:-5:5`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from assay.common.errors import UserError
from assay.tasks.verification import moves
from assay.tasks.verification.moves import Motion, Motions, combine_motions
from assay.tasks.verification.perturbations import (
    Perturbation,
    Theta,
    brightness,
    combine,
    patch,
    translation,
)
from assay.tasks.verification.squares import Square

Made = TypeVar("Made", Perturbation, Motion)


def _brightness(make: Callable[[float, float, bool], Made], fields: list[str]) -> Made:
    if len(fields) not in (2, 3) or fields[2:] not in ([], ["clamp"]):
        raise ValueError
    return make(float(fields[0]), float(fields[1]), len(fields) == 3)


def _patch(make: Callable[[float, float, Square, tuple[float, ...] | None], Made], fields: list[str]) -> Made:
    if len(fields) not in (5, 6):
        raise ValueError
    texts = [*fields[2:4], *fields[4].split("x")]
    per_cent = all(text.endswith("%") for text in texts)
    top, left, height, width = (int(text.removesuffix("%") if per_cent else text) for text in texts)
    grey = tuple(float(value) for value in fields[5].split(",")) if fields[5:] else None
    return make(float(fields[0]), float(fields[1]), Square(top, left, height, width, per_cent), grey)


def _translation(make: Callable[[str, float, float], Made], fields: list[str]) -> Made:
    axis, lower, upper = fields
    if axis not in ("x", "y", "xy"):
        raise ValueError
    return make(axis, float(lower), float(upper))


def _range(make: Callable[[float, float], Made], fields: list[str]) -> Made:
    lower, upper = fields
    return make(float(lower), float(upper))


_EXACT: Mapping[str, Callable[[list[str]], Perturbation]] = {
    "brightness": lambda fields: _brightness(brightness, fields),
    "patch": lambda fields: _patch(patch, fields),
    "translation": lambda fields: _translation(translation, fields),
}
_SEARCHED: Mapping[str, Callable[[list[str]], Motion]] = {
    "brightness": lambda fields: _brightness(moves.brightness, fields),
    "patch": lambda fields: _patch(moves.patch, fields),
    "translation": lambda fields: _translation(moves.translation, fields),
    "rotation": lambda fields: _range(moves.rotation, fields),
    "scale": lambda fields: _range(moves.scale, fields),
    "contrast": lambda fields: _range(moves.contrast, fields),
    "blur": lambda fields: _range(moves.blur, fields),
}


def _parse(grammar: Mapping[str, Callable[[list[str]], Made]], text: str) -> Made:
    name, *fields = text.strip().split(":")
    if name in _SEARCHED and name not in grammar:
        raise UserError(
            f"perturbation {text!r} is not piecewise affine, so it cannot be verified exactly: use verifier: search"
        )
    try:
        return grammar[name](fields)
    except UserError:
        raise
    except (KeyError, ValueError) as error:
        raise UserError(
            f"perturbation {text!r} is not understood; write it like brightness:0:0.5 or patch:0:0.5:10:10:4x4 "
            "(`assay verify --help` has the grammar)"
        ) from error


def parse_perturbation(text: str) -> Perturbation:
    """Read one perturbation for the exact verifier from its text.

    Raises:
        UserError: the text does not follow `GRAMMAR_HELP`, its range is empty, or only the search has it.
    """
    return _parse(_EXACT, text)


def parse_theta(texts: Sequence[str]) -> Theta:
    """Read and combine perturbations for the exact verifier from their texts.

    Raises:
        UserError: as `parse_perturbation` and `combine`.
    """
    return combine([parse_perturbation(text) for text in texts])


def parse_motions(texts: Sequence[str]) -> Motions:
    """Read and combine perturbations for the search from their texts.

    Raises:
        UserError: a text does not follow `GRAMMAR_HELP`, its range is empty or has no meaning; more than three
            parameters.
    """
    return combine_motions([_parse(_SEARCHED, text) for text in texts])
