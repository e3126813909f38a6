"""What a chunk used: wall, CPU and device time, and the most memory."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.tasks.shared.clock import clock_of

if TYPE_CHECKING:
    from torch import nn


class Usage:
    """Measures from its creation on."""

    def __init__(self, device: str) -> None:
        self._device, self._on_gpu = device, device.startswith("cuda")
        self.clock = clock_of(device)
        if self._on_gpu:
            import torch

            torch.cuda.set_device(device)
        self._start = self.clock.mark()
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def measured(self) -> dict[str, Any]:
        """Seconds (wall, CPU, and between the first and the last work on the device) and peak bytes so far."""
        cpu = time.process_time() - self._cpu
        found: dict[str, Any] = {"device": self._device, "cpu_seconds": round(cpu, 6)}
        if self._on_gpu:
            import torch

            found["device_seconds"] = round(self.clock.seconds(self._start, self.clock.mark()), 6)
            found["peak_device_bytes"] = torch.cuda.max_memory_allocated(self._device)
        else:
            found["device_seconds"] = round(cpu, 6)
        found["wall_seconds"] = round(time.perf_counter() - self._wall, 6)
        found["peak_bytes"] = peak_bytes()
        return found


@contextmanager
def counted_passes(network: "nn.Module") -> Iterator[list[int]]:
    """The images of each forward pass of ``network`` within the block; copies of it are not counted."""
    seen = _Counter()
    handle = network.register_forward_pre_hook(seen)
    try:
        yield seen.images
    finally:
        handle.remove()


class _Counter:
    """A hook that notes the images of each pass; where the network is copied with it, the copy's notes nothing."""

    def __init__(self) -> None:
        self.images: list[int] = []

    def __call__(self, _network: Any, given: Any) -> None:
        self.images.append(len(given[0]))

    def __deepcopy__(self, _known: Any) -> Any:
        return _ignored


def _ignored(*_: Any) -> None:
    """What a copy's hook does."""


def peak_bytes() -> int:
    """The most memory that this process has had, in bytes.

    On Linux from ``VmHWM``, because ``ru_maxrss`` starts at the size of the process that this one was forked from.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.split("VmHWM:")[1].split()[0]) * 1024
    except (OSError, IndexError, ValueError):
        pass
    try:
        import resource
    except ImportError:  # Windows, where the system says it itself
        import psutil

        memory = psutil.Process().memory_info()
        return int(getattr(memory, "peak_wset", memory.rss))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
