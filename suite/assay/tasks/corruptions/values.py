"""What a record of a corrupted picture holds; a stranger's is held against it."""

from typing import Annotated

from pydantic import Field, TypeAdapter

from assay.common.validation import StrictModel

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
