"""Parts of a model card: where the network and its weights lie, and how a picture becomes its input (no torch)."""

from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, StringConstraints, Tag, model_validator

from assay.common.errors import UserError
from assay.common.validation import StrictModel
from assay.models.info import Channels, Interpolation, Layout, Preprocessing, Resize, Size

Prose = Annotated[str, StringConstraints(min_length=1, max_length=1000)]
Kind = Literal["onnx", "timm", "torchvision", "factory", "program", "zoo"]
_KINDS: tuple[Kind, ...] = ("onnx", "timm", "torchvision", "factory", "program", "zoo")


class NetworkPart(StrictModel):
    """Where the network comes from; exactly one of these.

    Attributes:
        onnx: an ONNX file.
        timm: the name of one of timm's architectures.
        torchvision: the name of one of torchvision's classifiers.
        factory: ``package.module:function``, as on the command line.
        program: a file that ``torch.export.save`` wrote (``.pt2``).
        zoo: a name of ``assay list models``, to be asked about superclasses.
    """

    onnx: Prose | None = None
    timm: Prose | None = None
    torchvision: Prose | None = None
    factory: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")] | None = None
    program: Prose | None = None
    zoo: Prose | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        given = [kind for kind in _KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError(
                f"network names {' and '.join(given) or 'nothing'}; give exactly one of {', '.join(_KINDS)}"
            )
        return self

    @property
    def kind(self) -> Kind:
        """Which kind is given."""
        return next(kind for kind in _KINDS if getattr(self, kind) is not None)

    @property
    def value(self) -> str:
        """The file's or the network's name."""
        return str(getattr(self, self.kind))


class WeightsPart(StrictModel):
    """The weight file of a network that does not hold its own.

    Attributes:
        file: a state dict, ``.safetensors`` or a PyTorch checkpoint.
        key: which of several state dicts in the file, such as ``state_dict_ema``.
    """

    file: Prose
    key: Prose | None = None


class ResizePart(StrictModel):
    """The resize before the centre crop to ``size``.

    Attributes:
        shorter: the shorter side in pixels; the aspect ratio is kept.
        exact: (height, width) in pixels, at any aspect ratio.
        interpolation: Pillow's filter.
    """

    shorter: Size | None = None
    exact: tuple[Size, Size] | None = None
    interpolation: Interpolation = "bilinear"

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.shorter is None) == (self.exact is None):
            raise ValueError("resize takes exactly one of `shorter` and `exact`")
        return self

    @property
    def smallest(self) -> tuple[int, int]:
        """The least (height, width) that comes out."""
        return self.exact or (self.shorter or 0, self.shorter or 0)


def _resize_kind(value: object) -> str:
    return "word" if isinstance(value, str) else "way"


# Chosen by hand, so that an error message speaks of the kind that was meant, not of both.
ResizeSaid = Annotated[
    Annotated[ResizePart, Tag("way")] | Annotated[Literal["none"], Tag("word")], Discriminator(_resize_kind)
]


class InputPart(StrictModel):
    """How a picture becomes the network's input; what is left out is as the network's own source says.

    Attributes:
        size: (height, width) in pixels.
        layout: ``nchw`` or ``nhwc``, of what the network takes.
        range: of the pixels that mean and std refer to, [0, 1] or [0, 255].
        channels: ``rgb``, ``bgr`` or ``grey``.
        mean: one value per channel, in the range's unit, in the network's order of channels; 0 where left out.
        std: as `mean`; 1 where left out.
        resize: before the centre crop to ``size``; the word ``none`` for the crop alone.
    """

    size: tuple[Size, Size] | None = None
    layout: Layout | None = None
    range: tuple[float, float] = (0, 1)
    channels: Channels | None = None
    mean: Annotated[tuple[float, ...], Field(min_length=1)] | None = None
    std: Annotated[tuple[float, ...], Field(min_length=1)] | None = None
    resize: ResizeSaid | None = None

    @model_validator(mode="after")
    def _fields_fit(self) -> Self:
        if self.range not in ((0, 1), (0, 255)):
            raise ValueError(
                f"range {list(self.range)} is neither [0, 1] nor [0, 255]; say another by `mean` and `std`"
            )
        for name, values in (("mean", self.mean), ("std", self.std)):
            wanted = self._channel_count
            if values is not None and wanted is not None and len(values) != wanted:
                raise ValueError(
                    f"{name} has {len(values)} values for {wanted} channels; give one per channel"
                )
        if any(value <= 0 for value in self.std or ()):
            raise ValueError(f"std {list(self.std or ())} is a divisor; give values above 0")
        if self.size and (fault := self._too_small(self.size)):
            raise ValueError(fault)
        return self

    def _too_small(self, size: tuple[int, int]) -> str | None:
        """What is wrong with a resize to less than the crop, or None."""
        if not isinstance(self.resize, ResizePart) or not any(map(int.__lt__, self.resize.smallest, size)):
            return None
        shown = self.resize.shorter or list(self.resize.smallest)
        return f"resize {shown} is smaller than the crop to size {list(size)}; make it as large"

    @property
    def _channel_count(self) -> int | None:
        """How many channels this part states; None where it states none."""
        if self.channels is not None:
            return 1 if self.channels == "grey" else 3
        return next((len(values) for values in (self.mean, self.std) if values is not None), None)

    def preprocessing(self, default: Preprocessing | None, where: str) -> Preprocessing:
        """From picture to input, in full.

        Args:
            default: what the network's own source says, for what is left out; None where it says nothing. Mean and
                std, resize and crop each are taken from one source.
            where: of the card, for messages.

        Raises:
            UserError: the size is nowhere, or it contradicts the network's own.
        """
        if default is None and self.size is None:
            raise UserError(f"{where}: `input.size` is missing, and the network does not say it; give it")
        size = self.size or (default.crop if default else (1, 1))
        known = len(default.mean) if default else None
        channels = self._channel_count or known or 3
        if known is not None and channels != known:
            raise UserError(
                f"{where}: `input` speaks of {channels} channels where the network takes {known}; correct "
                "`channels`, `mean` and `std`"
            )
        mean, std = self._normalisation(default, channels)
        resize, interpolation = self._resize(default, size)
        if fault := self._too_small(size):
            raise UserError(f"{where}: `input.resize`: {fault}")
        return Preprocessing(
            resize=resize,
            crop=size,
            interpolation=interpolation,
            mean=mean,
            std=std,
            channels="bgr" if self.channels == "bgr" else "rgb",
            layout=self.layout or (default.layout if default else "nchw"),
        )

    def _normalisation(
        self, default: Preprocessing | None, channels: int
    ) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and std in [0, 1] units, in the pictures' order of channels."""
        unsaid = self.mean is None and self.std is None and self.range == (0, 1) and self.channels is None
        if default is not None and unsaid:
            return default.mean, default.std
        unit = self.range[1]
        mean = tuple(value / unit for value in self.mean or (0.0,) * channels)
        std = tuple(value / unit for value in self.std or (1.0,) * channels)
        return (mean[::-1], std[::-1]) if self.channels == "bgr" else (mean, std)

    def _resize(self, default: Preprocessing | None, size: tuple[int, int]) -> tuple[Resize, Interpolation]:
        if self.resize is None:
            if default is not None and self.size in (None, default.crop):
                return default.resize, default.interpolation
            return None, "bilinear"
        if self.resize == "none":
            return None, "bilinear"
        resize: Resize = self.resize.shorter or self.resize.exact
        return "direct" if resize == size else resize, self.resize.interpolation
