"""The small job's spec, and its answers when nothing disturbs it."""

import sys

import pytest

from small_jobs import chunks, request, run, write_spec


@pytest.fixture
def task(tmp_path):
    """The path of the small job's spec."""
    return write_spec(tmp_path)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    """The answers of the small job, run here without a break; its spec lies where no other test writes."""
    folder = tmp_path_factory.mktemp("undisturbed")
    run([request(write_spec(folder))], folder / "o")
    return chunks(folder / "o")


SPOILT = """
import os, pathlib, signal, time, traceback
import digits_models
MARKS = pathlib.Path(__file__).parent / "marks"

class Spoilt(type(digits_models.linear_net())):
    def forward(self, images):
        # Not in the passes that look at the network before any work; nor once it was often enough.
        looked_at = any(frame.name in ("assemble", "probe") for frame in traceback.extract_stack())
        if not looked_at and len(list(MARKS.iterdir())) < TIMES:
            (MARKS / str(time.monotonic_ns())).touch()
            WHAT
        return super().forward(images)

def net():
    net = digits_models.linear_net()
    net.__class__ = Spoilt
    return net, digits_models.DESCRIPTION
"""


@pytest.fixture
def spoilt(tmp_path, monkeypatch):
    """A model whose first passes go wrong as the test says: gives a function from (what, how often) to its name."""

    def make(what: str, times: int) -> str:
        (tmp_path / "marks").mkdir()
        (tmp_path / "spoilt_model.py").write_text(SPOILT.replace("TIMES", str(times)).replace("WHAT", what))
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "spoilt_model", raising=False)  # another test's has other code
        return "spoilt_model:net"

    return make
