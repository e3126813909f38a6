"""The spec of verified attention and classification robustness."""

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator

from assay.specs import IDENTITY, TaskSpec

Combination = Annotated[tuple[str, ...], Field(min_length=1, max_length=3)]
WITHIN_QUARTER = "attention_within_quarter"
"""The figure that ranks: the share of the range on which ai provably stays within a quarter of the maps' norm."""
RELATIVE_SUP = "median_relative_sup"
GRAMMAR_HELP = """One to three parameters in all; repeat the option to combine. The grammar:
brightness:LO:HI[:clamp] adds LO..HI to every pixel (clamp: cut to [0, 1]);
patch:LO:HI:ROW:COLUMN:HxW[:GREY] adds LO..HI to a rectangle (GREY: blend towards it instead, only alone);
translation:x|y:LO:HI moves by LO..HI pixels right or down, sub-pixel;
translation:xy:LO:HI both at once, whole LO and HI, interpolated on triangles."""
_SHAPE = re.compile(r"^[a-z]+(:[A-Za-z0-9.+-]+)+$")


def property_name(delta: float | None) -> str:
    """``AR(3)`` for attention robustness at a threshold, ``CR`` for classification robustness."""
    return "CR" if delta is None else f"AR({delta:g})"


class VerificationSpec(TaskSpec):
    """For which changes of an image are its label (CR) and its saliency map (AR) provably kept?

    ``combinations`` are sets of one to three perturbation parameters, each perturbation in the grammar of
    ``assay verify --help``; ``deltas`` are thresholds on the attention inconsistency; ``timeout_s`` is a limit an
    image and combination, after which what is not decided is ``unknown``.
    """

    family: Annotated[Literal["verification"], IDENTITY]
    combinations: Annotated[tuple[Combination, ...], IDENTITY] = Field(min_length=1)
    deltas: Annotated[tuple[Annotated[float, Field(gt=0)], ...], IDENTITY] = Field(min_length=1)
    labels: Annotated[Literal["predicted", "all"], IDENTITY] = "all"
    images: Annotated[int | None, IDENTITY] = Field(default=None, ge=1)
    timeout_s: Annotated[float, IDENTITY] = Field(default=600.0, ge=0)

    @field_validator("combinations")
    @classmethod
    def _written_like_perturbations(cls, value: tuple[Combination, ...]) -> tuple[Combination, ...]:
        # The whole grammar is checked where torch is loaded, before any work; this catches slips in `validate`.
        for text in (text for combination in value for text in combination):
            if not _SHAPE.match(text):
                raise ValueError(f"expected perturbations such as brightness:0:0.5, found {text!r}")
        return value

    @field_validator("deltas")
    @classmethod
    def _ascending(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if list(value) != sorted(set(value)):
            raise ValueError("expected thresholds in ascending order, each once")
        return value

    def metric_keys(self) -> tuple[str, ...]:
        """See :meth:`assay.specs.TaskSpec.metric_keys`."""
        properties = [property_name(delta) for delta in (*self.deltas, None)]
        figures = [WITHIN_QUARTER, RELATIVE_SUP, "median_delta_star", "median_min_margin", "decided"]
        figures += [
            f"{name}:{figure}" for name in properties for figure in ("mean_share_satisfied", "robust")
        ]
        return tuple(f"{name}:{figure}" for name in self.names for figure in figures)

    @property
    def names(self) -> list[str]:
        """The combinations as they are written in records and metrics."""
        return [" + ".join(combination) for combination in self.combinations]
