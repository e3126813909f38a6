"""What a chunk used: wall, CPU and device time, and the most memory."""

import sys
import time
from pathlib import Path
from typing import Any

from assay.tasks.shared.clock import clock_of


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
