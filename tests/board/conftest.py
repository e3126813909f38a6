"""A small leaderboard of real submissions: nets on the digits, as contributors and maintainers make it."""

import shutil

import pytest
from board_place import METADATA, MODELS, RANK_BY, SPEC, TASK, Place, use_specs

from assay.board.submissions.build import SubmitRequest, build_submissions
from assay.board.submissions.register import admit
from assay.runner.jobs import JobRequest
from assay.runner.plan import plan_jobs
from assay.runner.run import run_jobs


@pytest.fixture(scope="session")
def benchmarks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmarks")
    (folder / "adversarial").mkdir()
    (folder / f"{TASK}.yaml").write_text(SPEC)
    return folder


@pytest.fixture(autouse=True)
def _shipped_tasks(benchmarks, monkeypatch):
    use_specs(monkeypatch, benchmarks)


@pytest.fixture(scope="session")
def pristine(tmp_path_factory, benchmarks):
    """The leaderboard as honest contributors leave it: never changed by a test."""
    root = tmp_path_factory.mktemp("place")
    (root / "about.yaml").write_text(METADATA)
    place = Place(root / "leaderboard", root / "run", root / "about.yaml")
    with pytest.MonkeyPatch.context() as patch:
        use_specs(patch, benchmarks)
        run_jobs(plan_jobs([JobRequest(model, TASK, batch_size=256) for model in MODELS.values()]), place.run)
        admit(place.board, TASK, RANK_BY, "higher", ())
        for name, model in MODELS.items():
            request = SubmitRequest(place.run, place.metadata, model, name)
            build_submissions(request, place.board)
    return place


@pytest.fixture
def place(pristine, tmp_path):
    """A copy that a test may spoil."""
    shutil.copytree(pristine.board, tmp_path / "leaderboard")
    return Place(tmp_path / "leaderboard", pristine.run, pristine.metadata)
