"""The small job's spec, and its answers when nothing disturbs it."""

import pytest
from small_jobs import answers, request, run, write_spec


@pytest.fixture
def task(tmp_path):
    """The path of the small job's spec."""
    return write_spec(tmp_path)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    """The answers of the small job, run here without a break; its spec lies where no other test writes."""
    folder = tmp_path_factory.mktemp("undisturbed")
    run([request(write_spec(folder))], folder / "o")
    return {name: content for name, content in answers(folder / "o").items() if "/chunks/" in name}


def chunks_of(out):
    """The chunk files of a run."""
    return {name: content for name, content in answers(out).items() if "/chunks/" in name}
