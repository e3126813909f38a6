"""A run in parts: notes which part a folder holds, and puts the parts together."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assay.common.errors import UserError
from assay.runner.files import append_line, write_atomically
from assay.runner.job_store import BrokenChunkError
from assay.runner.jobs import Job
from assay.runner.lock import exclusive
from assay.runner.plan import WHOLE, Shard
from assay.runner.provenance import merge_environments
from assay.runner.store import RunFolder, checked_key

_MOST = 10**7  # chunks of a job, and shards


@dataclass(frozen=True)
class ShardFolder:
    """A shard's folder: its jobs in the order that chunks were dealt in, as (key, chunks)."""

    folder: RunFolder
    shard: Shard
    jobs: tuple[tuple[str, int], ...]

    def chunks(self) -> list[tuple[str, int]]:
        """The (job key, chunk) pairs that belong to this shard."""
        every = [(key, chunk) for key, count in self.jobs for chunk in range(count)]
        return every[self.shard.number - 1 :: self.shard.of]


def claim_shard(folder: RunFolder, shard: Shard, jobs: Sequence[Job]) -> None:
    """Note in a new folder which run and which part of it the folder holds.

    Raises:
        UserError: it holds another part, the whole, or a part of another run.
    """
    path = folder.path / "shard.json"
    counts = {job.key: job.chunk_count for job in jobs}
    claim = {"shard": shard.number, "of": shard.of, "jobs": [[key, count] for key, count in counts.items()]}
    if path.is_file():
        there = _read_claim(path)
        if shard == WHOLE or there != claim:
            raise UserError(
                f"{folder.path}: holds shard {there['shard']}/{there['of']} of a run, not this one; use the same "
                "--shard and the same models and tasks, or another --out"
            )
    elif shard != WHOLE:
        if folder.index():
            raise UserError(f"{folder.path}: holds a whole run; give each shard an --out of its own")
        write_atomically(path, json.dumps(claim) + "\n")


def _read_claim(path: Path) -> dict[str, Any]:
    try:
        claim = json.loads(path.read_text(encoding="utf-8"))
        jobs = [[checked_key(str(key)), _count(count)] for key, count in claim["jobs"]]
        return {"shard": _count(claim["shard"], 1), "of": _count(claim["of"], 1), "jobs": jobs}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{path}: is missing or damaged ({error}); run this shard again") from error


def _count(value: Any, least: int = 0) -> int:
    if type(value) is not int or not least <= value <= _MOST:
        raise ValueError(f"{value!r} is no number of shards or chunks")
    return value


def merge(sources: Sequence[Path], out: Path) -> RunFolder:
    """Put the shards in ``sources`` together in the new folder ``out``; everything is checked before a byte is written.

    Raises:
        UserError: a source is no shard, is still being written, or is of another run; shards overlap or leave
            gaps; a chunk is missing or broken; ``out`` is not empty.
    """
    parts = [_part(path) for path in sources]
    _check_same_run(parts)
    _check_cover(parts)
    for part in parts:
        _check_chunks(part)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: is not empty; choose a new --out for what is merged")
    folder = RunFolder(out)
    with exclusive(out):
        _copy(parts, folder)
    return folder


def part_in(folder: RunFolder) -> ShardFolder | None:
    """The part of a run that a folder holds; None where it holds a whole one.

    Raises:
        UserError: what it notes of itself is damaged.
    """
    marker = folder.path / "shard.json"
    if not marker.is_file():
        return None
    claim = _read_claim(marker)
    jobs = tuple((key, count) for key, count in claim["jobs"])
    return ShardFolder(folder, Shard(claim["shard"], claim["of"]), jobs)


def _part(path: Path) -> ShardFolder:
    folder = RunFolder.existing(path)
    with exclusive(path):
        part = part_in(folder)
    if part is None:
        raise UserError(
            f"{path}: is a whole run, not a shard of one; merge what `assay run --shard i/n` wrote"
        )
    return part


def _check_same_run(parts: Sequence[ShardFolder]) -> None:
    first = parts[0]
    for part in parts[1:]:
        if part.shard.of != first.shard.of:
            raise UserError(
                f"{part.folder.path}: is one of {part.shard.of} shards, {first.folder.path} one of {first.shard.of}; "
                "merge the shards of one run"
            )
        if part.jobs != first.jobs:
            raise UserError(
                f"{part.folder.path} and {first.folder.path}: are shards of different runs "
                f"({_first_difference(first, part)}); merge shards of the same models, weights, specs and data"
            )
        for key, _ in part.jobs:
            for fingerprint in part.folder.job(key).begun_by():
                if not first.folder.job(key).is_of(fingerprint):
                    raise UserError(
                        f"{part.folder.path} and {first.folder.path}: their networks give other answers in job "
                        f"{key[:12]}, though weights, structure and code are the same; merge shards of one network"
                    )


def _first_difference(first: ShardFolder, other: ShardFolder) -> str:
    ours, theirs = _named(first.folder), _named(other.folder)
    for name in sorted({*ours, *theirs}):
        if ours.get(name) != theirs.get(name):
            return f"{name[0]} · {name[1]} has another job key"
    return "their jobs come in another order"


def _named(folder: RunFolder) -> Mapping[tuple[str, str], str]:
    return {(entry["model"], entry["task"]): entry["key"] for entry in folder.index()}


def _check_cover(parts: Sequence[ShardFolder]) -> None:
    seen: dict[int, ShardFolder] = {}
    for part in parts:
        twin = seen.setdefault(part.shard.number, part)
        if twin is not part:
            raise UserError(
                f"{part.folder.path} and {twin.folder.path}: overlap, both hold shard "
                f"{part.shard.number}/{part.shard.of}; give each shard once"
            )
    of = parts[0].shard.of
    gaps = [f"{number}/{of}" for number in range(1, of + 1) if number not in seen]
    if gaps:
        raise UserError(f"merge: there is a gap, shard {', '.join(gaps)} was not given; give all {of} shards")


def _check_chunks(part: ShardFolder) -> None:
    wanted = set(part.chunks())
    for key, count in part.jobs:
        store = part.folder.job(key)
        for chunk in range(count):
            try:
                found = store.check_chunk(chunk)
            except BrokenChunkError as error:
                raise UserError(f"{store.chunk_path(chunk)}: {error}; run this shard again") from error
            if found is None and (key, chunk) in wanted:
                raise UserError(
                    f"{part.folder.path}: leaves a gap, chunk {chunk} of job {key[:12]} is not computed yet; "
                    "run this shard again"
                )
            if found is not None and (key, chunk) not in wanted:
                raise UserError(
                    f"{store.chunk_path(chunk)}: overlaps, the chunk belongs to another shard; remove the file"
                )


def _copy(parts: Sequence[ShardFolder], folder: RunFolder) -> None:
    index = parts[0].folder.index()
    for entry in index:
        names, first = (entry["model"], entry["task"]), parts[0].folder.job(entry["key"])
        folder.job(entry["key"]).write_job(names, first.read_job(names))
    for key, _ in parts[0].jobs:
        for part in parts:
            source, target = part.folder.job(key), folder.job(key)
            # Files first: a chunk that is there says that its records' files are.
            for name in ("files", "chunks"):
                if (source.path / name).is_dir():
                    shutil.copytree(source.path / name, target.path / name, dirs_exist_ok=True)
            for fingerprint in source.begun_by():
                target.write_fingerprint(fingerprint)
            for entry in source.read_times():
                append_line(target.times_path, entry)
    # The index comes after all that it points to.
    folder.point((entry["model"], entry["task"], entry["key"]) for entry in index)
    for entry in index:
        sources = [part.folder.path for part in parts]
        merge_environments(sources, folder.path, entry["model"], entry["task"], entry["key"])
