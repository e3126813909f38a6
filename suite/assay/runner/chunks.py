"""Compute one chunk of a job in this process: the one place where a task is run, for every executor."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from assay.common.canonical import canonical_json
from assay.common.errors import UserError
from assay.common.savepoints import NONE
from assay.models.info import Fingerprint, same_answers
from assay.runner.environment import environment
from assay.runner.jobs import JobRequest, OpenJob, open_job
from assay.runner.precision import apply
from assay.runner.unfinished import Unfinished
from assay.runner.usage import Usage, counted_passes
from assay.runner.work import shared
from assay.tasks.base import NotApplicableError, Record, RunContext, Unit
from assay.tasks.shared.loading import LoadedPicture, Loader, Prefetcher

Advance = Callable[[float], None]


@dataclass(frozen=True)
class ChunkTask:
    """Chunks of one job to compute together; plain values, so that they can travel to another process.

    A chunk is what is stored. How many of them share passes of the network is no part of an answer.

    Attributes:
        request: of the job.
        key: the job's as planned: a worker that finds another one refuses.
        chunk: the first one.
        unit_ids: of all of them, in order.
        only: picks one unit of the chunk.
        ahead: the job's chunks that the same worker will most likely be given next, whose pictures it may load.
        fingerprint: of the network as planned.
        more: the other chunks.
        chunk_units: units of each chunk but the last of a job, where there are several.
        needs_gpu: whether the work is done on the run's device, and not always on the host.
        unfinished: the job's folder for what is done of chunks until they are stored; None where it is not kept.
    """

    request: JobRequest
    key: str
    chunk: int
    unit_ids: tuple[str, ...]
    only: int | None = None
    ahead: tuple[int, ...] = ()
    fingerprint: Fingerprint | None = None
    more: tuple[int, ...] = ()
    chunk_units: int = 1
    needs_gpu: bool = True
    unfinished: str | None = None

    @property
    def kept_in(self) -> Path | None:
        """The folder of what is done of these units; None where it is not kept."""
        return None if self.unfinished is None else Path(self.unfinished) / f"{self.chunk:06d}"

    @property
    def chunks(self) -> tuple[int, ...]:
        """All of them."""
        return (self.chunk, *self.more)

    def before(self, following: "ChunkTask | None") -> "ChunkTask":
        """The same task, with what its worker will do next."""
        if following is None or following.key != self.key:
            return self
        return replace(self, ahead=following.chunks)

    def by_chunk(self) -> "list[ChunkTask]":
        """The same work as one task per chunk."""
        if not self.more:
            return [self]
        size = self.chunk_units
        return [
            replace(self, chunk=chunk, more=(), ahead=(), unit_ids=self.unit_ids[first : first + size])
            for chunk, first in zip(self.chunks, range(0, len(self.unit_ids), size), strict=True)
        ]

    def alone(self) -> "list[ChunkTask]":
        """The same chunk as one task per unit."""
        return [
            replace(self, unit_ids=(unit_id,), only=position, ahead=(), unfinished=None)
            for position, unit_id in enumerate(self.unit_ids)
        ]


@dataclass(frozen=True)
class ChunkResult:
    """The records of a task in the order of its units, and what is never part of an answer: times and machine.

    ``not_applicable`` says why there are no records: the task has no meaning for this network.
    """

    task: ChunkTask
    records: tuple[Record, ...]
    times: Mapping[str, Any]
    environment: Mapping[str, Any]
    not_applicable: str | None = None

    def by_chunk(self) -> "list[ChunkResult]":
        """One result per chunk; times are shared out by units."""
        if not self.task.more:
            return [self]
        found, first = [], 0
        for task in self.task.by_chunk():
            units = len(task.unit_ids)
            own = shared(self.times, first, first + units, len(self.records))
            times = own | {"chunk": task.chunk, "units": units, "together": len(self.task.chunks)}
            records = self.records[first : first + units]
            found.append(ChunkResult(task, records, times, self.environment))
            first += units
        return found


def compute(task: ChunkTask, device: str, advance: Advance, on_start: Callable[[], None]) -> ChunkResult:
    """Open the job (what this process opened last is kept) and run the chunks; ``on_start`` is called in between.

    Raises:
        UserError: the job cannot be opened, or is no longer the one that was planned.
    """
    device = device if task.needs_gpu else "cpu"
    request = replace(task.request, device=device)
    apply(request.precision, device)
    opened = open_job(request)
    if opened.job.key != task.key or not same_answers(opened.job.info.fingerprint, task.fingerprint):
        _forget_card(request)
        raise UserError(
            f"{opened.job.title}: its network, weights, data or spec changed while the run was under way; "
            "run the command again"
        )
    units = [unit for chunk in task.chunks for unit in opened.job.chunk(chunk)]
    if task.only is not None:
        units = units[task.only : task.only + 1]
    on_start()
    usage = Usage(device)
    loader = Loader(_pictures_ahead, usage.clock)
    _pictures_ahead.expect(_pictures(opened, units, task.ahead), device)
    with counted_passes(opened.model.module) as passes:
        unfinished = Unfinished(
            task.kept_in,
            environment(device),
            lambda: {
                "passes": len(passes), "images": sum(passes),
                "waiting_seconds": round(loader.waited_seconds(), 6), **usage.measured(),
            },
        )  # fmt: skip
        block = UnitBlock(opened, request.batch_size, advance, loader, unfinished)
        first_batch_size = block.batch_size
        try:
            records, reason = tuple(block.run(units)), None
        except NotApplicableError as error:
            records, reason = (), str(error)
    times = {
        "chunk": task.chunk,
        "units": len(units),
        "batch_size": block.batch_size,
        "batch_halved_from": first_batch_size if block.batch_size < first_batch_size else None,
        **block.work,
        **unfinished.spent(),
    }
    return ChunkResult(task, records, times, environment(device), reason)


_pictures_ahead = Prefetcher()  # one per process, so that the next chunk finds what this one loaded ahead


def drop_pictures_ahead() -> None:
    """Drop pictures that were loaded ahead for a chunk that will not come."""
    _pictures_ahead.close()


def _pictures(opened: OpenJob, units: Sequence[Unit], ahead: Sequence[int]) -> Iterator[LoadedPicture]:
    """The pictures of these units, then those of the next chunks."""
    question = opened.job.question
    for unit in (*units, *(unit for chunk in ahead for unit in opened.job.chunk(chunk))):
        yield from question.task.pictures(question.spec.spec, opened.model, question.data, unit)


def _forget_card(request: JobRequest) -> None:
    """Forget the card: the plan may have used a remembered one, and the next plan must not."""
    from assay.runner.cards import Cards

    cards = Cards()
    cards.forget(request)
    cards.save()


class UnitBlock:
    """Units of one job that are run together; ``batch_size`` shrinks where memory does not suffice."""

    def __init__(
        self,
        opened: OpenJob,
        batch_size: int | None,
        advance: Advance,
        loader: Loader,
        unfinished: Unfinished | None = None,
    ) -> None:
        self._opened, self._advance, self._loader = opened, advance, loader
        self._unfinished = unfinished
        job = opened.job
        natural = job.question.task.batch_size(job.info.input_shape, job.request.device)
        self.batch_size = batch_size or natural
        self.work: Counter[str] = Counter()

    def run(self, units: Sequence[Unit]) -> list[Record]:
        """The records of ``units``.

        If several chunks fail together, each is run alone, and then its units; those that fail again are errors.
        """
        try:
            return self._run_in_memory(units)
        except NotApplicableError:
            raise
        except Exception as error:
            if len(units) == 1:
                self._advance(1.0)
                return [Record(units[0].id, error=describe(error))]
        size = self._opened.job.question.chunk_units
        size = size if len(units) > size else 1
        parts = [units[first : first + size] for first in range(0, len(units), size)]
        return [record for part in parts for record in self.run(part)]

    def _run_in_memory(self, units: Sequence[Unit]) -> list[Record]:
        """Run, and halve the batch as often as memory does not suffice."""
        while True:
            try:
                return self._run_once(units)
            except Exception as error:
                if self.batch_size == 1 or not is_out_of_memory(error):
                    raise
            # Outside the handler, where the error no longer keeps the tensors of the failed pass alive.
            self.batch_size //= 2
            free_memory()

    def _run_once(self, units: Sequence[Unit]) -> list[Record]:
        job = self._opened.job
        question = job.question
        progress = _ChunkProgress(self._advance, len(units))
        kept = self._unfinished
        savepoints = kept.savepoints([unit.id for unit in units], self.batch_size) if kept else NONE
        context = RunContext(
            job.seed_root, job.request.device, self.batch_size, progress.add, self._loader, question.first,
            question.chunk_units,
            savepoints=savepoints,
        )  # fmt: skip
        try:
            run = question.task.run(question.spec.spec, self._opened.model, question.data, units, context)
            records = [storable(record) for record in run]
        except BaseException:
            progress.take_back()
            raise
        if [record.unit_id for record in records] != [unit.id for unit in units]:
            raise RuntimeError(
                f"the family {question.task.family} gave records for other units than asked for"
            )
        progress.finish()
        self.work.update(context.work)
        return records


def storable(record: Record) -> Record:
    """The record itself, or an error where its values are no finite JSON: NaN is never taken for a figure."""
    try:
        canonical_json(dict(record.values))
    except (ValueError, TypeError) as error:
        return Record(record.unit_id, error=f"its values cannot be stored: {describe(error)}")
    return record


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed, on a GPU or here."""
    if isinstance(error, MemoryError):
        return True
    text = str(error)
    return type(error).__name__ == "OutOfMemoryError" or (
        isinstance(error, RuntimeError) and ("can't allocate memory" in text or "out of memory" in text)
    )


def free_memory() -> None:
    """Free the memory that a failed pass left behind."""
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


class _ChunkProgress:
    """Passes progress on, never beyond the units of a chunk; the progress of a failed pass is taken back."""

    def __init__(self, advance: Advance, units: int) -> None:
        self._advance, self._units, self._done = advance, float(units), 0.0

    def add(self, units: float) -> None:
        step = min(units, self._units - self._done)
        self._done += step
        self._advance(step)

    def take_back(self) -> None:
        self._advance(-self._done)

    def finish(self) -> None:
        self.add(self._units)


def describe(error: BaseException) -> str:
    """An error as one line: its type and its text."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
