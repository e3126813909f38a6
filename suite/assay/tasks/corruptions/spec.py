"""The spec of accuracy on corrupted and shifted pictures."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from assay.common.fields import IDENTITY
from assay.data.corrupting.names import CORRUPTIONS, SEVERITIES, Settings, unknown_corruption
from assay.tasks.shared.own_answers import Labels, as_agreement
from assay.tasks.task_spec import TaskSpec

Pictures = Literal["made", "published", "plain"]
ArgMax = Literal["all", "subset"]
Baseline = Literal["alexnet", "none"]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]*$", max_length=40)]

HEADLINE = "mean_accuracy"


class CorruptionsSpec(TaskSpec):
    """Accuracy when pictures get worse, or come from another place.

    Attributes:
        pictures: ``made``: the data's pictures are corrupted here; ``published``: the data set holds corrupted ones,
            their ids begin CORRUPTION/SEVERITY/; ``plain``: the data set itself is the shift.
        corruptions: which; all nineteen where none are named. `[]` where the data are plain.
        severities: which, ascending.
        settings: whose constants pictures are made with.
        prepare: ``model``: pictures come to the network's size as its card says; ``direct``: by one resize, for
            published pictures that are cropped already.
        classes: the class indices that labels are from, where they are not all of the label space.
        arg_max: ``subset``: the answer is the largest logit among ``classes``, as the makers of ImageNet-A and -R
            score; ``all``: among all classes, which is harder.
        baseline: whose errors the mean corruption error is relative to.
        labels: ``data``: the pictures' own; ``predicted``: the network's answer to the clean picture, for pictures
            without labels. Then figures say how often the answer stays what it was, right or wrong.
        sheets: for how many images, from the first, a sheet of their corrupted pictures is drawn.
    """

    family: Annotated[Literal["corruptions"], IDENTITY]
    pictures: Annotated[Pictures, IDENTITY] = "made"
    corruptions: Annotated[tuple[Name, ...], IDENTITY] = CORRUPTIONS
    severities: Annotated[tuple[int, ...], IDENTITY] = SEVERITIES
    settings: Annotated[Settings, IDENTITY] = "imagenet-c"
    prepare: Annotated[Literal["model", "direct"], IDENTITY] = "model"
    classes: Annotated[tuple[Annotated[int, Field(ge=0)], ...], IDENTITY] = ()
    arg_max: Annotated[ArgMax, IDENTITY] = "all"
    baseline: Annotated[Baseline, IDENTITY] = "none"
    sheets: Annotated[int, IDENTITY] = Field(default=1, ge=0, le=20)
    labels: Annotated[Labels, IDENTITY] = Field(default="data", exclude_if=lambda labels: labels == "data")

    @model_validator(mode="after")
    def _consistent(self) -> "CorruptionsSpec":
        self._check_corruptions()
        for severity in self.severities:
            if severity not in SEVERITIES:
                raise ValueError(f"severities: expected whole numbers from 1 to 5, found {severity}")
        for key, values in (("severities", self.severities), ("classes", self.classes)):
            if list(values) != sorted(set(values)):
                raise ValueError(f"{key}: expected ascending numbers, each once")
        if self.pictures != "plain" and not self.severities:
            raise ValueError("severities: name at least one, from 1 to 5")
        if self.arg_max == "subset" and not self.classes:
            raise ValueError("arg_max: `subset` needs `classes`, the class indices that it is taken over")
        if self.predicted and self.pictures != "made":
            raise ValueError(
                "labels: `predicted` takes the answer to the clean picture, which only `pictures: made` has"
            )
        if self.baseline != "none" and not self.of_baseline:
            raise ValueError(
                "baseline: alexnet's errors are known of the common corruptions; name one of them"
            )
        return self

    def _check_corruptions(self) -> None:
        if len(set(self.corruptions)) != len(self.corruptions):
            raise ValueError("corruptions: name each once")
        if self.pictures == "plain" and self.corruptions:
            raise ValueError(
                "corruptions: `pictures: plain` takes the data as they are; write `corruptions: []`"
            )
        if self.pictures != "plain" and not self.corruptions:
            raise ValueError("corruptions: name at least one")
        if self.pictures == "made":
            for name in self.corruptions:
                if name not in CORRUPTIONS:
                    raise ValueError(unknown_corruption(name))

    @property
    def predicted(self) -> bool:
        """Whether the network's own clean answers stand in for labels."""
        return self.labels == "predicted"

    @property
    def has_baseline(self) -> bool:
        """Whether errors are set beside another network's, which are of labels."""
        return self.baseline != "none" and not self.predicted

    @property
    def cells(self) -> tuple[tuple[str, int], ...]:
        """Every corruption at every severity."""
        return tuple((name, severity) for name in self.corruptions for severity in self.severities)

    @property
    def of_baseline(self) -> tuple[str, ...]:
        """The corruptions with errors that compare with the baseline's."""
        from assay.tasks.corruptions.baseline import ALEXNET_ERRORS, MADE_OTHERWISE

        left_out = MADE_OTHERWISE if self.pictures == "made" else ()
        return tuple(name for name in self.corruptions if name in ALEXNET_ERRORS and name not in left_out)

    def metric_keys(self) -> tuple[str, ...]:
        """See :meth:`assay.tasks.task_spec.TaskSpec.metric_keys`."""
        keys = [HEADLINE]
        if self.pictures == "plain":
            return tuple(keys)
        keys += ["worst_corruption_accuracy", "flips"]
        if self.pictures == "made" and not self.predicted:
            keys += ["clean_accuracy", "drop_from_clean"]
        if self.has_baseline:
            keys.append("mean_corruption_error")
        keys += [f"mean:accuracy@{severity}" for severity in self.severities]
        keys += [f"{name}:accuracy" for name in self.corruptions]
        keys += [f"{name}:accuracy@{severity}" for name, severity in self.cells]
        return tuple(as_agreement(key) for key in keys) if self.predicted else tuple(keys)
