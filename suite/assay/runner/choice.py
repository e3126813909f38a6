"""Chooses the executor that a command's options ask for."""

import os
from dataclasses import dataclass

from assay.common.errors import UserError
from assay.runner.executors import Executor, InProcess
from assay.runner.pool import LocalPool
from assay.runner.worker import Limits


@dataclass(frozen=True)
class Choice:
    """What the user said: ``name`` is auto, here, pool or ray; ``workers`` (a device) a number or auto.

    ``devices`` are those of this machine; a Ray cluster knows its own.
    """

    name: str
    devices: tuple[str, ...]
    workers: str
    address: str
    limits: Limits

    def executor(self, threads: int) -> Executor:
        """The executor; ``threads`` is what each worker computes with.

        Raises:
            UserError: a number of workers that is no number, Ray not installed, or its address silent.
        """
        on_cpu = self.devices == ("cpu",)
        count = worker_count(self.workers, max(1, cores() // threads) if on_cpu else 1)
        if self.name == "ray":
            from assay.runner.ray_cluster import RayCluster, connect, device_of

            resources = connect(self.address).cluster_resources()
            device = device_of(",".join(self.devices), resources)
            return RayCluster(self.address, device, threads, self.limits)
        places = tuple(device for device in self.devices for _ in range(count))
        # A unit that hangs can only be ended with its process.
        if self.name == "pool" or (self.name == "auto" and (len(places) > 1 or self.limits != Limits())):
            return LocalPool(places, self.limits)
        if len(places) > 1 or self.limits != Limits():
            raise UserError("--executor here: is one process without time-outs; use --executor pool")
        return InProcess(places[0])


def worker_count(asked: str, auto: int) -> int:
    """The number that ``--workers`` asks for; ``auto`` is what that word means here.

    Raises:
        UserError: it is not that word and not a number from 1.
    """
    if asked == "auto":
        return auto
    if not asked.isdecimal() or int(asked) < 1:
        raise UserError(f"--workers: expected a number from 1 or auto (got {asked!r})")
    return int(asked)


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
