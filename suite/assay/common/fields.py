"""Fields of documents: the two sides that a field can stand on, and numbers as people write them."""

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, PlainSerializer, model_validator

from assay.common.validation import StrictModel

IDENTITY = "identity"
RUNTIME = "runtime"


def parse_rational(value: object) -> Fraction:
    """``4/255``, ``0.03`` or ``0`` as an exact fraction.

    Raises:
        ValueError: anything else.
    """
    if isinstance(value, Fraction):
        return value
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        try:
            return Fraction(str(value).strip())
        except (ValueError, ZeroDivisionError):
            pass
    raise ValueError("expected a number such as 4/255, 0.03 or 0")


Rational = Annotated[Fraction, BeforeValidator(parse_rational), PlainSerializer(str, return_type=str)]


class StepSize(StrictModel):
    """A step in pixel units, or relative to eps: written ``1/255`` or ``0.2 eps``."""

    value: Annotated[Rational, IDENTITY]
    relative: Annotated[bool, IDENTITY]

    @model_validator(mode="before")
    @classmethod
    def _parse(cls, value: Any) -> Any:
        if not isinstance(value, str | int | float) or isinstance(value, bool):
            return value
        text = str(value)
        number = re.sub(r"\s*\*?\s*eps$", "", text)
        try:
            step = parse_rational(number)
        except ValueError:
            raise ValueError("expected a step size such as 2/255 or 0.2 eps") from None
        if step <= 0:
            raise ValueError("a step size must be greater than 0")
        return {"value": step, "relative": number != text}

    def at(self, eps: Fraction) -> float:
        """The step in pixel units at a given ``eps``."""
        return float(self.value * eps if self.relative else self.value)


def field_sides(model: type[BaseModel]) -> dict[str, str | None]:
    """For each field of ``model``: ``identity``, ``runtime``, or None when nobody has put it on a side."""
    return {
        name: next((side for side in field.metadata if side in (IDENTITY, RUNTIME)), None)
        for name, field in model.model_fields.items()
    }


def identity_of(document: BaseModel) -> dict[str, Any]:
    """The identity side of ``document``, nested models included, as plain JSON."""
    dumped = document.model_dump(mode="json")
    sides = field_sides(type(document))
    return {
        name: _identity_value(getattr(document, name), dumped[name])
        for name in dumped
        if sides[name] == IDENTITY
    }


def _identity_value(value: Any, dumped: Any) -> Any:
    if isinstance(value, BaseModel):
        return identity_of(value)
    if isinstance(value, list | tuple):
        return [_identity_value(item, plain) for item, plain in zip(value, dumped, strict=True)]
    if isinstance(value, Mapping):
        return {key: _identity_value(value[key], dumped[key]) for key in dumped}
    return dumped
