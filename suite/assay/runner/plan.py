"""Plans a run: its jobs, their keys, what is stored and what is missing. No model is loaded."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from assay.common.errors import UserError
from assay.models.info import same_answers
from assay.runner.cards import Cards
from assay.runner.chunks import ChunkTask
from assay.runner.files import path_name
from assay.runner.job_store import BrokenChunkError, JobStore
from assay.runner.jobs import Job, JobRequest, forget, open_question
from assay.runner.store import RunFolder

Say = Callable[[str], None]


@dataclass(frozen=True)
class Shard:
    """The part ``number`` (from 1) of ``of`` equal parts of a run."""

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """``2/8`` as a shard.

        Raises:
            UserError: anything else.
        """
        number, _, of = text.partition("/")
        if not (number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
            raise UserError(f"--shard: expected i/n with 1 <= i <= n, such as 2/8 (got {text!r})")
        return cls(int(number), int(of))


WHOLE = Shard(1, 1)


def plan_jobs(requests: Sequence[JobRequest]) -> list[Job]:
    """Every request as a job.

    Raises:
        UserError: two requests of one name; unknown models or tasks, missing weights or data, a bad spec.
    """
    forget()
    cards = Cards()
    jobs = [
        Job(request, open_question(request, partial(cards.of, request)), request.filed(cards.of(request)))
        for request in requests
    ]
    cards.save()
    for job in jobs:
        job.check()
    _refuse_twins(jobs)
    _refuse_doubles(jobs)
    return jobs


def _refuse_twins(jobs: Sequence[Job]) -> None:
    (name, count), *_ = Counter(job.names for job in jobs).most_common(1)
    if count > 1:
        raise UserError(
            f"model {name[0]!r} with task {name[1]!r} is asked for twice; name each once (two checkpoints of one model "
            "are told apart by --model NAME=MODEL@WEIGHTS, two spec files of one name by --task NAME=FILE)"
        )
    places: dict[str, str] = {}
    for called in dict.fromkeys(part for job in jobs for part in job.names):
        other = places.setdefault(path_name(called).casefold(), called)
        if other != called:
            raise UserError(
                f"{other!r} and {called!r} would be filed under one name where files know no upper and lower case; "
                "give one of them another name, or run each into an --out of its own"
            )


def _refuse_doubles(jobs: Sequence[Job]) -> None:
    """Refuse two networks with one key and different answers: one would be given the other's figures."""
    first: dict[str, Job] = {}
    for job in jobs:
        other = first.setdefault(job.key, job)
        if not same_answers(job.info.fingerprint, other.info.fingerprint):
            raise UserError(
                f"{other.info.name} and {job.info.name} have the same weights, structure and code but give "
                "other answers (does their code read a file, a setting or a clock?); run each into an --out of its own"
            )


@dataclass(frozen=True)
class Survey:
    """What a folder holds of a job: the shard's chunks that are stored and whole, and those that are not."""

    job: Job
    stored: int
    missing: Sequence[int]

    def tasks(self, device: str = "cpu", workers: int = 1) -> Iterator[ChunkTask]:
        """The chunks that are missing, ready to be computed: on a device as many together as fill its passes.

        Args:
            device: what each worker computes on.
            workers: how many there are; none is left without work so that another may have full passes.
        """
        job = self.job
        together = min(job.chunks_together(device), max(1, len(self.missing) // workers))
        for first in range(0, len(self.missing), together):
            chunk, *more = self.missing[first : first + together]
            unit_ids = tuple(unit.id for each in (chunk, *more) for unit in job.chunk(each))
            yield ChunkTask(
                job.request, job.key, chunk, unit_ids, fingerprint=job.info.fingerprint,
                more=tuple(more), chunk_units=job.question.chunk_units, needs_gpu=job.host_only is None,
            )  # fmt: skip

    @property
    def missing_units(self) -> int:
        """How many units are left to compute."""
        return sum(len(self.job.chunk(chunk)) for chunk in self.missing)


def distinct(jobs: Sequence[Job]) -> list[Job]:
    """The jobs without those that repeat another one under a second name."""
    by_key: dict[str, Job] = {}
    for job in jobs:
        by_key.setdefault(job.key, job)
    return list(by_key.values())


def survey(
    jobs: Sequence[Job],
    out: Path | None,
    shard: Shard = WHOLE,
    retry_errors: bool = False,
    say: Say | None = None,
) -> list[Survey]:
    """Look at what ``out`` holds; every byte of every stored chunk is checked.

    Chunks are dealt to shards in turn over all jobs, so that small jobs are shared out too.

    Args:
        jobs: in the order of the command, which decides the shards.
        out: the run's folder, which need not exist; None where nothing is stored.
        shard: the part of the run that is asked for.
        retry_errors: count chunks that hold failed units as missing.
        say: gets a line for every broken chunk.
    """
    found, first = [], 0
    folders = RunFolder.job_folders(out) if out else set()
    for job in distinct(jobs):
        mine = range((shard.number - 1 - first) % shard.of, job.chunk_count, shard.of)
        first += job.chunk_count
        missing: Sequence[int] = mine
        if out and JobStore.folder_name(job.key) in folders:
            store = RunFolder.job_store(out, job.key)
            there = store.stored_chunks()
            missing = [
                chunk
                for chunk in mine
                if chunk not in there or not _is_whole(store, job, chunk, retry_errors, say or _silent)
            ]
        found.append(Survey(job, len(mine) - len(missing), missing))
    return found


def _is_whole(store: JobStore, job: Job, chunk: int, retry_errors: bool, say: Say) -> bool:
    try:
        header = store.check_chunk(chunk, [unit.id for unit in job.chunk(chunk)])
    except BrokenChunkError as error:
        say(f"{store.chunk_path(chunk)}: {error}; it is computed again")
        return False
    return header is not None and not (retry_errors and header.errors)


def _silent(line: str) -> None:
    del line
