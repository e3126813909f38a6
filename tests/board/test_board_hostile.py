"""Hostile files: text, names, numbers, sizes and shapes that the reader refuses, each with a sentence that says why."""

import gzip
import json
import os
import pickle
import zlib

import pytest
import yaml
from board_place import RECORDS, RESULT, TASK, as_before, edit_result, lines, put_lines, refused, rewrite
from hypothesis import given
from hypothesis import strategies as st

from assay.board.submissions import reader
from assay.board.submissions.text import fault_of_name, fault_of_text, skeleton

EVIL = [
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "a &lt;b&gt; c", "JavaScript:alert(1)",
    "data:text/html,x", "evil\u202egnp", "zero\u200bwidth", "bell\u0007", "delete\u007f",
]  # fmt: skip


@pytest.mark.parametrize("evil", EVIL)
@pytest.mark.parametrize("field", ["source", "licence", "architecture"])
def test_markup_or_hidden_characters_in_a_result(place, evil, field):
    edit_result(place.submission, lambda document: document["model"].update({field: evil}))
    refused(place, RESULT, "text")


@pytest.mark.parametrize("field", ["paper", "licence", "code", "contact", "name", "note"])
def test_markup_in_the_metadata(place, field):
    text = (place.submission / "metadata.yaml").read_text()
    kept = "".join(line for line in text.splitlines(True) if not line.startswith((f"{field}:", "  ")))
    evil = "'<script>alert(1)</script>'"
    value = f"{{title: {evil}, url: 'https://example.org'}}" if field == "paper" else evil
    rewrite(place.submission, {"metadata.yaml": f"{kept}{field}: {value}\n".encode()})
    refused(place, "metadata.yaml", field)


@pytest.mark.parametrize(
    "evil", ["=HYPERLINK(1)", "+1", "-1+cmd|' /C calc'!A0", "@SUM(1)", "=1+1@example.org"]
)
@pytest.mark.parametrize("field", ["licence", "submitter", "contact", "paper"])
def test_what_a_spreadsheet_would_compute(place, field, evil):
    """It would stand in a cell of leaderboard.csv."""
    about = yaml.safe_load((place.submission / "metadata.yaml").read_text())
    value = {"title": evil, "url": "https://example.org"} if field == "paper" else evil
    rewrite(place.submission, {"metadata.yaml": yaml.safe_dump(about | {field: value}).encode()})
    refused(place, "metadata.yaml", field)


@pytest.mark.parametrize("field", ["code", "contact"])
@pytest.mark.parametrize("evil", EVIL)
def test_an_address_with_markup_or_hidden_characters(place, field, evil):
    about = yaml.safe_load((place.submission / "metadata.yaml").read_text())
    text = yaml.safe_dump(about | {field: f"https://example.org/{evil.replace(' ', '')}"})
    rewrite(place.submission, {"metadata.yaml": text.encode()})
    refused(place, "metadata.yaml", field)


@pytest.mark.parametrize("evil", EVIL)
def test_markup_or_hidden_characters_in_a_record(place, evil):
    changed = lines(place)
    record = json.loads(changed[3])
    record["values"]["note"] = evil
    for plain in (True, False):
        changed[3] = json.dumps(record, ensure_ascii=plain).encode() + b"\n"
        put_lines(place, changed)
        refused(place, "line 4", "plain text")


@pytest.mark.parametrize(
    "name",
    ["../../../evil.json", "/etc/passwd", "results/../../x.json", "results/a/../b.json", "C:\\x.json", ""],
)
def test_a_path_that_leaves_the_folder(place, name):
    manifest = json.loads((place.submission / "manifest.json").read_text())
    manifest["files"][name] = {"bytes": 1, "sha256": "0" * 64}
    (place.submission / "manifest.json").write_text(json.dumps(manifest))
    refused(place, "manifest.json", "files", "relative path")


def test_a_link_out_of_the_folder(place):
    path = place.submission / RESULT
    path.unlink()
    path.symlink_to("/etc/hostname")
    refused(place, RESULT, "link")


def test_a_linked_folder(place):
    as_before(place.submission)
    (place.submission / "figures" / "more").symlink_to("/etc")
    refused(place, "figures/more", "link")


def test_a_pipe_is_never_opened(place):
    os.mkfifo(place.submission / "results" / "pipe.json")
    refused(place, "results/pipe.json", "special file")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e400", "9" * 5000])
def test_a_number_that_is_not_finite(place, number):
    text = (place.submission / RESULT).read_text().replace('"value": 0', f'"value": {number}, "_": 0', 1)
    rewrite(place.submission, {RESULT: text.encode()})
    refused(place, RESULT, "finite")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_a_record_with_a_number_that_is_not_finite(place, number):
    changed = lines(place)
    changed[0] = changed[0].replace(b'"linf":0.0', f'"linf":{number}'.encode(), 1)
    put_lines(place, changed)
    refused(place, RECORDS, "finite")


def test_a_document_of_a_gigabyte_is_not_opened(place, monkeypatch):
    path = place.submission / RESULT
    with path.open("wb") as file:
        file.truncate(2**30)  # sparse: nothing lies on the disk
    monkeypatch.setattr(type(path), "read_bytes", _not_beyond(type(path).read_bytes))
    refused(place, RESULT, "size", "1073741824 bytes", "at most")


def _not_beyond(read):
    def read_bytes(path):
        assert path.stat().st_size < 2**20
        return read(path)

    return read_bytes


def test_a_zip_bomb_is_not_unpacked(place):
    engine = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join(engine.compress(bytes(2**20)) for _ in range(300)) + engine.flush()
    rewrite(place.submission, {RECORDS: bomb})
    refused(place, RECORDS, "unpacked size")


def test_very_many_small_records_are_counted_and_never_parsed(place, monkeypatch):
    monkeypatch.setattr(reader, "_record", lambda *_: pytest.fail("a record was parsed"))
    put_lines(place, [b'{"unit_id":"%d","values":{},"error":null}\n' % n for n in range(100_000)])
    refused(place, RECORDS, "records", "found 100000")


@pytest.mark.parametrize("tail", [b"x", gzip.compress(b"{}", mtime=0)], ids=["text", "gzip"])
def test_nothing_hides_behind_the_records(place, tail):
    rewrite(place.submission, {RECORDS: (place.submission / RECORDS).read_bytes() + tail})
    refused(place, RECORDS, "one gzip member")


@pytest.mark.parametrize("nest", ["[", '{"a":'])
def test_deep_nesting(place, nest):
    rewrite(place.submission, {RESULT: (nest * 100_000).encode()})
    refused(place, RESULT, "nested")

    put_lines(place, [(nest * 100_000).encode()])
    refused(place, RESULT, "nested")


@pytest.mark.parametrize(
    "text", ["[" * 10_000, "a: &x [1]\nb: *x\n", "!!python/object/apply:os.system [id]", "- 1"]
)
def test_metadata_that_attack_the_parser(place, text):
    rewrite(place.submission, {"metadata.yaml": text.encode()})
    refused(place, "metadata.yaml")


@pytest.mark.parametrize(
    "name", ["weights.pth", "results/weights.pkl", "model.safetensors", f"figures/{TASK}/m.pt"]
)
def test_a_pickled_checkpoint(place, name):
    rewrite(place.submission, {name: pickle.dumps({"weights": [1.0]})})
    refused(place, name, "weights never travel")


@pytest.mark.parametrize("name", ["dіgits-linear", "digits-linеar", "ｄigits-linear", "digits\u2010linear"])
def test_names_with_letters_that_look_like_others(place, name):
    text = (place.submission / "metadata.yaml").read_text().replace("name: digits-linear", f"name: {name}")
    rewrite(place.submission, {"metadata.yaml": text.encode()})
    refused(place, "metadata.yaml", "name", "which can pass for another letter")


@pytest.mark.parametrize("name", ["digits-1inear", "Digits-Linear", "digits_linear", "d1g1ts.linear"])
def test_plain_names_that_look_like_another_submission_s(place, name):
    twin = place.board / "submissions" / name
    place.submission.rename(twin)
    (place.board / "submissions" / "digits-linear").mkdir()
    text = (twin / "metadata.yaml").read_text().replace("name: digits-linear", f"name: {name}")
    rewrite(twin, {"metadata.yaml": text.encode()})
    assert any("does not look like" in problem for problem in place.check(twin))


def test_another_s_folder(place):
    taken = place.board / "submissions" / "somebody-else"
    place.submission.rename(taken)
    assert any("the name of the folder" in problem for problem in place.check(taken))


def test_two_models_in_one_folder(place):
    other = "adversarial/other"
    rewrite(place.submission, {f"results/{other}.json": (place.submission / RESULT).read_bytes()})
    refused(place, f"results/{other}.json", "task")


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=60))
def test_a_name_that_is_accepted_is_plain_ascii(name):
    if fault_of_name(name) is None:
        assert name.isascii()
        assert fault_of_text(name) is None or ":" in name
        assert skeleton(name).isascii()
        assert ".." not in name
