"""What a user's own code gives a call: pictures, classes and whole numbers, checked before anything is computed."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from assay.common.errors import UserError

if TYPE_CHECKING:
    from assay.models.loaded import LoadedModel


def pictures(given: Any, model: "LoadedModel", device: str = "cpu") -> Tensor:
    """Pictures as a network takes them.

    Args:
        given: (N, C, H, W) in [0, 1], of the network's own size, as a tensor or an array.
        model: the network.
        device: where they are put.

    Returns:
        (N, C, H, W) float32.

    Raises:
        UserError: they are no numbers, of another shape, none, or outside [0, 1].
    """
    pixels = _tensor(given, "images", device, torch.float32)
    if pixels.dim() != 4 or tuple(pixels.shape[1:]) != model.info.input_shape or not len(pixels):
        expected = ", ".join(map(str, model.info.input_shape))
        raise UserError(
            f"images: expected (N, {expected}) for {model.info.name}, one or more, got {tuple(pixels.shape)}"
        )
    return _in_range(pixels, "images")


def picture(given: Any, model: "LoadedModel") -> Tensor:
    """One picture as a network takes it: (C, H, W) in [0, 1] as float64.

    Raises:
        UserError: as :func:`pictures`.
    """
    return _in_range(model.of_own_size(_tensor(given, "image", "cpu", torch.float64), "image"), "image")


def classes(given: Any, count: int, model: "LoadedModel", name: str, device: str = "cpu") -> Tensor:
    """Classes, one for each picture, (N,) int64.

    Args:
        given: N classes.
        count: how many pictures there are.
        model: whose classes they are.
        name: of the argument, for messages.
        device: where they are put.

    Raises:
        UserError: they are no whole numbers, not as many as pictures, or no classes of the network.
    """
    found = _tensor(given, name, device, None)
    if found.is_floating_point() or found.is_complex() or found.dtype == torch.bool:
        raise UserError(f"{name}: expected whole numbers, got {str(found.dtype).removeprefix('torch.')}")
    if found.shape != (count,):
        got = len(found) if found.dim() == 1 else f"the shape {tuple(found.shape)}"
        raise UserError(f"{name}: expected one per image ({count}), got {got}")
    most = model.info.num_classes - 1
    outside = found[(found < 0) | (found > most)]
    if len(outside):
        raise UserError(f"{name}: {int(outside[0])} is no class of {model.info.name}, which has 0..{most}")
    return found.to(torch.int64)


def whole_number(name: str, given: Any) -> None:
    """Refuse what is no whole number from 1; None means left out.

    Raises:
        UserError: it is none.
    """
    if given is not None and (not isinstance(given, int) or isinstance(given, bool) or given < 1):
        raise UserError(f"{name}: expected a whole number from 1 (got {given!r})")


def _tensor(given: Any, name: str, device: str, dtype: torch.dtype | None) -> Tensor:
    try:
        return torch.as_tensor(given, dtype=dtype, device=device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"{name}: expected a tensor or an array of numbers, got {_what(given)}") from error


def _what(given: Any) -> str:
    text = repr(given)
    return text if len(text) <= 60 else f"{text[:59]}…"


def _in_range(pixels: Tensor, name: str) -> Tensor:
    if not bool(((pixels >= 0) & (pixels <= 1)).all()):
        raise UserError(
            f"{name}: expected pixels in [0, 1]; divide by 255, and leave mean and std to the model's preprocessing"
        )
    return pixels
