"""Files appear whole or not at all; a log survives a torn line."""

import errno
import os
import resource
from pathlib import Path

import pytest

from assay.common.errors import UserError
from assay.runner.files import append_line, path_name, read_lines, write_atomically


def test_the_older_file_survives_a_failure_before_the_rename(tmp_path, monkeypatch):
    path = tmp_path / "a"
    write_atomically(path, "old")

    def fail(self, target):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(UserError, match="cannot be written"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_said_to_be_full(tmp_path, monkeypatch):
    def full(_descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="the disk is full; what was stored before is whole"):
        write_atomically(tmp_path / "a", "text")
    assert list(tmp_path.iterdir()) == []


def test_a_line_after_a_torn_one_is_read(tmp_path):
    log = tmp_path / "log"
    append_line(log, {"n": 1})
    with log.open("ab") as file:
        file.write(b'{"n": 2, "te')
    append_line(log, {"n": 3})
    assert [entry["n"] for entry in read_lines(log)] == [1, 3]


def test_a_line_of_which_only_a_part_fits_is_an_error_and_the_next_one_is_read(tmp_path):
    """The system writes the part that fits and says nothing: the limit here is a real one."""
    log = tmp_path / "log"
    append_line(log, {"n": 1})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (log.stat().st_size + 5, hard))
    try:
        with pytest.raises(UserError, match="cannot be written"):
            append_line(log, {"n": 2})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    append_line(log, {"n": 3})
    assert [entry["n"] for entry in read_lines(log)] == [1, 3]


def test_a_missing_log_is_empty(tmp_path):
    assert list(read_lines(tmp_path / "none")) == []


@pytest.mark.parametrize("name", ["../../etc", "a/../b", "/root", "x\0y", "a:b", "..", ".", "ok/name-1.0"])
def test_a_name_never_leaves_its_folder(name):
    parts = Path(path_name(name)).parts
    assert ".." not in parts
    assert not Path(path_name(name)).is_absolute() or name == "/root"
    assert path_name("ok/name-1.0") == "ok/name-1.0"
