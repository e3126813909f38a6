"""Chunks as tasks on a Ray cluster: Ray places them and retries those whose node or worker died.

Each Ray worker runs one child process (:class:`assay.runner.worker.Worker`) that keeps its models and can be killed
when a unit hangs. So time-outs and failed units mean the same here as in a local pool.
"""

import os
import socket
import sys
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from assay.common.errors import UserError
from assay.runner.chunks import ChunkResult, ChunkTask
from assay.runner.executors import Watch
from assay.runner.worker import Limits, Listener, Worker, run_surely

RETRIES_BY_RAY = 4
LOST_AT_MOST = 3
CONNECT_SECONDS = 5.0
# Ray tries a port that is open but silent 20 times, 40 s each: once, and 10 s, will do.
PATIENCE = {"RAY_gcs_server_port_wait_time_s": "1", "RAY_py_gcs_connect_timeout_s": "10"}


@dataclass(frozen=True)
class RayCluster:
    """The cluster at ``address`` (``auto``: the one that this machine belongs to; ``local``: one begun here).

    Attributes:
        address: as Ray knows it.
        device: ``cpu``, or ``cuda`` for one GPU per task.
        threads: CPU cores per task.
        limits: time-outs, kept where the work is done.
    """

    address: str
    device: str
    threads: int
    limits: Limits = field(default_factory=Limits)
    on_this_disk: bool = False  # a node has a disk of its own

    @property
    def workers(self) -> int:
        """How many tasks the cluster takes at once now."""
        return slots(connect(self.address).cluster_resources(), self.device, self.threads)

    def run(self, tasks: Iterable[ChunkTask], watch: Watch) -> Generator[ChunkResult, None, None]:
        """See :class:`assay.runner.executors.Executor`.

        Raises:
            UserError: Ray is not installed, or does not answer; a job cannot be opened where it is computed.
            RuntimeError: a chunk's workers died again and again.
        """
        ray = connect(self.address)
        try:
            yield from _Session(ray, self).results(tasks, watch)
        finally:
            ray.shutdown()


class _Session:
    """One run's tasks on a connected cluster."""

    def __init__(self, ray: Any, cluster: RayCluster) -> None:
        self._ray, self._cluster = ray, cluster
        # Without max_calls=0 Ray ends a worker that used a GPU after each task, and its models with it.
        options = {"num_cpus": cluster.threads, "max_retries": RETRIES_BY_RAY, "max_calls": 0}
        remote = ray.remote(**options)(_run_on_worker)
        gpus = 1 if cluster.device == "cuda" else 0
        self._remote = {True: remote.options(num_gpus=gpus), False: remote.options(num_gpus=0)}
        setting = WorkerSetting(cluster.device, cluster.limits, str(Path.cwd()), tuple(sys.path))
        self._setting = {True: setting, False: replace(setting, device="cpu")}
        self._pending: dict[Any, ChunkTask] = {}
        self._lost: dict[tuple[str, int], int] = {}

    def results(self, tasks: Iterable[ChunkTask], watch: Watch) -> Generator[ChunkResult, None, None]:
        waiting = iter(tasks)
        try:
            while self._fill(waiting):
                ready, _ = self._ray.wait(list(self._pending), num_returns=1)
                for reference in ready:
                    result = self._result(reference, self._pending.pop(reference), watch)
                    if result is not None:
                        yield result
        finally:
            for reference in self._pending:
                self._ray.cancel(reference, force=True)

    def _fill(self, waiting: Iterable[ChunkTask]) -> bool:
        """Keep two tasks per slot under way, so that no worker waits for this process."""
        most = 2 * self._slots()
        while len(self._pending) < most and (task := next(iter(waiting), None)) is not None:
            self._submit(task)
        return bool(self._pending)

    def _slots(self) -> int:
        """How many tasks fit, by those under way: tasks that need no GPU do not wait for one."""
        pending = self._pending.values()
        device = self._cluster.device if all(task.needs_gpu for task in pending) else "cpu"
        return slots(self._ray.cluster_resources(), device, self._cluster.threads)

    def _submit(self, task: ChunkTask) -> None:
        remote, setting = self._remote[task.needs_gpu], self._setting[task.needs_gpu]
        self._pending[remote.remote(task, setting)] = task

    def _result(self, reference: Any, task: ChunkTask, watch: Watch) -> ChunkResult | None:
        """The task's result; None where its worker was lost for good and it is handed in again."""
        try:
            kind, content, events = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError:
            raise
        except self._ray.exceptions.RayError as error:
            self._hand_in_again(task, error, watch)
            return None
        if kind == "user_error":
            raise UserError(content)
        for name, details in events:
            watch.event(name, task, **details)
        watch.advance(task, len(task.unit_ids))
        result: ChunkResult = content
        return result

    def _hand_in_again(self, task: ChunkTask, error: Exception, watch: Watch) -> None:
        lost = self._lost[task.key, task.chunk] = self._lost.get((task.key, task.chunk), 0) + 1
        if lost >= LOST_AT_MOST:
            raise RuntimeError(f"chunk {task.chunk}: Ray lost its worker again and again: {error}") from error
        watch.event("worker_lost", task, reason=" ".join(str(error).split())[:200])
        self._submit(task)


def slots(resources: Mapping[str, float], device: str, threads: int) -> int:
    """How many tasks a cluster of these resources takes at once, at least one."""
    if device == "cuda":
        return max(1, int(resources.get("GPU", 0)))
    return max(1, int(resources.get("CPU", 0)) // threads)


def connect(address: str) -> Any:
    """The ``ray`` module, connected (once per process, so that it can be done before anything is written).

    Raises:
        UserError: Ray is not installed, or nothing answers at ``address``.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address != "local":
        for name, value in PATIENCE.items():
            os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError as error:
        raise UserError("--executor ray: Ray is not installed; pip install 'assay[ray]'") from error
    if ray.is_initialized():
        return ray
    _check_answers(address)
    try:
        ray.init(address=None if address == "local" else address, logging_level="ERROR", log_to_driver=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UserError(_silent(address, str(error).split("\n")[0])) from error
    return ray


def device_of(asked: str, resources: Mapping[str, float]) -> str:
    """``cpu`` or ``cuda``: what each task runs on, in a cluster of these resources.

    Raises:
        UserError: a device by its number, which is Ray's to choose, or a GPU where the cluster has none.
    """
    gpus = resources.get("GPU", 0) >= 1
    if asked == "auto":
        return "cuda" if gpus else "cpu"
    if asked not in {"cpu", "cuda"}:
        raise UserError(f"--device {asked}: with --executor ray give auto, cpu or cuda; Ray chooses the GPUs")
    if asked == "cuda" and not gpus:
        raise UserError(
            "--device cuda: the Ray cluster has no GPU; use cpu, or let nodes with GPUs join first"
        )
    return asked


def _check_answers(address: str) -> None:
    """Ask the port first, because Ray would wait for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not host or not port.isdecimal():
        if address not in {"auto", "local"}:
            raise UserError(f"--address {address}: expected auto, local or HOST:PORT")
        return
    try:
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
    except (OSError, OverflowError, UnicodeError) as error:  # also a port or a name that cannot be
        raise UserError(_silent(address, str(error))) from error


def _silent(address: str, why: str) -> str:
    return (
        f"--address {address}: no Ray cluster answers ({why}); start one with `ray start --head`, "
        "or use --address local"
    )


@dataclass(frozen=True)
class WorkerSetting:
    """What else a Ray worker must know: relative paths and a user's modules start from the driver's folder."""

    device: str
    limits: Limits
    folder: str
    path: tuple[str, ...]

    def prepare(self) -> None:
        """Let this process look where the driver does, as far as the same files are here."""
        if Path(self.folder).is_dir():
            os.chdir(self.folder)
        sys.path += [place for place in self.path if place not in sys.path]


_led: dict[tuple[str, str | None], Worker] = {}


def _run_on_worker(
    task: ChunkTask, setting: WorkerSetting
) -> tuple[str, Any, list[tuple[str, dict[str, Any]]]]:
    """Runs inside a Ray worker: lead the child that has its GPU."""
    setting.prepare()
    events: list[tuple[str, dict[str, Any]]] = []
    listener = Listener(
        lambda _task, _units: None, lambda name, _task, **details: events.append((name, details))
    )
    try:
        return "result", run_surely(_child(setting.device), task, setting.limits, listener), events
    except UserError as error:
        return "user_error", str(error), events


def _child(device: str) -> Worker:
    place = device, os.environ.get("CUDA_VISIBLE_DEVICES")
    if place not in _led:
        for worker in _led.values():
            worker.kill()
        _led.clear()
        _led[place] = Worker(device)
    return _led[place]
