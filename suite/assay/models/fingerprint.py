"""A few numbers that identify a network's answers. They show what its structure cannot."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from assay.models.info import Fingerprint, same_answers

_IMAGES = 2  # a network may refuse a single image
_NUMBERS = 8  # per image
_DIGITS = 6


def fingerprint(net: nn.Module, input_shape: tuple[int, int, int]) -> Fingerprint | None:
    """Signed sums of the logits of two seeded noise images.

    Args:
        net: (N, C, H, W) float32 in [0, 1] to logits (N, classes), on the CPU.
        input_shape: (channels, height, width).

    Returns:
        16 numbers; None where there is nothing to compare: the network fails, answers with NaN, or answers one image
        differently each time though PyTorch's generator is seeded.
    """
    first, again = _sums(net, input_shape), _sums(net, input_shape)
    return first if same_answers(first, again) else None


def _sums(net: nn.Module, input_shape: tuple[int, int, int]) -> Fingerprint | None:
    logits = _logits(net, input_shape)
    if logits is None:
        return None
    drawn = torch.randint(0, 2, (logits.shape[1], _NUMBERS), generator=torch.Generator().manual_seed(1))
    sums = logits.double() @ (2.0 * drawn.double() - 1.0)
    return tuple(float(f"{number:.{_DIGITS}g}") for number in sums.flatten().tolist())


def _logits(net: nn.Module, input_shape: tuple[int, int, int]) -> Tensor | None:
    images = torch.rand((_IMAGES, *input_shape), generator=torch.Generator().manual_seed(0))
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            logits = net(images)
    except Exception:  # a foreign forward may fail in any way; the probe before the first pass says how
        return None
    is_logits = isinstance(logits, Tensor) and logits.ndim == 2 and bool(logits.isfinite().all())
    return logits.detach() if is_logits else None
