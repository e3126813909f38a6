"""The saliency methods by name, and what each can be asked. Nothing here imports torch."""

import difflib
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from assay.errors import UserError
from assay.validation import StrictModel, validate

Sign = Literal["signed", "positive"]


class Settings(StrictModel):
    """One method's settings; subclasses add them.

    Attributes:
        title: the method's name in print.
        sign: whether a map has evidence against the class below zero, or evidence for it only.
    """

    title: ClassVar[str]
    sign: ClassVar[Sign] = "signed"


class Gradient(Settings):
    """The logit's gradient (Simonyan et al. 2014)."""

    title = "Gradient"


class GuidedBackprop(Settings):
    """The gradient with every ReLU passing back positive values only (Springenberg et al. 2015)."""

    title = "Guided backprop"


METHODS: dict[str, type[Settings]] = {
    "gradient": Gradient,
    "guided_backprop": GuidedBackprop,
}


def settings_of(method: str, given: Mapping[str, Any]) -> Settings:
    """A method's settings, checked.

    Raises:
        UserError: no such method (the nearest names are given), or it has no such setting or not this value.
    """
    if method not in METHODS:
        near = difflib.get_close_matches(method, METHODS, n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(near)}?" if near else f"choose one of {', '.join(METHODS)}"
        raise UserError(f"unknown saliency method {method!r}; {hint}")
    return validate(METHODS[method], dict(given), f"saliency method {method}")
