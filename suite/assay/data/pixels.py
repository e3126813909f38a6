"""Pictures of every colour mode to uint8 arrays of one or three channels, or a clear refusal."""

from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from assay.errors import UserError
from assay.validation import StrictModel

Pixels = npt.NDArray[np.uint8]


class ImageError(UserError):
    """One picture cannot be used; the runner makes it that unit's error and goes on with the others."""


class ColourPolicy(StrictModel):
    """What becomes of pictures that are not plainly grey or RGB.

    Attributes:
        channels: 3 (grey is repeated into RGB) or 1 (colour pictures are refused).
        alpha: refuse pictures with transparency, or composite them over white.
        cmyk: refuse CMYK pictures, or convert them with Pillow's plain formula (no colour profile).
    """

    channels: Literal[1, 3] = 3
    alpha: Literal["refuse", "composite"] = "refuse"
    cmyk: Literal["refuse", "convert"] = "refuse"


def to_pixels(image: Image.Image, policy: ColourPolicy) -> Pixels:
    """``image`` as uint8 (H, W, ``policy.channels``).

    An orientation stored as metadata is ignored, as torchvision's own loaders do.

    Raises:
        ImageError: the picture cannot be decoded, or the policy refuses its colour mode.
    """
    try:
        image.load()
        plain = _flattened(_without_palette(image), policy)
    except ImageError:
        raise
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise ImageError(f"cannot be decoded as a picture ({error}); replace the file") from error
    return _with_channels(np.asarray(plain, dtype=np.uint8), policy.channels)


def _without_palette(image: Image.Image) -> Image.Image:
    """Palette and two-level pictures as grey or RGB; transparency kept as metadata becomes a channel."""
    transparent = "transparency" in image.info
    if image.mode == "P":
        return image.convert("RGBA" if transparent else "RGB")
    if image.mode == "1":
        return image.convert("L")
    if transparent and image.mode in ("L", "RGB"):
        return image.convert("LA" if image.mode == "L" else "RGBA")
    return image


def _flattened(image: Image.Image, policy: ColourPolicy) -> Image.Image:
    """A picture of mode L or RGB."""
    if image.mode in ("L", "RGB"):
        return image
    if image.mode in ("LA", "RGBA", "PA"):
        if policy.alpha == "refuse":
            raise ImageError(
                f"has an alpha channel ({image.mode}); remove it, or set `alpha: composite` in its manifest"
            )
        return _over_white(image)
    if image.mode == "CMYK" and policy.cmyk == "convert":
        return image.convert("RGB")
    raise ImageError(
        f"has {len(image.getbands())} channel(s) of mode {image.mode}; convert it to 8-bit grey or RGB"
    )


def _over_white(image: Image.Image) -> Image.Image:
    grey = image.mode == "LA"
    rgba = np.asarray(image.convert("RGBA"), dtype=np.uint32)
    alpha = rgba[..., 3:]
    rgb = ((rgba[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
    return Image.fromarray(rgb[..., 0] if grey else rgb)


def _with_channels(pixels: Pixels, channels: int) -> Pixels:
    """(H, W) or (H, W, 3) as (H, W, ``channels``)."""
    if pixels.ndim == 2:
        return np.ascontiguousarray(np.repeat(pixels[..., np.newaxis], channels, axis=2))
    if channels == 1:
        raise ImageError("has 3 channels where the manifest says `channels: 1`; convert it to grey")
    return pixels
