"""The form of a corruption record's values; a stranger's are checked against it."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from assay.common.validation import StrictModel
from assay.tasks.corruptions.spec import CorruptionsSpec

Class = Annotated[int, Field(ge=0, le=10**9)]
Size = Annotated[float, Field(ge=0, le=1e9)]


class CorruptionCheckValues(StrictModel):
    """What was looked at beside the answers; None where it has no meaning.

    Attributes:
        in_box: every pixel lies in [0, 1].
        zero_is_clean: at severity 0 the picture is the clean one to the bit.
        repeats: the same seed gives the same picture.
        seed_matters: another seed gives another picture.
        alone_difference: of the first picture's logits alone and in its batch, as a share of the largest.
    """

    in_box: bool
    zero_is_clean: bool | None
    repeats: bool | None
    seed_matters: bool | None
    alone_difference: Size


class CorruptionValues(StrictModel):
    """One image.

    Attributes:
        label: 0-based.
        predicted: of the picture as it is in the data set; None where only corrupted ones are published.
        clean_correct: whether that is the label.
        answers: by corruption, the answer at each severity.
        changes: by corruption, the mean absolute change of a value in [0, 1] at each severity; None as above.
    """

    label: Class
    predicted: Class | None
    clean_correct: bool | None
    answers: dict[str, list[Class]]
    changes: dict[str, list[Size]] | None
    checks: CorruptionCheckValues


RECORD_VALUES = TypeAdapter(CorruptionValues)


def lacks(spec: CorruptionsSpec, values: Mapping[str, Any]) -> str | None:
    """What values of the right types lack: an answer for each of the spec's corruptions and severities."""
    by_name = [values["answers"]]
    if spec.pictures != "published":
        by_name.append(values["changes"] or {})
        if values["predicted"] is None or values["clean_correct"] is None:
            return "expected the answer to the clean picture"
    names, count = set(spec.corruptions), len(spec.severities)
    if any(each.keys() != names for each in by_name):
        return f"expected {', '.join(spec.corruptions) or 'no corruption'}"
    if any(len(cells) != count for each in by_name for cells in each.values()):
        return f"expected one value for each of {count} severities"
    return None
