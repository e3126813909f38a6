"""What a `moved` task asks."""

from typing import Annotated, Literal

from pydantic import Field

from assay.common.fields import IDENTITY
from assay.tasks.task_spec import TaskSpec


class MovedSpec(TaskSpec):
    """Is a picture still answered as labelled when it moves to the right by ``pixels``?"""

    family: Annotated[Literal["moved"], IDENTITY]
    pixels: Annotated[int, IDENTITY] = Field(ge=1)

    def metric_keys(self) -> tuple[str, ...]:
        """All figures; the first one ranks."""
        return "moved_accuracy", "clean_accuracy"
