"""Clocks of the host and of a CUDA device, for saying how long a device worked or waited."""

import time
from typing import Any, Protocol


class Clock(Protocol):
    """Marks moments, and says how far apart two of them are."""

    def mark(self) -> Any:
        """This moment."""
        ...

    def seconds(self, start: Any, end: Any) -> float:
        """From one moment to a later one."""
        ...


class HostClock:
    """The wall clock of this process."""

    def mark(self) -> float:
        """See :class:`Clock`."""
        return time.perf_counter()

    def seconds(self, start: float, end: float) -> float:
        """See :class:`Clock`."""
        return end - start


class CudaClock:
    """Moments in a device's own queue of work: a mark passes when everything queued before it is done.

    Between a mark that is queued before the host looks for data and one that is queued behind the data's copy, the
    device only waited for the data and copied them. While it still did earlier work, it did not wait.
    """

    def __init__(self, device: str) -> None:
        self._device = device

    def mark(self) -> Any:
        """See :class:`Clock`."""
        import torch

        event: Any = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(self._device))
        return event

    def seconds(self, start: Any, end: Any) -> float:
        """See :class:`Clock`; waits until the device has passed ``end``."""
        end.synchronize()
        return float(start.elapsed_time(end)) / 1000


def clock_of(device: str) -> Clock:
    """The clock that fits a device."""
    return CudaClock(device) if device.startswith("cuda") else HostClock()
