"""A small leaderboard's folder, and how a forger changes what lies in it."""

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from assay.board.submissions.build import SubmitRequest, build_submissions, manifest_of
from assay.board.submissions.check import Board, check_submission, other_names, read_records
from assay.board.submissions.documents import MANIFEST
from assay.board.submissions.folder import open_folder
from assay.board.submissions.outcomes import headline_outcomes
from assay.board.submissions.pictures import picture_files
from assay.board.submissions.register import admit, read_register
from assay.board.submissions.results import parse_result, switches_of
from assay.common.resources import shipped_folder
from assay.runner.jobs import JobRequest
from assay.runner.plan import plan_jobs
from assay.runner.run import run_jobs
from assay.tasks.families import family, load_spec

TASK = "adversarial/digits"
RECORDS, RESULT = f"records/{TASK}.jsonl.gz", f"results/{TASK}.json"
RANK_BY = "worst:robust_accuracy@1/20"
SPEC = """\
schema: 1
family: adversarial
title: Accuracy under attack, the digits
data: digits
headline: "worst:robust_accuracy@1/20"
eps: [0, 1/20, 1/10]
chunk_units: 600
attacks:
  - {method: fgsm}
  - {method: bim, steps: 3, step_size: 0.4 eps}
"""
METADATA = """\
schema: 1
paper: {title: Digits in a page, url: "https://example.org/paper"}
code: https://example.org/code
licence: Apache-2.0
contact: someone@example.org
"""
MODELS = {"digits-linear": "digits_models:linear", "digits-blurred": "digits_models:blurred"}


def use_specs(monkeypatch, folder):
    """Let the tasks and tracks in ``folder`` be the shipped ones."""
    for module in ("task_spec", "tracks"):
        monkeypatch.setattr(
            f"assay.tasks.{module}.shipped_folder",
            lambda name: folder if name == "benchmarks" else shipped_folder(name),
        )


@dataclass(frozen=True)
class Place:
    """A leaderboard's folder, the run and the metadata that its submissions were made of."""

    board: Path
    run: Path
    metadata: Path

    @property
    def submission(self) -> Path:
        return self.board / "submissions" / "digits-linear"

    def check(self, folder: Path | None = None) -> list[str]:
        against = Board(read_register(self.board), other_names(self.board / "submissions"))
        return [str(problem) for problem in check_submission(folder or self.submission, against)]


def make_place(root: Path, requests: Mapping[str, JobRequest]) -> Place:
    """Run jobs of one task and submit each under its name, as honest contributors do."""
    (root / "about.yaml").write_text(METADATA)
    place = Place(root / "leaderboard", root / "run", root / "about.yaml")
    run_jobs(plan_jobs(list(requests.values())), place.run)
    for task in {request.task for request in requests.values()}:
        admit(place.board, task, ())
    for name, request in requests.items():
        build_submissions(SubmitRequest(place.run, place.metadata, request.model, name), place.board)
    return place


def rewrite(folder: Path, changes: Mapping[str, bytes | None]) -> None:
    """Change files of a submission and list them in its manifest, as a forger would; None removes a file."""
    for name, data in changes.items():
        path = folder / name
        if data is None:
            path.unlink()
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST
    }
    (folder / MANIFEST).write_text(manifest_of(files).model_dump_json(by_alias=True))


def as_before(folder: Path) -> None:
    """Add what submissions of before held besides: outcomes and pictures, as their `assay submit` wrote them."""
    files, _ = open_folder(folder)
    changes: dict[str, bytes | None] = {}
    for task in files.tasks:
        result = parse_result(f"results/{task}.json", files.read(f"results/{task}.json"))
        spec = load_spec(task, switches_of(result.spec, task)).spec
        implementation, records = family(spec.family), read_records(files, task, spec)
        outcomes = headline_outcomes(implementation, spec, records, result)
        changes[f"outcomes/{task}.json"] = (outcomes.model_dump_json(by_alias=True) + "\n").encode()
        changes |= picture_files(task, implementation.figures(spec, records))
    rewrite(folder, changes)


def edit_result(folder: Path, change) -> None:
    """Let ``change`` alter the parsed result document, and write it as Assay would."""
    name = f"results/{TASK}.json"
    document = json.loads((folder / name).read_text())
    change(document)
    rewrite(folder, {name: (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()})


def lines(place: Place) -> list[bytes]:
    """The submission's records as the lines that they are stored in."""
    return gzip.decompress((place.submission / RECORDS).read_bytes()).splitlines(keepends=True)


def put_lines(place: Place, changed: list[bytes]) -> None:
    """Store other records, as a forger would."""
    rewrite(place.submission, {RECORDS: gzip.compress(b"".join(changed), mtime=0)})


def refused(place: Place, *words: str) -> None:
    """The submission has a problem whose line holds all the words, and every problem is a sentence for a terminal."""
    problems = place.check()
    assert any(all(word in problem for word in words) for problem in problems), (
        problems or "nothing was found"
    )
    assert all("expected" in problem and problem.isprintable() for problem in problems)
