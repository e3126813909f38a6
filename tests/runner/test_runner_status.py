"""The state of a run as another shell sees it."""

import json
import os
import socket

import pytest

from assay.cli import main
from assay.common.errors import UserError
from assay.runner.events import EventLog
from assay.runner.executors import InProcess
from assay.runner.files import append_line
from assay.runner.lock import exclusive
from assay.runner.run import InterruptedRunError, Runtime
from assay.runner.status import run_status, status_text
from small_jobs import Stops, request, run


@pytest.fixture
def out(tmp_path, task):
    """A run that ended by itself."""
    run([request(task)], tmp_path / "o")
    return tmp_path / "o"


def test_a_finished_run(out):
    status = run_status(out)
    assert (status.state, status.jobs[0].stored, status.jobs[0].chunks) == ("finished", 6, 6)
    assert "6/6" in status_text(status)
    assert json.dumps(status.as_dict())


@pytest.mark.parametrize(
    ("error", "state"), [(KeyboardInterrupt, "stopped"), (UserError("the disk is full"), "failed")]
)
def test_a_run_that_ended_early(tmp_path, task, error, state):
    out = tmp_path / "o"
    with pytest.raises((InterruptedRunError, UserError)):
        run([request(task)], out, Runtime(executor=Stops(InProcess(), 2, error)))
    status = run_status(out)
    assert (status.state, status.jobs[0].stored) == (state, 2)
    assert "the same command goes on from there" in status_text(status)


def test_a_running_run_has_a_rate_and_a_time_to_go(tmp_path, task):
    seen = []

    class Looks(InProcess):
        def run(self, tasks, watch):
            for count, result in enumerate(super().run(tasks, watch)):
                if count == 5:
                    seen.append(run_status(tmp_path / "o"))
                yield result

    run([request(task)], tmp_path / "o", Runtime(executor=Looks()))
    (status,) = seen
    assert (status.state, status.owner.pid) == ("running", os.getpid())
    if status.units_a_second is not None:  # the writer may not have come to the first chunk yet
        assert status.seconds_to_go >= 0
    assert f"process {os.getpid()}" in status_text(status)


@pytest.mark.parametrize("before", ["nothing", "a finished run", "a killed run"])
def test_a_run_that_still_looks_at_what_is_stored_has_no_rate_of_an_earlier_one(out, before):
    log = out / "events.jsonl"
    if before == "nothing":
        log.unlink()
    if before == "a killed run":
        append_line(log, {"time": 1.0, "event": "run_started", "pid": 1, "units": 60})
        append_line(
            log, {"time": 2.0, "event": "chunk_stored", "job": "j", "chunk": 0, "units": 10, "errors": 0}
        )
    with exclusive(out):
        status = run_status(out)
    assert (status.state, status.units_a_second, status.seconds_to_go) == ("running", None, None)
    assert status_text(status).splitlines()[-1].startswith(f"running (process {os.getpid()}")


@pytest.mark.parametrize(("host", "state"), [(socket.gethostname(), "dead"), ("elsewhere", "held")])
def test_a_run_whose_owner_is_gone_or_out_of_sight(out, host, state):
    (out / "lock").write_text(json.dumps({"pid": os.getpid(), "host": host, "started": 1.0}))
    assert run_status(out).state == state
    assert (out / "lock").exists()


def test_a_killed_run_without_a_lock_is_dead(out):
    log = EventLog(out)
    log.write("run_started", pid=1, units=3)
    log.close()
    assert run_status(out).state == "dead"


def test_what_is_no_run_has_no_status(tmp_path):
    with pytest.raises(UserError, match="is not a run of Assay"):
        run_status(tmp_path)


def test_the_event_log_is_lines_of_json_with_time_and_event(out):
    lines = [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]
    assert [line["event"] for line in lines] == ["run_started", *["chunk_stored"] * 6, "run_finished"]
    assert all(isinstance(line["time"], float) for line in lines)
    assert not any("host" in line for line in lines)


@pytest.mark.parametrize(
    "line",
    [
        {"time": 2.0, "event": "chunk_stored", "chunk": 0, "units": 10, "errors": 0},
        {"time": 2.0, "event": "chunk_stored", "job": 1, "chunk": 0, "units": 10, "errors": 0},
        {"time": 2.0, "event": "chunk_stored", "job": "j", "chunk": 0, "units": 10, "errors": True},
        {"time": float("inf"), "event": "run_stopped"},
        {"time": 10**400, "event": "run_stopped"},
        {"event": "run_stopped"},
        {"time": 2.0, "event": "run_started", "units": 60},
    ],
)
def test_a_line_of_the_log_that_is_no_event_is_passed_over(out, line):
    before = run_status(out)
    append_line(out / "events.jsonl", line)
    assert (run_status(out).state, run_status(out).jobs) == (before.state, before.jobs)
    status_text(run_status(out))


def test_a_host_s_name_that_no_terminal_can_show_is_printed_escaped(out, capsys):
    (out / "lock").write_text(json.dumps({"pid": 1, "host": "\ud800", "started": 1.0}))
    with pytest.raises(SystemExit) as caught:
        main(["status", str(out)])
    assert (caught.value.code, r"\ud800" in capsys.readouterr().out) == (0, True)
