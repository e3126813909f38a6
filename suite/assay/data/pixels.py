"""Pictures of every colour mode to uint8 arrays of one or three channels, as Pillow and torchvision read them."""

from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from assay.common.errors import UserError
from assay.common.validation import StrictModel

Pixels = npt.NDArray[np.uint8]

_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")
_MAY_BE_TRANSPARENT = ("L", "P", "RGB", *_ALPHA)
_ORIENTATION = 0x0112  # EXIF's tag
_UPRIGHT = 1  # its value for a picture that is stored upright


class ImageError(UserError):
    """One picture cannot be used; the runner makes it that unit's error and goes on with the others."""


class ColourPolicy(StrictModel):
    """How to treat pictures that are not plain 8-bit grey or RGB; by default as torchvision's loaders do.

    Attributes:
        channels: 3 (grey is repeated into RGB) or 1.
        to_grey: for one channel: convert colour pictures by Pillow's formula (ITU-R 601-2 luma), or refuse them.
        alpha: drop transparency, composite over white, or refuse such pictures.
        cmyk: convert CMYK with Pillow's plain formula (no colour profile), or refuse.
        deep: grey of more than 8 bits: convert as Pillow does, which cuts values above 255 to 255; scale 16 bits to
            their upper 8, as Pillow does for 16-bit RGB; or refuse.
    """

    channels: Literal[1, 3] = 3
    to_grey: Literal["convert", "refuse"] = "refuse"
    alpha: Literal["drop", "composite", "refuse"] = "drop"
    cmyk: Literal["convert", "refuse"] = "convert"
    deep: Literal["convert", "scale", "refuse"] = "convert"


class ColourTraits(NamedTuple):
    """What a picture says of its colours.

    Attributes:
        mode: Pillow's.
        transparent: it has an alpha channel, or a colour that is transparent.
        turned: its metadata ask for it to be turned or mirrored, which Pillow does on its own for TIFF only.
    """

    mode: str
    transparent: bool = False
    turned: bool = False

    @property
    def deep(self) -> bool:
        """Whether it is grey with more than 8 bits per pixel."""
        return self.mode.startswith("I") or self.mode == "F"

    @property
    def grey(self) -> bool:
        """Whether it has one channel of brightness."""
        return self.mode in ("1", "L", "LA", "La") or self.deep


class Conversion(NamedTuple):
    """How a picture is converted when it is read: the rule, its setting, and both in words."""

    rule: str
    value: str
    words: str


_WORDS = {
    ("alpha", "drop"): "transparency dropped",
    ("alpha", "composite"): "transparency composited over white",
    ("cmyk", "convert"): "CMYK to RGB",
    ("to_grey", "convert"): "colour to grey",
    ("deep", "convert"): "more than 8 bits, values above 255 cut",
    ("deep", "scale"): "16 bits to 8",
}


def traits(image: Image.Image) -> ColourTraits:
    """What ``image`` says of its colours. It must be decoded: only then are all its metadata known."""
    transparent = image.mode in _ALPHA or (image.mode in _MAY_BE_TRANSPARENT and "transparency" in image.info)
    return ColourTraits(image.mode, transparent, _is_turned(image))


def _is_turned(image: Image.Image) -> bool:
    try:
        return bool(image.getexif().get(_ORIENTATION, _UPRIGHT) != _UPRIGHT)
    except Exception:  # metadata may be damaged in any way, and do not matter here
        return False


def conversions(found: ColourTraits, policy: ColourPolicy) -> list[Conversion]:
    """How ``policy`` converts a picture; [] for a plain or a refused one."""
    needed = [
        *(["alpha"] if found.transparent else []),
        *(["cmyk"] if found.mode == "CMYK" else []),
        *(["deep"] if found.deep else []),
        *(["to_grey"] if policy.channels == 1 and not found.grey else []),
    ]
    values = {rule: str(getattr(policy, rule)) for rule in needed}
    if "refuse" in values.values():
        return []
    made = [Conversion(rule, value, _WORDS[rule, value]) for rule, value in values.items()]
    if not (needed or found.grey or found.mode in ("P", "RGB")):
        made.append(Conversion("mode", "convert", f"{found.mode} to RGB"))
    if found.turned:
        made.append(Conversion("orientation", "ignore", "orientation in the metadata not applied"))
    return made


def to_pixels(image: Image.Image, policy: ColourPolicy) -> Pixels:
    """``image`` as uint8 (H, W, ``policy.channels``).

    By the default policy, the pixels of ``torchvision.datasets.folder.pil_loader``: those of
    ``image.convert("RGB")``, with an orientation stored as metadata ignored.

    Raises:
        ImageError: the picture cannot be decoded, or the policy refuses its colour mode.
    """
    decode(image)
    plain = _plain(image, policy)
    if policy.channels == 1 and plain.mode == "RGB":
        plain = _grey(plain, policy)
    pixels = np.asarray(plain, dtype=np.uint8)
    if pixels.ndim == 2:
        return np.ascontiguousarray(np.repeat(pixels[..., np.newaxis], policy.channels, axis=2))
    return pixels


def read_picture(path: Path, channels: int) -> Pixels:
    """The picture in a user's file, uint8 (H, W, C), read as a data set without rules of its own reads it.

    Args:
        path: of the file.
        channels: 1 for a network of one channel, which sees colours in grey; else the picture has 3.

    Raises:
        UserError: there is no such file, or it is no picture.
    """
    policy = ColourPolicy(channels=1 if channels == 1 else 3, to_grey="convert")
    try:
        with Image.open(path) as picture:
            return to_pixels(picture, policy)
    except ImageError as error:
        raise UserError(f"{path}: {error}") from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"{path}: cannot be read as a picture ({error}); give a PNG or JPEG") from error


def decode(image: Image.Image) -> None:
    """Decode ``image`` in place.

    Raises:
        ImageError: it cannot be decoded.
    """
    try:
        image.load()
    # Pillow's decoders may raise anything on a damaged file.
    except Exception as error:
        raise ImageError(f"cannot be decoded as a picture ({error}); replace the file") from error


def _plain(image: Image.Image, policy: ColourPolicy) -> Image.Image:
    """A picture of mode L or RGB."""
    found = traits(image)
    if found.transparent:
        return _opaque(image, policy)
    if found.mode == "CMYK" and policy.cmyk == "refuse":
        raise ImageError("is CMYK, which its manifest refuses; convert it to RGB, or set `cmyk: convert`")
    if found.deep:
        return _of_eight_bits(image, policy)
    return image.convert("L" if found.grey else "RGB")


def _opaque(image: Image.Image, policy: ColourPolicy) -> Image.Image:
    if policy.alpha == "refuse":
        raise ImageError(
            f"has transparency ({image.mode}), which its manifest refuses; remove it, or set `alpha: composite` or "
            "`alpha: drop`"
        )
    grey = image.mode in ("L", "LA", "La")
    if policy.alpha == "drop":
        return image.convert("L" if grey else "RGB")
    rgba = np.asarray(image.convert("RGBA"), dtype=np.uint32)
    alpha = rgba[..., 3:]
    rgb = ((rgba[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
    return Image.fromarray(rgb[..., 0] if grey else rgb)


def _of_eight_bits(image: Image.Image, policy: ColourPolicy) -> Image.Image:
    """Grey of more bits as mode L."""
    if policy.deep == "refuse":
        raise ImageError(
            f"has more than 8 bits a pixel ({image.mode}), which its manifest refuses; save it with 8, or set "
            "`deep: convert` or `deep: scale`"
        )
    if policy.deep == "convert":
        return image.convert("L")
    if not image.mode.startswith("I;16"):
        raise ImageError(
            f"has mode {image.mode}, whose brightest value is not known, so `deep: scale` cannot scale it; "
            "save it with 16 or 8 bits"
        )
    return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))


def _grey(image: Image.Image, policy: ColourPolicy) -> Image.Image:
    if policy.to_grey == "refuse":
        raise ImageError(
            "has 3 channels where the manifest says `channels: 1`; convert it to grey, or set `to_grey: convert`"
        )
    return image.convert("L")
