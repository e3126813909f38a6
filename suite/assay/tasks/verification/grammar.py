"""The text form of perturbations: `brightness:0:0.5`, `patch:0:1:10:10:4x4`, `translation:xy:0:2`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from assay.common.errors import UserError
from assay.tasks.verification.perturbations import (
    Perturbation,
    Square,
    Theta,
    brightness,
    combine,
    patch,
    translation_along,
    translation_both,
)


def _parse_brightness(fields: list[str]) -> Perturbation:
    if len(fields) not in (2, 3) or fields[2:] not in ([], ["clamp"]):
        raise ValueError
    return brightness(float(fields[0]), float(fields[1]), clamp=len(fields) == 3)


def _parse_patch(fields: list[str]) -> Perturbation:
    lower, upper, row, column, size, *grey = fields
    height, width = size.split("x")
    square = Square(int(row), int(column), int(height), int(width))
    if len(grey) > 1:
        raise ValueError
    return patch(float(lower), float(upper), square, float(grey[0]) if grey else None)


def _parse_translation(fields: list[str]) -> Perturbation:
    axis, lower, upper = fields
    if axis == "xy":
        return translation_both(float(lower), float(upper))
    if axis not in ("x", "y"):
        raise ValueError
    return translation_along(axis, float(lower), float(upper))


_GRAMMAR: dict[str, Callable[[list[str]], Perturbation]] = {
    "brightness": _parse_brightness,
    "patch": _parse_patch,
    "translation": _parse_translation,
}


def parse_perturbation(text: str) -> Perturbation:
    """Read one perturbation from its text.

    Raises:
        UserError: the text does not follow `GRAMMAR_HELP`, or its range is empty.
    """
    name, *fields = text.strip().split(":")
    try:
        return _GRAMMAR[name](fields)
    except UserError:
        raise
    except (KeyError, ValueError) as error:
        raise UserError(
            f"perturbation {text!r} is not understood; write it like brightness:0:0.5 or patch:0:0.5:10:10:4x4 "
            "(`assay verify --help` has the grammar)"
        ) from error


def parse_theta(texts: Sequence[str]) -> Theta:
    """Read and combine perturbations from their texts.

    Raises:
        UserError: as `parse_perturbation` and `combine`.
    """
    return combine([parse_perturbation(text) for text in texts])
