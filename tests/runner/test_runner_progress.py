"""What a user sees while a run is under way."""

import io

import pytest
from rich.console import Console

from assay.runner.progress import Line, Plain, Silent, Terminal, display, duration
from assay.runner.run import Runtime
from small_jobs import request, run


def test_a_line_has_units_rate_time_to_go_and_failures(monkeypatch):
    monkeypatch.setattr("time.monotonic", lambda: 110.0)
    line = Line("m · t", 20, done=5.0, failed=1, started=100.0)
    assert line.text() == "m · t: 5/20 units, 2 s per unit, 10 s, 30 s to go, 1 failed"
    line.done, line.stored = 20.0, 20
    assert line.text() == "m · t: 20/20 units, 2 units/s, 10 s, 1 failed"


def test_nothing_done_yet_has_no_time_to_go(monkeypatch):
    monkeypatch.setattr("time.monotonic", lambda: 110.0)
    assert Line("m", 2, started=100.0).text() == "m: 0/2 units, 10 s"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0 s"), (59.7, "1 min 0 s"), (200, "3 min 20 s"), (18_720, "5 h 12 min")]
)
def test_durations_are_for_readers(seconds, text):
    assert duration(seconds) == text


def test_off_a_terminal_a_job_ends_with_one_line(tmp_path, task, capsys):
    run([request(task)], tmp_path / "o", Runtime(display=Plain()))
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("digits_models:linear · t: 60/60 units, ")


def test_on_a_terminal_finished_jobs_stay_above(tmp_path, task):
    screen = io.StringIO()
    shown = Terminal(Console(file=screen, force_terminal=True, width=120))
    run([request(task)], tmp_path / "o", Runtime(display=shown))
    assert "digits_models:linear · t: 60/60 units" in screen.getvalue()


def test_quiet_is_quiet(tmp_path, task, capsys):
    run([request(task)], tmp_path / "o", Runtime(display=display(quiet=True)))
    assert capsys.readouterr() == ("", "")
    assert isinstance(display(quiet=True), Silent)
