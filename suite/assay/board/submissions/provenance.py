"""Checks of a submission's provenance: it must be what a run notes, and not contradict itself.

It proves nothing, because anybody can write one; but a page that shows it should not show nonsense.
"""

import re
import subprocess
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import AwareDatetime, Field, TypeAdapter

from assay.board.submissions.documents import Sha256
from assay.board.submissions.problems import Problem
from assay.board.submissions.reader import check_text, parse_document, parse_json
from assay.board.submissions.text import PlainText
from assay.common.canonical import canonical_sha256
from assay.common.validation import StrictModel

_MEND = "run `assay submit` on the run's folder as `assay run` left it"
_GPU = re.compile(
    r"nvidia|geforce|tesla|quadro|\brtx\b|\bgtx\b|radeon|instinct|\b[ahbl][1-9]00\b", re.IGNORECASE
)
_AHEAD = timedelta(days=1)  # by how much clocks and zones may differ
_TIME = TypeAdapter(AwareDatetime)

Seconds = Annotated[float, Field(ge=0, le=1e10)]
Count = Annotated[int, Field(ge=0, le=2**63)]


class _Commit(StrictModel):
    sha: Annotated[str, Field(pattern=r"^[0-9a-f]{40}([0-9a-f]{24})?$")]
    dirty: bool


class _Cuda(StrictModel):
    runtime: PlainText | None
    cudnn: Count | None
    driver: PlainText | None


class _Environment(StrictModel):
    """As :func:`assay.runner.environment.environment` gives it."""

    packages: dict[PlainText, PlainText | None]
    python: PlainText
    system: PlainText
    commit: _Commit | None
    device: PlainText
    cuda: _Cuda | None
    threads: Annotated[int, Field(ge=1, le=100_000)]
    tf32: bool
    deterministic_algorithms: bool
    cudnn_deterministic: bool
    cpu_count: Count | None
    host: PlainText | None = None


class ProvenanceDocument(StrictModel):
    """As :class:`assay.runner.provenance.Provenance` writes it."""

    job_key: Sha256
    written_utc: str
    environments: dict[str, dict[str, Any]]
    used: dict[PlainText, Seconds | Count | None]
    on_host: PlainText | None = None


def provenance_problems(file: str, data: bytes, job_key: str) -> Iterator[Problem]:
    """What is wrong with the provenance of a result.

    Raises:
        UnreadableError: it is not what a run writes.
    """
    check_text(file, parse_json(file, data))
    document = parse_document(ProvenanceDocument, file, data)
    if document.job_key != job_key:
        yield Problem(file, "job_key", document.job_key, job_key, _MEND)
    written = _time(document.written_utc)
    if written is None or written > datetime.now(UTC) + _AHEAD:
        expected = "a time with its zone, not in the future"
        yield Problem(file, "written_utc", document.written_utc, expected, _MEND)
        return
    for name, machine in document.environments.items():
        place = f"environments.{name}"
        if name != canonical_sha256(machine)[:16]:
            yield Problem(file, place, "other content than its name says", "the environment as noted", _MEND)
        environment = parse_document(_Environment, file, _json(machine))
        yield from _contradictions(file, place, environment)
        known = _commit_time(environment.commit.sha) if environment.commit else None
        if known is not None and written < known:
            found = f"{document.written_utc}, before the commit {known.isoformat()}"
            yield Problem(file, "written_utc", found, "a time after the commit that it names", _MEND)


def _contradictions(file: str, place: str, environment: _Environment) -> Iterator[Problem]:
    """A device that these packages cannot compute on."""
    torch = environment.packages.get("torch")
    if torch is None:
        yield Problem(file, f"{place}.packages.torch", None, "a version, because a network was run", _MEND)
    elif environment.cuda is not None and "+cpu" in torch:
        yield Problem(file, f"{place}.cuda", torch, "no CUDA, because this torch has none", _MEND)
    if environment.cuda is None and _GPU.search(environment.device):
        yield Problem(file, f"{place}.device", environment.device, "a CPU, because no CUDA is noted", _MEND)
    built = re.search(r"\+cu(\d+)", torch or "")
    runtime = environment.cuda.runtime if environment.cuda else None
    if built and runtime and built[1] != runtime.replace(".", ""):
        yield Problem(file, f"{place}.cuda.runtime", runtime, f"the CUDA of torch {torch}", _MEND)


def _time(text: str) -> datetime | None:
    try:
        return _TIME.validate_python(text)
    except ValueError:
        return None


def _json(machine: Mapping[str, Any]) -> bytes:
    from pydantic_core import to_json

    return to_json(machine)


@lru_cache(maxsize=1024)
def _commit_time(sha: str) -> datetime | None:
    """When a commit was made, where the checkout of this program has it; ``sha`` is hexadecimal."""
    folder = Path(__file__).resolve().parent
    command = ["git", "-C", str(folder), "show", "-s", "--format=%ct", "--end-of-options", sha]
    try:
        done = subprocess.run(command, capture_output=True, timeout=10, check=False)
        return datetime.fromtimestamp(int(done.stdout), UTC) if done.returncode == 0 else None
    except (OSError, ValueError, OverflowError, subprocess.TimeoutExpired):
        return None
