"""Pictures are decoded while a network computes: the same bytes, the same errors, in bounded memory."""

import threading
from dataclasses import dataclass, field

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from assay.common.errors import UserError
from assay.data.dataset import Dataset, ImageError
from assay.runner.assemble import stored_jobs
from assay.runner.chunks import ChunkTask
from assay.runner.executors import InProcess
from assay.runner.plan import plan_jobs
from assay.runner.pool import LocalPool, _Workforce
from assay.runner.run import Runtime
from assay.runner.worker import Limits, Worker
from assay.tasks.shared.clock import CudaClock, HostClock, clock_of
from assay.tasks.shared.loading import Loader, Prefetcher
from small_jobs import bodies, chunks, request, run

PATIENCE_SECONDS = 60


@dataclass(frozen=True)
class Numbered:
    """A picture that holds its number, and cannot be loaded where that is negative."""

    key: int
    loaded: list = field(default_factory=list, compare=False)

    def load(self):
        self.loaded.append(self.key)
        if self.key < 0:
            raise UserError(f"picture {self.key}")
        return torch.tensor([float(self.key)])


@pytest.fixture
def prefetcher():
    made = Prefetcher(most=3)
    yield made
    made.close()


numbers = st.lists(st.integers(0, 9), max_size=12)


@given(expected=st.lists(numbers, max_size=4), taken=numbers)
def test_what_is_taken_is_what_was_asked_for_whatever_was_expected(expected, taken):
    prefetcher = Prefetcher(most=3)
    for group in [*expected, []] if len(expected) % 2 else expected:
        prefetcher.expect(map(Numbered, group))
    assert [prefetcher.take(Numbered(n)).item() for n in taken] == taken
    prefetcher.close()


def test_an_error_is_raised_where_its_picture_is_taken(prefetcher):
    prefetcher.expect(map(Numbered, [1, -2, 3]))
    assert prefetcher.take(Numbered(1)).item() == 1
    with pytest.raises(UserError, match="picture -2"):
        prefetcher.take(Numbered(-2))
    assert prefetcher.take(Numbered(3)).item() == 3


def test_no_more_wait_than_is_said(prefetcher):
    """Ten are expected, three may wait: a fourth is begun only when one is taken."""
    loaded = []
    prefetcher.expect(Numbered(n, loaded) for n in range(10))
    assert prefetcher.take(Numbered(0, loaded)).item() == 0
    prefetcher._pool.shutdown()  # once all that was handed to the threads is done
    assert sorted(loaded) == [0, 1, 2, 3]


def test_threads_begin_with_the_first_picture_that_is_expected(prefetcher):
    prefetcher.expect(())
    assert prefetcher.take(Numbered(1)).item() == 1
    assert prefetcher._pool is None


def test_what_is_no_longer_expected_is_let_go(prefetcher):
    prefetcher.expect(map(Numbered, [1, 2]))
    prefetcher.expect(map(Numbered, [2, 3]))
    assert set(prefetcher._begun) == {2, 3}


PLANTED = """
import pathlib, time
import digits_models
from assay.data.dataset import Dataset
MARKS = pathlib.Path(__file__).parent / "marks"
MARKS.mkdir(exist_ok=True)
CHUNK, LAST = 10, 60

def image(self, sample, plain=Dataset.image):
    (MARKS / sample.unit_id).touch()
    return plain(self, sample)

Dataset.image = image

class Waits(type(digits_models.linear_net())):
    def forward(self, images):
        # The first chunk's pictures were read: the network goes on only when those of another chunk are, too.
        until = time.monotonic() + PATIENCE
        while len(images) == CHUNK and len(list(MARKS.iterdir())) <= CHUNK:
            if time.monotonic() > until:
                raise RuntimeError("nothing is decoded while the network computes")
            time.sleep(0.01)
        return super().forward(images)

def net():
    net = digits_models.linear_net()
    net.__class__ = Waits
    return net, digits_models.DESCRIPTION
"""


@pytest.mark.parametrize("executor", [InProcess(), LocalPool(("cpu",))], ids=["here", "pool"])
def test_the_next_chunk_is_decoded_while_the_network_computes(
    tmp_path, task, undisturbed, monkeypatch, executor
):
    """The planted network stops in its first chunk until a picture of the second is decoded."""
    monkeypatch.setattr(Dataset, "image", Dataset.image)  # taken back afterwards
    (tmp_path / "waiting_model.py").write_text(PLANTED.replace("PATIENCE", str(PATIENCE_SECONDS)))
    monkeypatch.syspath_prepend(tmp_path)
    out = tmp_path / "o"
    run([request(task, model="waiting_model:net")], out, Runtime(executor))
    assert bodies(chunks(out)) == bodies(undisturbed)


def test_a_run_that_loads_nothing_ahead_gives_the_same_bytes(tmp_path, task, undisturbed, monkeypatch):
    monkeypatch.setattr(Prefetcher, "expect", lambda *_: None)
    run([request(task)], tmp_path / "o")
    assert chunks(tmp_path / "o") == undisturbed


def unit_at(task, position):
    """The id of one unit of the small job, ten of which make a chunk."""
    return plan_jobs([request(task)])[0].question.units[position].id


def test_a_picture_that_cannot_be_decoded_is_its_own_unit_s_error(tmp_path, task, undisturbed, monkeypatch):
    bad = unit_at(task, 15)
    plain = Dataset.image

    def image(self, sample):
        if sample.unit_id == bad:
            raise ImageError("planted")
        return plain(self, sample)

    monkeypatch.setattr(Dataset, "image", image)
    folder = run([request(task)], tmp_path / "o")
    (job,) = stored_jobs(folder)
    failed = [record for record in job.records() if record.error]
    assert [record.unit_id for record in failed] == [bad]
    assert failed[0].error.endswith("planted")
    found, whole = bodies(chunks(tmp_path / "o")), bodies(undisturbed)
    assert found[:1] + found[2:] == whole[:1] + whole[2:]


def test_a_decoder_that_hangs_is_ended_by_the_time_out(tmp_path, task, undisturbed, monkeypatch):
    """In the loader's thread, for a chunk that another one waits for."""
    (tmp_path / "hanging_model.py").write_text(
        PLANTED.split("class Waits")[0].replace(
            "(MARKS / sample.unit_id).touch()",
            f"if sample.unit_id == '{unit_at(task, 25)}' and not (MARKS / 'hung').exists():\n"
            "        (MARKS / 'hung').touch()\n"
            "        time.sleep(1000)",
        )
        + "def net():\n    return digits_models.linear_net(), digits_models.DESCRIPTION\n"
    )
    monkeypatch.setattr(Dataset, "image", Dataset.image)
    monkeypatch.syspath_prepend(tmp_path)
    out = tmp_path / "o"
    run(
        [request(task, model="hanging_model:net")], out, Runtime(LocalPool(("cpu",), Limits(chunk_seconds=3)))
    )
    assert bodies(chunks(out)) == bodies(undisturbed)
    assert "took longer than 3 s" in (out / "events.jsonl").read_text()


def test_no_loading_thread_outlives_a_run(tmp_path, task):
    class Stops(InProcess):
        def run(self, tasks, watch):
            results = super().run(tasks, watch)
            yield next(results)
            results.close()
            raise KeyboardInterrupt

    with pytest.raises(Exception, match="the same command goes on"):
        run([request(task)], tmp_path / "o", Runtime(Stops()))
    for thread in threading.enumerate():
        if thread.name.startswith("assay-loader"):
            thread.join(PATIENCE_SECONDS)
            assert not thread.is_alive()


@given(turns=st.lists(st.integers(0, 2), max_size=40), count=st.integers(0, 12))
def test_every_chunk_is_dealt_once_and_as_promised_while_there_are_more(turns, count):
    """Whichever worker is free when: a promise is broken only when nobody is left without work to promise."""
    workers = [Worker("cpu") for _ in range(3)]
    tasks = [ChunkTask(request("t"), "key", number, ("u",)) for number in range(count)]
    shift = _Workforce(workers, tasks, Limits())
    dealt, promised = [], {}
    for turn in [*turns, *[0] * count]:
        task = shift._next(workers[turn])
        if task is None:
            assert len(dealt) == count
            continue
        if turn in promised:
            assert (task.chunk,) == promised.pop(turn) or len(dealt) + len(promised) + 1 >= count
        dealt.append(task.chunk)
        if task.ahead:
            promised[turn] = task.ahead
    assert sorted(dealt) == list(range(count))


def test_a_chunk_is_told_of_no_other_job_s():
    first, other = (ChunkTask(request("t"), key, 0, ("u",)) for key in ("a", "b"))
    assert first.before(other).ahead == ()
    assert first.before(None).ahead == ()
    assert [unit.ahead for unit in first.before(first).alone()] == [()]


class Ticks:
    """A clock on which every mark is one second after the last."""

    def __init__(self):
        self.now = 0

    def mark(self):
        self.now += 1
        return self.now

    def seconds(self, start, end):
        return float(end - start)


def test_a_loader_notes_what_was_waited_for():
    loader = Loader(Prefetcher(), Ticks())
    assert loader.waited_seconds() == 0
    for _ in range(3):
        assert loader.batch([Numbered(4), Numbered(2)], "cpu").tolist() == [[4.0], [2.0]]
    assert loader.waited_seconds() == 3


def test_a_gpu_s_clock_reads_its_own_queue(monkeypatch):
    """The marks are events on the device's stream, in milliseconds, read once the later one has passed."""

    class Event:
        passed = 0

        def __init__(self, enable_timing):
            assert enable_timing

        def record(self, stream):
            assert stream == "stream of cuda:1"
            Event.passed += 250
            self.at, self.read = Event.passed, False

        def synchronize(self):
            self.read = True

        def elapsed_time(self, end):
            assert end.read
            return float(end.at - self.at)

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: f"stream of {device}")
    clock = clock_of("cuda:1")
    assert isinstance(clock, CudaClock)
    assert isinstance(clock_of("cpu"), HostClock)
    start = clock.mark()
    clock.mark()
    assert clock.seconds(start, clock.mark()) == 0.5
