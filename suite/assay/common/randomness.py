"""Random numbers that depend on an image's own seed and on nothing else.

A counter-based generator (SplitMix64: Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators")
takes the place of `torch.Generator`. Element k of stream s is a hash of (s, k), so a whole batch is drawn at once, on
any device, with the same bits as one image alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

_CACHED = 2**17
_GOLDEN = 0x9E3779B97F4A7C15
_MIX_1 = 0xBF58476D1CE4E5B9
_MIX_2 = 0x94D049BB133111EB


def as_seeds(seeds: Tensor | Sequence[int], device: torch.device) -> Tensor:
    """(N,) int64 seeds from a tensor or from Python integers of any size (taken modulo 2**64)."""
    if isinstance(seeds, Tensor):
        return seeds.to(device=device, dtype=torch.int64)
    return torch.tensor([_signed(seed) for seed in seeds], dtype=torch.int64, device=device)


def derive(seeds: Tensor, stream: int | Tensor) -> Tensor:
    """A new seed for each of (N,) seeds; different streams (an int or (N,) int64) are independent."""
    return _mix(_mix(seeds + _signed(_GOLDEN)) + stream)


def uniform(seeds: Tensor, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """(N, *shape) numbers uniform in [0, 1), multiples of 2**-24, one stream per seed."""
    count = math.prod(shape)
    offsets = torch.arange(1, count + 1, dtype=torch.int64, device=seeds.device).mul_(_signed(_GOLDEN))
    out = torch.empty((len(seeds), count), dtype=dtype, device=seeds.device)
    # On the CPU in blocks whose int64 scratch stays in the cache.
    at_once = max(_CACHED // count, 1) if seeds.device.type == "cpu" else max(len(seeds), 1)
    for rows, block in zip(torch.split(seeds, at_once), torch.split(out, at_once), strict=True):
        block.copy_(_shift_right(_mix(rows[:, None] + offsets), 40)).mul_(2.0**-24)
    return out.reshape(len(seeds), *shape)


def normal(seeds: Tensor, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """(N, *shape) standard normal numbers (Box and Muller 1958), one stream per seed."""
    radius = torch.sqrt(-2 * torch.log1p(-uniform(derive(seeds, 1), shape, dtype)))
    return radius * torch.cos(2 * math.pi * uniform(derive(seeds, 2), shape, dtype))


def _mix(bits: Tensor) -> Tensor:
    """SplitMix64's finaliser; int64 multiplication wraps around as uint64's does."""
    bits = (bits ^ _shift_right(bits, 30)).mul_(_signed(_MIX_1))
    bits = bits.bitwise_xor_(_shift_right(bits, 27)).mul_(_signed(_MIX_2))
    return bits.bitwise_xor_(_shift_right(bits, 31))


def _shift_right(bits: Tensor, places: int) -> Tensor:
    """Logical shift: torch's own keeps the sign."""
    return (bits >> places).bitwise_and_((1 << (64 - places)) - 1)


def _signed(value: int) -> int:
    """The int64 with the same bits as `value` modulo 2**64."""
    return (value + 2**63) % 2**64 - 2**63
