"""A small leaderboard of real submissions: nets on the digits, as contributors and maintainers make it."""

import shutil

import pytest
from board_place import MODELS, SPEC, TASK, Place, make_place, use_specs
from sent_images import run_of_first_attacks
from sent_runs import saved_run, write_task

from assay.board.submissions import images
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


@pytest.fixture(scope="session")
def saving_task(tmp_path_factory):
    """The task of ``sent_runs`` and its data; a module makes it the shipped one as its ``benchmarks``."""
    return write_task(tmp_path_factory.mktemp("specs"))


@pytest.fixture(scope="module")
def saved_data(saving_task):
    """Let the data of that task be found."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ASSAY_DATA", str(saving_task))
        yield


@pytest.fixture(scope="session")
def honest_run(tmp_path_factory, saving_task):
    """A run of that task on a network of the zoo, whose adversarial images were saved: never changed by a test."""
    with pytest.MonkeyPatch.context() as patch:
        use_specs(patch, saving_task)
        patch.setenv("ASSAY_DATA", str(saving_task))
        return saved_run(tmp_path_factory.mktemp("honest") / "run")


@pytest.fixture(scope="session")
def told(honest_run, tmp_path_factory):
    """That run as if its later attacks had found no more than the first: never changed by a test."""
    return run_of_first_attacks(honest_run, tmp_path_factory.mktemp("told") / "run")


@pytest.fixture
def looked_at_here(monkeypatch):
    """Let images that somebody sent be looked at in this process; a process of its own takes seconds."""
    monkeypatch.setattr(images, "elsewhere", lambda look, sent: look(sent))
