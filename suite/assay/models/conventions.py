"""How trained networks may want their pictures: the conventions that `assay doctor` tries. No torch.

Each is in a model card's own words, so that the one that fits can be written into a card as it is.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from assay.common.validation import validate
from assay.models.card_parts import InputPart, ResizePart
from assay.models.info import Layout, Preprocessing

PLAIN = "[0, 1]"
AS_DESCRIBED = "as the model is described"

_IMAGENET = (0.485, 0.456, 0.406)

RESIZES = (
    "whole picture, bilinear",  # as Assay reads a network that says nothing of itself
    "0.875 crop, bilinear",
    "whole picture, bicubic",
    "0.875 crop, bicubic",
    "crop alone",  # it shows the network but a part of a picture
)
"""Ways to bring a picture to the input's size, the most usual first."""


@dataclass(frozen=True)
class Normalisation:
    """What happens to the values of a picture.

    Attributes:
        name: for tables.
        said: the card's fields of it; mean and std in the order RGB.
        bgr_only: only networks that take BGR use it.
    """

    name: str
    said: Mapping[str, Any]
    bgr_only: bool = False


COLOUR = (
    Normalisation(PLAIN, {}),
    Normalisation("[0, 255]", {"range": (0, 255)}),
    Normalisation("[-1, 1]", {"mean": (0.5,) * 3, "std": (0.5,) * 3}),
    Normalisation("ImageNet", {"mean": _IMAGENET, "std": (0.229, 0.224, 0.225)}),
    Normalisation("ImageNet, std 0.225", {"mean": _IMAGENET, "std": (0.225,) * 3}),
    Normalisation("CIFAR-10", {"mean": (0.4914, 0.4822, 0.4465), "std": (0.2471, 0.2435, 0.2616)}),
    Normalisation("Caffe", {"range": (0, 255), "mean": (123.68, 116.779, 103.939)}, bgr_only=True),
)
GREY = (
    Normalisation(PLAIN, {}),
    Normalisation("[0, 255]", {"range": (0, 255)}),
    Normalisation("[-1, 1]", {"mean": (0.5,), "std": (0.5,)}),
    Normalisation("MNIST", {"mean": (0.1307,), "std": (0.3081,)}),
    Normalisation("Fashion-MNIST", {"mean": (0.2860,), "std": (0.3530,)}),
)


@dataclass(frozen=True)
class Convention:
    """One way to make a network's input of a picture, and one to read its output.

    Attributes:
        values: what happens to the pixels' values, for tables.
        input: as a card says it.
        resize: how a picture comes to the input's size, for tables.
        drop: places of logits that are no class.
        label_shift: what is added to the data's labels; 0, unless they seem to be shifted by one.
    """

    values: str
    input: InputPart
    resize: str = ""
    drop: tuple[int, ...] = ()
    label_shift: int = 0

    @property
    def name(self) -> str:
        """All of it in words."""
        order = self.input.channels if self.input.channels != "grey" else None
        output = [f"without class {place}" for place in self.drop]
        output += [f"labels shifted by {self.label_shift:+d}"] if self.label_shift else []
        words = (self.values, order, self.input.layout, self.resize, *output)
        return ", ".join(word for word in words if word)

    @property
    def plainness(self) -> tuple[int, int, int]:
        """Which of several that the pictures cannot tell apart is taken: the smallest.

        The rule, the weightiest first:

        1. What the model says of itself; then the fewest settings beside pixels in [0, 1], RGB, channels first, and
           labels as they are.
        2. A background class at place 0 before one at the end.
        3. No resize before one, then in the order of :data:`RESIZES`.
        """
        resize = 1 + RESIZES.index(self.resize) if self.resize else 0
        if self.values == AS_DESCRIBED:
            return -1, 0, 0
        changed = (self.values != PLAIN, self.input.channels == "bgr", self.input.layout == "nhwc")
        return sum(changed) + abs(self.label_shift), max(self.drop, default=0), resize

    @property
    def preprocessing(self) -> Preprocessing:
        """As the models have it."""
        return self.input.preprocessing(None, self.values)

    @property
    def of_input(self) -> "Convention":
        """The same input, with the output read unchanged."""
        return replace(self, drop=(), label_shift=0)

    def output(self) -> dict[str, Any]:
        """The output part of a card, and the shift of labels, which no card can state."""
        shifted = {"label_shift": self.label_shift} if self.label_shift else {}
        return ({"drop": list(self.drop)} if self.drop else {}) | shifted


def input_conventions(
    shape: tuple[int, int, int], layouts: Sequence[Layout | None], coloured: bool
) -> Iterator[Convention]:
    """Every normalisation, order of channels and layout, without a resize.

    Args:
        shape: channels, height, width of the input.
        layouts: to try; None means the one that the network's own shape shows.
        coloured: whether the pictures have colours, so that the order of channels matters.
    """
    channels, *size = shape
    for layout in layouts:
        for norm in COLOUR if channels == 3 else GREY:
            for order in _orders(norm, channels, coloured):
                said = {
                    key: list(value[::-1] if order == "bgr" and key != "range" else value)
                    for key, value in norm.said.items()
                }
                part = {"size": size, "channels": order, **said} | ({"layout": layout} if layout else {})
                yield Convention(norm.name, validate(InputPart, part, norm.name))


def _orders(norm: Normalisation, channels: int, coloured: bool) -> tuple[str, ...]:
    if channels == 1:
        return ("grey",)
    if norm.bgr_only:
        return ("bgr",)
    return ("rgb", "bgr") if coloured else ("rgb",)


def resizes(convention: Convention, sizes: Sequence[tuple[int, int]]) -> Iterator[Convention]:
    """The convention with each plausible way to bring pictures to the input's size, in the order of :data:`RESIZES`.

    Args:
        convention: its own resize is left aside.
        sizes: (height, width) of the pictures; where all have the input's size there is nothing to resize.
    """
    size = convention.input.size
    assert size is not None
    if all(each == size for each in sizes):
        yield convention
        return
    crop: dict[str, Any] = {"shorter": round(min(size) / 0.875)}
    exact: dict[str, Any] = {"exact": size}
    bicubic = {"interpolation": "bicubic"}
    ways: list[dict[str, Any] | str] = [exact, crop, exact | bicubic, crop | bicubic]
    if all(height >= size[0] and width >= size[1] for height, width in sizes):
        ways.append("none")
    said = convention.input.model_dump(exclude={"resize"})
    for name, resize in zip(RESIZES, ways, strict=False):
        yield replace(convention, input=validate(InputPart, said | {"resize": resize}, name), resize=name)


def outputs(convention: Convention, logits: int, classes: int) -> list[Convention]:
    """The convention with each plausible way to read the logits as the classes; [] if there is none."""
    if logits == classes + 1:
        return [replace(convention, drop=(place,)) for place in (0, classes)]
    if logits == classes:
        return [replace(convention, label_shift=shift) for shift in (0, 1, -1)]
    return []


def described(preprocessing: Preprocessing) -> Convention | None:
    """What a model says of itself, as a convention; None where a card has no words for it."""
    if preprocessing.fit != "exact" or preprocessing.pad is not None:
        return None
    reverse = preprocessing.channels == "bgr"
    mean, std = (values[::-1] if reverse else values for values in (preprocessing.mean, preprocessing.std))
    resize = preprocessing.resize
    interpolation = {"interpolation": preprocessing.interpolation}
    exact = preprocessing.crop if resize == "direct" else resize
    way = {"shorter" if isinstance(resize, int) else "exact": exact} | interpolation
    part = {
        "size": preprocessing.crop,
        "channels": "grey" if len(mean) == 1 else preprocessing.channels,
        "mean": mean,
        "std": std,
        "resize": "none" if resize is None else way,
    } | ({"layout": preprocessing.layout} if preprocessing.layout != "nchw" else {})
    return Convention(AS_DESCRIBED, validate(InputPart, part, AS_DESCRIBED))


def as_said(part: InputPart) -> dict[str, Any]:
    """The fields of an input that say something, as a card writes them."""
    said = part.model_dump(mode="json", exclude_defaults=True)
    if isinstance(part.resize, ResizePart):
        said["resize"] = part.resize.model_dump(mode="json", exclude_none=True)
    if "range" in said:
        said["range"] = [int(each) for each in part.range]
    return said
