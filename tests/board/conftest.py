"""A small leaderboard of real submissions: nets on the digits, as contributors and maintainers make it."""

import shutil

import pytest
from board_place import MODELS, SPEC, TASK, Place, make_place, use_specs

from assay.runner.jobs import JobRequest


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
    with pytest.MonkeyPatch.context() as patch:
        use_specs(patch, benchmarks)
        requests = {name: JobRequest(model, TASK, batch_size=256) for name, model in MODELS.items()}
        return make_place(tmp_path_factory.mktemp("place"), requests)


@pytest.fixture
def place(pristine, tmp_path):
    """A copy that a test may spoil."""
    shutil.copytree(pristine.board, tmp_path / "leaderboard")
    return Place(tmp_path / "leaderboard", pristine.run, pristine.metadata)
