"""The spec of verified attention and classification robustness."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from assay.common.fields import IDENTITY
from assay.common.validation import StrictModel
from assay.tasks.task_spec import TaskSpec

Combination = Annotated[tuple[str, ...], Field(min_length=1, max_length=3)]
WITHIN_QUARTER = "attention_within_quarter"
"""The figure that ranks: the share of the range where ai provably stays within a quarter of the maps' norm."""
RELATIVE_SUP = "median_relative_sup"
GRAMMAR_HELP = """One to three parameters in all; repeat the option to combine. The grammar:
brightness:LO:HI[:clamp] adds LO..HI to every pixel (clamp: cut to [0, 1]);
patch:LO:HI:ROW:COLUMN:HxW[:GREY] adds LO..HI to a rectangle, in pixels or all four in per cent of the side
(40%:40%:20%x20%); GREY, or one grey per channel as R,G,B: blend towards it instead, for the exact verifier only alone;
translation:x|y:LO:HI moves by LO..HI pixels right or down, sub-pixel;
translation:xy:LO:HI both at once, whole LO and HI, interpolated on triangles.
For the search alone: rotation:LO:HI degrees, scale:LO:HI, contrast:LO:HI about mid-grey, blur:LO:HI pixels."""
WITHIN_QUARTER_SEEN = "attention_within_quarter_where_looked"
"""The search's figure that ranks: the share of its grid where ai stays within a quarter. Nothing is proved."""
RELATIVE_SUP_FOUND = "median_relative_sup_found"
AUTO_RELUS, AUTO_CELLS = 10_000, 20_000
"""The most that ``auto`` gives the exact verifier: ReLUs, and cells of a combination on the first image."""
_SHAPE = re.compile(r"^[a-z]+(:[A-Za-z0-9.,+%-]+)+$")

Verifier = Literal["exact", "search", "auto"]
Saliency = Literal["gradient", "smoothgrad", "grad_cam"]


def property_name(delta: float | None) -> str:
    """``AR(3)`` for attention robustness at a threshold, ``CR`` for classification robustness."""
    return "CR" if delta is None else f"AR({delta:g})"


class SearchSettings(StrictModel):
    """How hard the search looks.

    Attributes:
        grid: points along each parameter where it looks first.
        boxes: between these points; each round of the climb halves the most promising ones.
        rounds: of the climb.
    """

    grid: Annotated[int, IDENTITY] = Field(default=9, ge=2, le=1001)
    boxes: Annotated[int, IDENTITY] = Field(default=4, ge=0, le=1000)
    rounds: Annotated[int, IDENTITY] = Field(default=4, ge=0, le=1000)


def _settings_of(fields: Mapping[str, Any]) -> SearchSettings | None:
    return None if fields.get("verifier", "exact") == "exact" else SearchSettings()


class VerificationSpec(TaskSpec):
    """For which changes of an image are its label (CR) and its saliency map (AR) kept?

    ``combinations`` are sets of one to three perturbation parameters, each perturbation in the grammar of ``assay
    verify --help``. ``deltas`` are thresholds on the attention inconsistency. ``timeout_s`` is a limit per image and
    combination; what is not decided by then is ``unknown``.

    ``verifier``: ``exact`` proves, for piecewise linear networks of some thousand ReLUs. ``search`` looks for the worst
    in any network, as ``search`` says, and proves only what it finds broken. ``auto`` takes exact where the network
    allows it (:data:`AUTO_RELUS`). ``saliency`` is the heat map: the paper's gradient, or for the search alone
    SmoothGrad or Grad-CAM.
    """

    family: Annotated[Literal["verification"], IDENTITY]
    combinations: Annotated[tuple[Combination, ...], IDENTITY] = Field(min_length=1)
    deltas: Annotated[tuple[Annotated[float, Field(gt=0)], ...], IDENTITY] = Field(min_length=1)
    labels: Annotated[Literal["predicted", "all", "top5"], IDENTITY] = "all"
    images: Annotated[int | None, IDENTITY] = Field(default=None, ge=1)
    timeout_s: Annotated[float, IDENTITY] = Field(default=600.0, ge=0)
    # These fields came after results were published. At their defaults no dump has them, and so no key.
    verifier: Annotated[Verifier, IDENTITY] = Field(
        default="exact", exclude_if=lambda verifier: verifier == "exact"
    )
    search: Annotated[SearchSettings | None, IDENTITY] = Field(
        default_factory=_settings_of, exclude_if=lambda settings: settings is None
    )
    saliency: Annotated[Saliency, IDENTITY] = Field(
        default="gradient", exclude_if=lambda saliency: saliency == "gradient"
    )

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

    @model_validator(mode="after")
    def _fields_fit_the_verifier(self) -> "VerificationSpec":
        if self.saliency != "gradient" and self.verifier != "search":
            raise ValueError(
                f"saliency: the exact verifier has the gradient alone, not {self.saliency}; use verifier: search"
            )
        if self.verifier == "exact" and self.search is not None:
            raise ValueError("search: belongs to verifier: search or auto; remove it or name the verifier")
        if self.verifier != "exact" and self.search is None:
            raise ValueError("search: expected its settings, or leave it out for the usual ones")
        return self

    def metric_keys(self) -> tuple[str, ...]:
        """See :meth:`assay.tasks.task_spec.TaskSpec.metric_keys`; of ``auto``, the keys of the verifier that ran."""
        properties = [property_name(delta) for delta in (*self.deltas, None)]
        figures: list[str] = []
        if self.verifier != "search":
            figures += [WITHIN_QUARTER, RELATIVE_SUP, "median_delta_star", "median_min_margin", "decided"]
            figures += [
                f"{name}:{figure}" for name in properties for figure in ("mean_share_satisfied", "robust")
            ]
        if self.verifier != "exact":
            figures += [WITHIN_QUARTER_SEEN, RELATIVE_SUP_FOUND]
            figures += [f"{name}:found_broken" for name in properties]
        return tuple(f"{name}:{figure}" for name in self.names for figure in figures)

    @property
    def names(self) -> list[str]:
        """The combinations as they are written in records and metrics."""
        return [" + ".join(combination) for combination in self.combinations]
