"""One writer a folder; a dead one does not block it."""

import errno
import json
import os
import socket
import subprocess
import sys
import textwrap

import pytest
from filelock import FileLock

from assay.common.errors import UserError
from assay.runner.lock import exclusive, owner_of

HOLDER = textwrap.dedent(
    """
    import sys, time
    from pathlib import Path
    from assay.runner.lock import exclusive
    with exclusive(Path(sys.argv[1])):
        print("held", flush=True)
        time.sleep(60)
    """
)


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of `tmp_path`."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_the_second_writer_is_told_who_the_first_is(tmp_path, holder):
    with (
        pytest.raises(UserError, match=f"process {holder.pid} on {socket.gethostname()} is writing here"),
        exclusive(tmp_path),
    ):
        pass
    assert owner_of(tmp_path).is_alive()


def test_the_lock_of_a_killed_process_is_taken_over_and_said(tmp_path, holder):
    holder.kill()
    holder.wait()
    assert not owner_of(tmp_path).is_alive()
    said = []
    with exclusive(tmp_path, said.append):
        assert owner_of(tmp_path).pid == os.getpid()
    assert f"process {holder.pid} died here" in said[0]
    assert not list(tmp_path.iterdir())


def test_a_number_given_to_a_new_process_does_not_block(tmp_path):
    (tmp_path / "lock").write_text(
        json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "started": 12.5})
    )
    with exclusive(tmp_path):
        assert owner_of(tmp_path).is_alive()


def test_another_host_s_lock_is_left_alone(tmp_path):
    text = json.dumps({"pid": 1, "host": "elsewhere", "started": 1.0})
    (tmp_path / "lock").write_text(text)
    with (
        pytest.raises(UserError, match=r"process 1 on elsewhere is writing here.*delete"),
        exclusive(tmp_path),
    ):
        pass
    assert (tmp_path / "lock").read_text() == text


def test_a_living_process_that_holds_no_lock_of_ours_is_believed(tmp_path, holder):
    """An older Assay locks the file with the name itself: the two versions do not write into one folder."""
    (tmp_path / "lock.held").unlink()
    with pytest.raises(UserError, match=f"process {holder.pid} on"), exclusive(tmp_path):
        pass
    assert owner_of(tmp_path).is_alive()


def test_one_process_locks_a_folder_once(tmp_path):
    with (
        exclusive(tmp_path),
        pytest.raises(UserError, match=f"process {os.getpid()} on"),
        exclusive(tmp_path),
    ):
        pass


def test_a_lock_that_was_never_filled_does_not_block(tmp_path):
    (tmp_path / "lock").write_text("")
    with exclusive(tmp_path):
        assert owner_of(tmp_path).pid == os.getpid()


@pytest.mark.parametrize(
    ("module", "call", "number", "complaint"),
    [
        (os, "fsync", errno.ENOSPC, "the disk is full; what was stored before is whole"),
        (os, "open", errno.EACCES, r"cannot be written \(Permission denied\); choose a folder"),
        (FileLock, "acquire", errno.ENOLCK, r"cannot be locked \(No locks available\); choose an --out"),
    ],
)
def test_a_lock_that_cannot_be_taken_is_a_sentence(tmp_path, monkeypatch, module, call, number, complaint):
    def fail(*_arguments):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as broken:
        broken.setattr(module, call, fail)
        with pytest.raises(UserError, match=complaint), exclusive(tmp_path):
            pass
    with exclusive(tmp_path):
        assert owner_of(tmp_path).is_alive()


def test_an_error_inside_frees_the_lock(tmp_path):
    with pytest.raises(RuntimeError), exclusive(tmp_path):
        raise RuntimeError
    with exclusive(tmp_path):
        pass
