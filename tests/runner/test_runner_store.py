"""A chunk comes back as it was written, or is found broken: never anything between."""

import hashlib
import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.common.errors import UserError
from assay.runner.files import append_line
from assay.runner.job_store import BrokenChunkError, JobStore
from assay.runner.store import RunFolder
from assay.tasks.base import Record

KEY = "ab" * 32
RECORDS = (
    Record("a", {"x": 0.1, "text": "line\u2028separator\nand 7"}),
    Record("b", error="ValueError: no"),
    Record("c", {"list": [1, None, True]}, files={"maps/c.bin": b"\0\1"}),
)


@pytest.fixture
def store(tmp_path):
    job = JobStore(tmp_path, KEY)
    job.write_chunk(3, RECORDS)
    return job


def test_records_come_back_equal(store):
    found = store.read_chunk(3)
    assert [(record.unit_id, dict(record.values), record.error) for record in found] == [
        (record.unit_id, dict(record.values), record.error) for record in RECORDS
    ]
    assert store.read_chunk(2) is None


def test_the_header_says_what_a_resume_must_know(store):
    header = store.check_chunk(3, ["a", "b", "c"])
    assert (header.records, header.errors, header.files) == (3, 1, True)
    assert store.stored_chunks() == {3}


def test_every_truncation_is_found(store):
    path = store.chunk_path(3)
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(BrokenChunkError):
            store.read_chunk(3)


@settings(max_examples=200)
@given(position=st.integers(min_value=0), bit=st.integers(0, 7))
def test_every_flipped_bit_is_found(tmp_path_factory, position, bit):
    store = JobStore(tmp_path_factory.mktemp("flip"), KEY)
    store.write_chunk(0, RECORDS)
    path = store.chunk_path(0)
    content = bytearray(path.read_bytes())
    content[position % len(content)] ^= 1 << bit
    path.write_bytes(content)
    with pytest.raises(BrokenChunkError):
        store.read_chunk(0)


def test_a_chunk_of_other_units_job_or_place_is_refused(store, tmp_path):
    with pytest.raises(BrokenChunkError, match="other units"):
        store.check_chunk(3, ["a", "c", "b"])
    with pytest.raises(BrokenChunkError, match="another job"):
        JobStore(tmp_path, "cd" * 32).check_chunk(3)
    store.chunk_path(3).rename(store.chunk_path(4))
    with pytest.raises(BrokenChunkError, match="another job or place"):
        store.read_chunk(4)


@pytest.mark.parametrize("harm", ["alter", "remove"])
def test_a_record_s_file_is_checked_with_it(store, harm):
    path = store.file_path("maps/c.bin")
    path.write_bytes(b"\0\2") if harm == "alter" else path.unlink()
    with pytest.raises(BrokenChunkError, match=r"maps/c\.bin is missing or altered"):
        store.check_chunk(3)


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x"])
def test_a_record_s_file_stays_in_its_folder(store, name):
    with pytest.raises(ValueError, match="relative name"):
        store.file_path(name)


def test_a_chunk_can_be_a_folder_by_mischief(store):
    store.chunk_path(5).mkdir()
    with pytest.raises(BrokenChunkError, match="cannot be read"):
        store.check_chunk(5)


def test_the_newest_times_of_a_chunk_count_and_torn_ones_do_not(store):
    for chunk, seconds in ((1, 5), (0, 1), (1, 2)):
        append_line(
            store.times_path, {"chunk": chunk, "wall_seconds": seconds, "cpu_seconds": 1.0, "halved": None}
        )
    with (store.path / "times.jsonl").open("ab") as file:
        file.write(b'{"chunk": 9, "wa')
    assert [entry["wall_seconds"] for entry in store.read_times()] == [1, 2]


@pytest.mark.parametrize(
    "wrong",
    [
        {"wall_seconds": 10**400}, {"wall_seconds": float("inf")}, {"cpu_seconds": float("nan")}, {"chunk": True},
        {"waiting_seconds": "1"}, {"waiting_seconds": None}, {"peak_bytes": 2**60}, {"units": [1]}, {"device": ["cpu"]},
    ],
)  # fmt: skip
def test_times_that_no_run_writes_count_as_none(store, wrong):
    right = {"chunk": 0, "wall_seconds": 1, "cpu_seconds": 1.0, "device": "cpu"}
    append_line(store.times_path, right)
    append_line(store.times_path, right | {"chunk": 1} | wrong)
    assert store.read_times() == [right]


def test_sweeping_leaves_only_what_is_whole(store):
    (store.path / "chunks" / ".000004.jsonl.12.tmp").write_text("half")
    store.sweep()
    assert [path.name for path in (store.path / "chunks").iterdir()] == ["000003.jsonl"]


@pytest.mark.parametrize(
    "marker", ['{"kind": "assay-run", "schema": 99}', "[]", "", '{"kind": "other", "schema": 1}']
)
def test_a_run_of_another_version_is_refused_untouched(tmp_path, marker):
    (tmp_path / "run.json").write_text(marker)
    with pytest.raises(UserError, match="this Assay reads runs of schema 1"):
        RunFolder(tmp_path)
    assert (tmp_path / "run.json").read_text() == marker


def test_what_is_no_run_is_refused_untouched(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(UserError, match="is not a run of Assay"):
        RunFolder(tmp_path)
    with pytest.raises(UserError, match="is not a run of Assay"):
        RunFolder.existing(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def _link(path):
    path.symlink_to("/etc/hostname")


def _link_to_a_folder(path):
    path.symlink_to("/etc")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has neither pipes nor links for everybody")
@pytest.mark.parametrize("harm", [_link, _link_to_a_folder, os.mkfifo if hasattr(os, "mkfifo") else None])
@pytest.mark.parametrize("name", ["results", "results/net", f"jobs/{KEY[:24]}/files/a.png", "jobs/x"])
def test_a_run_that_leads_elsewhere_or_never_ends_is_refused_unread(tmp_path, harm, name):
    """Reading a pipe waits for ever, and what a link leads to is not what was sent."""
    RunFolder(tmp_path)
    assert RunFolder.existing(tmp_path).path == tmp_path
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    harm(tmp_path / name)
    with pytest.raises(UserError, match="is a link or a special file") as caught:
        RunFolder.existing(tmp_path)
    assert name in str(caught.value)


def test_the_index_keeps_one_job_a_name(tmp_path):
    folder = RunFolder(tmp_path / "o")
    one, two, three = (digit * 64 for digit in "123")
    folder.point([("m", "t", one), ("a", "t", two)])
    folder.point([("m", "t", three)])
    assert [(entry["model"], entry["key"]) for entry in folder.index()] == [("a", two), ("m", three)]
    lone_surrogate = {"model": "m", "task": "\ud800", "key": one}
    for damaged in ({"m": 1}, [lone_surrogate]):
        (tmp_path / "o" / "index.json").write_text(json.dumps(damaged))
        with pytest.raises(UserError, match="is damaged"):
            folder.index()


def test_a_run_killed_before_its_first_file_was_named_can_be_begun_again(tmp_path):
    (tmp_path / ".run.json.4711.tmp").write_text('{"ki')
    RunFolder(tmp_path)
    assert RunFolder.existing(tmp_path).index() == []


def test_an_error_that_no_text_can_hold_is_a_broken_chunk(tmp_path):
    store = JobStore(tmp_path, "a" * 64)
    store.write_chunk(0, [Record("x", error="lost")])
    path = store.chunk_path(0)
    _, _, rest = path.read_bytes().partition(b"\n")
    rest = rest.replace(b'"lost"', b'"\\ud800"')
    path.write_bytes(b'{"sha256":"%s"}\n' % hashlib.sha256(rest).hexdigest().encode() + rest)
    with pytest.raises(BrokenChunkError, match="not of this version"):
        store.read_chunk(0)
