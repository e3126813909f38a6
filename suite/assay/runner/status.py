"""How a run fares, read from its folder alone: from another shell, on another day, after a crash."""

import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from assay.common.tables import text_table
from assay.runner.events import read_events
from assay.runner.lock import Owner, owner_of
from assay.runner.plan import Shard
from assay.runner.progress import duration
from assay.runner.shards import ShardFolder, part_in
from assay.runner.store import RunFolder


@dataclass(frozen=True)
class JobStatus:
    """One job: its chunks (a shard's own), those with a file, and the failed units that its stored chunks hold."""

    model: str
    task: str
    chunks: int
    stored: int
    failed_units: int


@dataclass(frozen=True)
class RunStatus:
    """``state`` is new, running, finished, stopped, failed, dead, or held (by another host, which can't be asked)."""

    state: str
    owner: Owner | None
    units_a_second: float | None
    seconds_to_go: float | None
    last_event_seconds_ago: float | None
    reason: str | None
    shard: Shard | None
    jobs: tuple[JobStatus, ...]

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return asdict(self)


_ENDS = {"run_finished": "finished", "run_stopped": "stopped", "run_failed": "failed", "run_started": "dead"}


def run_status(path: Path) -> RunStatus:
    """The state of the run in ``path``; nothing is written, and no lock is taken.

    Raises:
        UserError: ``path`` is not a run.
    """
    folder = RunFolder.existing(path)
    events = list(read_events(path))
    owner = owner_of(path)
    last = next((entry for entry in reversed(events) if entry["event"] in _ENDS), None)
    state = _ENDS[last["event"]] if last else "new"
    if owner is not None:
        state = "running" if owner.is_alive() else "held" if owner.is_elsewhere() else "dead"
    rate, to_go = _speed(events, owner) if owner and state == "running" else (None, None)
    part = part_in(folder)
    return RunStatus(
        state=state,
        owner=owner,
        units_a_second=rate,
        seconds_to_go=to_go,
        last_event_seconds_ago=round(time.time() - events[-1]["time"], 1) if events else None,
        reason=last.get("reason") if last and state == "failed" else None,
        shard=part.shard if part else None,
        jobs=_jobs(folder, part, events),
    )


def _jobs(folder: RunFolder, part: ShardFolder | None, events: list[dict[str, Any]]) -> tuple[JobStatus, ...]:
    own = Counter(key for key, _ in part.chunks()) if part else None
    errors: dict[str, dict[int, int]] = {}
    for entry in events:
        if entry["event"] == "chunk_stored":
            errors.setdefault(entry["job"], {})[entry["chunk"]] = entry["errors"]
    found = []
    for entry in folder.index():
        store = folder.job(entry["key"])
        failed = sum(errors.get(entry["key"], {}).values())
        job, stored = store.read_job((entry["model"], entry["task"])), len(store.stored_chunks())
        chunks = job["chunks"] if own is None else own[entry["key"]]
        found.append(JobStatus(entry["model"], entry["task"], chunks, stored, failed))
    return tuple(found)


def _speed(events: list[dict[str, Any]], owner: Owner) -> tuple[float | None, float | None]:
    """Units per second since the owner began to compute, and the seconds that the rest then takes."""
    marks = [index for index, entry in enumerate(events) if entry["event"] in _ENDS]
    if not marks or events[start := marks[-1]].get("pid") != owner.pid:
        return None, None  # the owner still checks what is stored, so the log is an earlier run's
    stored = [entry for entry in events[start:] if entry["event"] == "chunk_stored"]
    done = sum(entry["units"] for entry in stored)
    seconds = time.time() - events[start]["time"]
    if not done or seconds <= 0:
        return None, None
    return round(done / seconds, 4), round((events[start]["units"] - done) * seconds / done, 1)


def status_text(status: RunStatus) -> str:
    """The status for a reader."""
    rows = [[job.model, job.task, f"{job.stored}/{job.chunks}", job.failed_units] for job in status.jobs]
    table = text_table(rows, headers=["model", "task", "chunks stored", "failed units"])
    shard = f"shard {status.shard.number}/{status.shard.of}: " if status.shard else ""
    return f"{table}\n\n{shard}{_sentence(status)}"


def _sentence(status: RunStatus) -> str:
    who = f"process {status.owner.pid} on {status.owner.host}" if status.owner else ""
    ago = status.last_event_seconds_ago
    since = "" if ago is None else f"; last sign of life {duration(ago)} ago"
    if status.state == "running" and status.units_a_second and status.seconds_to_go is not None:
        return f"running ({who}): {status.units_a_second:.3g} units/s, {duration(status.seconds_to_go)} to go{since}"
    return {
        "new": "nothing was computed yet",
        "running": f"running ({who}){since}",
        "held": f"running, or died, on another host ({who}){since}",
        "finished": f"finished{since}",
        "stopped": f"stopped by the user{since}; the same command goes on from there",
        "failed": f"failed: {status.reason}{since}; the same command goes on from there",
        "dead": f"dead{f' ({who})' if who else ''}{since}; the same command goes on from there",
    }[status.state]
