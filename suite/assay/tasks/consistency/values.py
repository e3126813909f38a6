"""The form of a consistency record's values; a stranger's are checked against it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from assay.common.validation import StrictModel
from assay.tasks.base import Record
from assay.tasks.consistency.spec import ConsistencySpec

Count = Annotated[int, Field(ge=0, le=10**12)]


class RealValues(StrictModel):
    """The block's real images, their concepts, and which of them are classified as labelled where they have labels."""

    images: list[Count]
    concepts: list[list[Count]]
    correct: list[bool] | None = None


class AdversarialImageValues(StrictModel):
    """The adversarial images made of them, and who answered their targets."""

    images: list[Count]
    sources: list[Count]
    targets: list[Count]
    outcomes: dict[str, list[bool]]


class KeptValues(StrictModel):
    """How many top images are kept of each kind."""

    real: Count
    adversarial: Count


class ConsistencyValues(StrictModel):
    """One block of images."""

    block: Annotated[int, Field(ge=0, le=99_999)]
    layers: list[str]
    kept: KeptValues
    real: RealValues
    adversarial: AdversarialImageValues
    checks: dict[str, Annotated[float, Field(ge=0, le=1e9)]]


RECORD_VALUES = TypeAdapter(ConsistencyValues)
_CHECKS = ("repeat_difference", "alone_difference")


def lacks(spec: ConsistencySpec, record: Record) -> str | None:
    """What values of the right types lack: lists as long as their images, sources among these, arrays and hierarchy."""
    from assay.tasks.consistency.blocks import HIERARCHY_FILE, block_file

    values = record.values
    real, made = values["real"], values["adversarial"]
    layers = values["layers"]
    if not layers or (spec.layers and tuple(layers) != spec.layers):
        return f"expected the layers {', '.join(spec.layers) or 'of the network, at least one'}"
    correct = real["images"] if real.get("correct") is None else real["correct"]
    if not len(real["images"]) == len(real["concepts"]) == len(correct) or not all(real["concepts"]):
        return "expected concepts, and answers where there are labels, of each real image"
    if any(len(each) != len(made["images"]) for each in _of_each(made)):
        return "expected a source, a target and each model's answer of each adversarial image"
    if not set(made["sources"]) <= set(real["images"]):
        return "expected sources among the block's own real images"
    if not values["checks"].keys() >= set(_CHECKS):
        return f"expected the checks {', '.join(_CHECKS)}"
    missing = [name for name in (block_file(values["block"]), HIERARCHY_FILE) if name not in record.files]
    return f"expected the file {missing[0]} beside the record" if missing else None


def _of_each(made: Mapping[str, Any]) -> Iterator[Sequence[Any]]:
    """The lists with one entry per adversarial image."""
    yield from (made["sources"], made["targets"], *made["outcomes"].values())
