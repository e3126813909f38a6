"""The arithmetic that a job is computed in: part of its key, and set in every process that computes it."""

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from assay.common.allocator import keep_freed_memory
from assay.common.errors import UserError

if TYPE_CHECKING:
    from assay.models.loaded import LoadedModel

AUTOCAST = "autocast"
Positive = Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class Precision:
    """What decides the last bits of a number on one kind of hardware.

    Attributes:
        dtype: of the weights and activations; pixels and logits stay float32. With :data:`AUTOCAST` the weights stay so
            too, and PyTorch chooses which operations are done in bfloat16.
        tf32: whether CUDA may round the inputs of matrix products to TF32.
        threads: CPU threads of one worker. Sums are split over threads, so another number gives other last bits:
            runs are equal byte for byte because every worker of every executor computes with this many.
        channels_last: whether weights lie in memory channel by channel within each pixel: faster on newer GPUs.
    """

    dtype: str = "float32"
    tf32: bool = False
    threads: Positive = 1
    channels_last: bool = False

    def identity(self) -> dict[str, Any]:
        """As part of a job's identity; later fields are there only if asked for, so that older keys stay."""
        return {name: value for name, value in vars(self).items() if value or name != "channels_last"}


def check_dtype(dtype: str, allowed: tuple[str, ...], task_id: str) -> None:
    """Refuses a precision that would take the meaning from a family's figures.

    Raises:
        UserError: ``dtype`` is not among ``allowed``.
    """
    if dtype not in allowed:
        raise UserError(f"--dtype {dtype}: {task_id} can only be computed in {' or '.join(allowed)}")


def apply(precision: Precision, device: str) -> None:
    """Set threads, TF32 and, on CUDA, deterministic algorithms for this process; let it keep memory that is freed."""
    import torch

    keep_freed_memory()
    if torch.get_num_threads() != precision.threads:
        torch.set_num_threads(precision.threads)
    torch.backends.cuda.matmul.allow_tf32 = precision.tf32
    torch.backends.cudnn.allow_tf32 = precision.tf32
    if device.startswith("cuda"):
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True
        torch.use_deterministic_algorithms(True, warn_only=True)


def computing(model: "LoadedModel", precision: Precision) -> "LoadedModel":
    """``model`` as a job of this precision asks it; its own weights are moved, not copied."""
    if precision.channels_last:
        import torch

        model.module.to(memory_format=torch.channels_last)
    return in_dtype(model, precision.dtype)


def in_dtype(model: "LoadedModel", dtype: str) -> "LoadedModel":
    """``model`` computing in ``dtype``; pixels go in and logits come out as float32."""
    if dtype == "float32":
        return model
    if dtype == AUTOCAST:
        return _autocast(model)
    from dataclasses import replace

    import torch
    from torch import Tensor, nn

    class Cast(nn.Module):
        """Float32 outside, ``dtype`` inside; gradients pass through both casts."""

        def __init__(self, net: nn.Module) -> None:
            super().__init__()
            self.net = net

        def forward(self, pixels: Tensor) -> Tensor:
            logits: Tensor = self.net(pixels.to(inside))
            return logits.float()

    inside: torch.dtype = getattr(torch, dtype)
    return replace(model, module=Cast(model.module.to(inside)))


def _autocast(model: "LoadedModel") -> "LoadedModel":
    """``model`` with bfloat16 where PyTorch's list of operations has it, on the pixels' device."""
    from dataclasses import replace

    import torch
    from torch import Tensor, nn

    class Autocast(nn.Module):
        """Float32 outside; weights stay float32."""

        def __init__(self, net: nn.Module) -> None:
            super().__init__()
            self.net = net

        def forward(self, pixels: Tensor) -> Tensor:
            # Cast weights are not kept: they would outlive a change of the weights.
            with torch.autocast(pixels.device.type, torch.bfloat16, cache_enabled=False):
                logits: Tensor = self.net(pixels)
            return logits.float()

    return replace(model, module=Autocast(model.module))
