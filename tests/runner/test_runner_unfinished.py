"""A run that is stopped in the middle of a chunk goes on from there, and its answer is the same to the byte."""

import json
import re
import shutil
from pathlib import Path

import pytest

from assay.common import savepoints
from assay.common.savepoints import Savepoints
from assay.runner.plan import plan_jobs
from assay.runner.run import InterruptedRunError, run_jobs
from small_jobs import JobRequest, chunks
from tasks.consistency import coloured_place
from tasks.srvr.three_shapes import MANIFEST
from tasks.srvr.three_shapes import SPEC as SHAPES

ATTACKS = """schema: 1
family: adversarial
title: t
data: digits-test
eps: [0, 1/20, 1/10]
probe_queries: 5
certified: true
attacks:
  - {method: pgd, steps: 3, step_size: 1/50, restarts: 2}
  - {method: apgd_t, steps: 3, restarts: 2, loss: dlr}
  - {method: fab_t, steps: 3, restarts: 2, loss: margin}
  - {method: square, steps: 9, loss: margin}
"""
PROVED = """schema: 1
family: verification
title: t
data: digits-test
combinations: [["brightness:0:0.05"], ["patch:0:0.05:2:2:2x2"]]
deltas: [1]
labels: predicted
verifier: VERIFIER
"""
CORRUPTED = """schema: 1
family: corruptions
title: t
data: digits-test
settings: cifar-10-c
corruptions: [gaussian_noise, contrast]
severities: [1, 5]
"""


def request(folder: Path, text: str, model: str = "digits_fnn", **fields) -> JobRequest:
    (folder / "t.yaml").write_text(text)
    return JobRequest(
        **{"model": model, "task": str(folder / "t.yaml"), "limit": 2, "batch_size": 2} | fields
    )


def shapes(folder: Path) -> JobRequest:
    (folder / "three.yaml").write_text(json.dumps(MANIFEST))
    changes = {"function": "network", "network_shapes": ["mug"], "classes": ["mug"], "slopes": "autograd"}
    changes |= {"methods": [{"method": "naive", "steps": 2}, {"method": "OIR_W", "steps": 1}]}
    changes |= {"data": str(folder / "three.yaml")}
    return request(folder, json.dumps(SHAPES | changes), "views_models:brightness", limit=None)


def colours(folder: Path) -> JobRequest:
    coloured_place.draw(folder, per_class=3)
    (folder / "colours.yaml").write_text(coloured_place.MANIFEST)
    (folder / "near.json").write_text(json.dumps(coloured_place.HIERARCHY))
    model = f"{coloured_place.MODELS}:detectors"
    return request(folder, coloured_place.SPEC, model, trusted=coloured_place.MEMBERS, limit=None)


QUESTIONS = {
    "attacks": lambda folder: request(folder, ATTACKS),
    "proofs of attention": lambda folder: request(folder, PROVED.replace("VERIFIER", "exact")),
    "a search": lambda folder: request(folder, PROVED.replace("VERIFIER", "search")),
    "corruptions": lambda folder: request(folder, CORRUPTED),
    "regions on a network": shapes,
    "neurons and their adversarial images": colours,
}


@pytest.fixture
def stopping(monkeypatch):
    """Everything is saved at once, and the work is stopped after so many savepoints; None: never again."""
    left: list[int | None] = [None]
    save = Savepoints._save

    def save_and_stop(self, name, pack=None):
        save(self, name, pack)
        if self._folder is not None and left[0] is not None:
            left[0] -= 1
            if left[0] == 0:
                raise KeyboardInterrupt

    monkeypatch.setattr(savepoints, "EVERY_SECONDS", 0)
    monkeypatch.setattr(savepoints, "_SHARE", float("inf"))
    monkeypatch.setattr(Savepoints, "_save", save_and_stop)

    def after(count: int | None) -> None:
        left[0] = count

    return after


def answers(out: Path) -> list[bytes]:
    """The chunks, less how long a proof took."""
    return [
        re.sub(rb'"seconds":[0-9.]+', b"", content.split(b"\n", 1)[1]) for content in chunks(out).values()
    ]


def passes(out: Path) -> int:
    entries = [json.loads(line) for path in out.glob("jobs/*/times.jsonl") for line in path.open()]
    return sum(entry["images"] for entry in entries)


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_chunk_that_is_stopped_again_and_again_has_the_answer_of_one_that_never_was(
    question, tmp_path, stopping, monkeypatch
):
    folder = tmp_path / "question"
    folder.mkdir()
    asked = QUESTIONS[question](folder)
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path / "one"))
    whole = run_jobs(plan_jobs([asked]), tmp_path / "whole").path
    assert not list(whole.glob("jobs/*/unfinished"))
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path / "other"))
    parts, said, finished = tmp_path / "parts", list[str](), False
    while not finished:
        stopping(2 ** len(said))
        try:
            run_jobs(plan_jobs([asked]), parts)
            finished = True
        except InterruptedRunError as error:
            said.append(str(error))
            assert list(parts.glob("jobs/*/unfinished/*/*/*.part"))
    assert len(said) >= 2
    assert "of the chunk under way all but its last seconds is kept; the same command" in said[-1]
    assert answers(parts) == answers(whole)
    assert not list(parts.glob("jobs/*/unfinished"))


def test_what_is_kept_is_not_computed_again(tmp_path, stopping):
    asked = request(tmp_path, ATTACKS.replace("steps: 3", "steps: 30"))
    whole = run_jobs(plan_jobs([asked]), tmp_path / "whole").path
    stopping(80)
    with pytest.raises(InterruptedRunError):
        run_jobs(plan_jobs([asked]), tmp_path / "parts")
    (spent,) = (tmp_path / "parts").glob("jobs/*/unfinished/*/spent.json")
    before = json.loads(spent.read_text())["images"]
    stopping(None)
    run_jobs(plan_jobs([asked]), tmp_path / "parts")
    # The clean pass, checks and fresh passes are made anew, some images each; 80 rounds of attacks are not.
    assert before >= 80
    assert 0 <= passes(tmp_path / "parts") - passes(whole) <= before / 4


@pytest.mark.parametrize("harm", ["torn", "of another network", "a program"])
def test_what_is_damaged_is_made_anew(harm, tmp_path, stopping):
    asked = request(tmp_path, ATTACKS)
    whole = run_jobs(plan_jobs([asked]), tmp_path / "whole").path
    stopping(20)
    with pytest.raises(InterruptedRunError):
        run_jobs(plan_jobs([asked]), tmp_path / "parts")
    stopping(None)
    for path in (tmp_path / "parts").glob("jobs/*/unfinished/*/*/*.part"):
        if harm == "torn":
            path.write_bytes(path.read_bytes()[:-7])
        elif harm == "a program":
            path.write_bytes(_hashed(b"cos\nsystem\n(S'false'\ntR."))
    if harm == "of another network":
        for place in (tmp_path / "parts").glob("jobs/*/unfinished/*/*/"):
            shutil.move(place, place.with_name("0123456789abcdef"))
    run_jobs(plan_jobs([asked]), tmp_path / "parts")
    assert chunks(tmp_path / "parts") == chunks(whole)


def _hashed(content: bytes) -> bytes:
    from hashlib import sha256

    return sha256(content).digest() + content


def test_a_step_gives_what_it_gave_whatever_was_done_with_it(tmp_path, monkeypatch):
    import torch

    monkeypatch.setattr(savepoints, "EVERY_SECONDS", 0)
    first = Savepoints(tmp_path / "s")
    given = first.step("a", lambda: {"x": torch.ones(2), "words": ["b", 1, None]})
    given["x"] += 1
    first.step("b", lambda: torch.zeros(1))
    again = Savepoints(tmp_path / "s")
    for _ in range(2):
        found = again.step("a", lambda: pytest.fail("made again"))
        assert found["x"].tolist() == [1, 1]
        assert found["words"] == ["b", 1, None]
        found["x"] += 1
        again = Savepoints(tmp_path / "s")


def test_nothing_is_written_for_work_of_less_than_some_seconds(tmp_path):
    asked = request(tmp_path, CORRUPTED)
    seen = []
    out = run_jobs(plan_jobs([asked]), tmp_path / "o").path
    seen += out.glob("jobs/*/unfinished")
    assert seen == []
