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


def bodies(chunks):
    """The records' lines of each chunk, without the header that names the job."""
    return [content.split(b"\n", 2)[2] for _, content in sorted(chunks.items())]


@pytest.fixture
def spoilt(tmp_path, monkeypatch):
    """A model whose first passes go wrong as the test says: gives a function from (what, how often) to its name."""

    def make(what: str, times: int) -> str:
        (tmp_path / "marks").mkdir()
        (tmp_path / "spoilt_model.py").write_text(
            "import os, pathlib, signal, time\n"
            "import digits_models\n"
            "from torch import nn\n"
            "MARKS = pathlib.Path(__file__).parent / 'marks'\n"
            "class Spoilt(type(digits_models.linear_net())):\n"
            "    def forward(self, images):\n"
            "        # The probe's two images come before any work; both passes of a chunk are larger than one image.\n"
            "        if len(images) == 2 or len(list(MARKS.iterdir())) >= %d:\n"
            "            return super().forward(images)\n"
            "        (MARKS / str(time.monotonic_ns())).touch()\n"
            "        %s\n"
            "        return super().forward(images)\n"
            "def net():\n"
            "    net = digits_models.linear_net()\n"
            "    net.__class__ = Spoilt\n"
            "    return net, digits_models.DESCRIPTION\n" % (times, what)
        )
        monkeypatch.syspath_prepend(tmp_path)
        return "spoilt_model:net"

    return make
