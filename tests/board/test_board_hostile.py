"""Hostile submissions: each is refused with a sentence that says field, value, expected and how to mend it."""

import contextlib
import gzip
import io
import json
import os
import pickle
import zlib

import numpy as np
import pytest
from board_place import RANK_BY, TASK, edit_result, rewrite
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from assay.board.submissions import reader
from assay.board.submissions.pictures import _same_png
from assay.board.submissions.text import fault_of_name, fault_of_text, skeleton

RECORDS = f"records/{TASK}.jsonl.gz"
RESULT = f"results/{TASK}.json"


def lines(place):
    return gzip.decompress((place.submission / RECORDS).read_bytes()).splitlines(keepends=True)


def refused(place, *words):
    """The submission has a problem whose line holds all the words."""
    problems = place.check()
    assert any(all(word in problem for word in words) for problem in problems), (
        problems or "nothing was found"
    )
    for problem in problems:
        assert "expected" in problem
        assert problem.isprintable()


def put_lines(place, changed):
    rewrite(place.submission, {RECORDS: gzip.compress(b"".join(changed), mtime=0)})


@pytest.mark.parametrize(
    "evil",
    [
        "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "a &lt;b&gt; c", "javascript:alert(1)",
        "evil\u202egnp", "zero\u200bwidth", "bell\u0007",
    ],
)  # fmt: skip
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


def test_markup_in_a_record(place):
    changed = lines(place)
    record = json.loads(changed[3])
    record["values"]["note"] = "<script>alert(1)</script>"
    changed[3] = json.dumps(record).encode() + b"\n"
    put_lines(place, changed)
    refused(place, "line 4", "markup")


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


def test_more_units_than_the_data_set_has(place):
    extra = json.loads(lines(place)[0])
    extra["unit_id"] = "one-more"
    put_lines(place, [*lines(place), json.dumps(extra).encode() + b"\n"])
    refused(place, RECORDS, "records", "found 1798", "expected 1797")

    edit_result(place.submission, lambda document: document["coverage"].update(units=5000, done=5000))
    refused(place, RESULT, "coverage.units", "found 5000", "expected 1797")


def test_figures_that_do_not_follow_from_the_records(place):
    def better(document):
        metric = next(
            metric for metric in document["metrics"] if metric["name"] == "fgsm:robust_accuracy@1/10"
        )
        metric["value"] = 0.99

    edit_result(place.submission, better)
    refused(
        place, RESULT, "metrics.fgsm:robust_accuracy@1/10.value", "found 0.99", "follows from the records"
    )


def test_a_guard_that_failed_and_is_said_to_have_passed(place):
    changed = [line.replace(b'"in_box":true', b'"in_box":false') for line in lines(place)]
    put_lines(place, changed)
    refused(place, RESULT, "guards.inside_the_pixel_range.passed", "expected False")


def test_a_guard_that_failed(place):
    edit_result(place.submission, lambda document: document["guards"][0].update(passed=False))
    refused(place, RESULT, "guards.eps_zero_is_clean", "expected passed")


def test_a_unit_given_twice(place):
    changed = lines(place)
    changed[7] = changed[6]
    put_lines(place, changed)
    refused(place, RECORDS, "unit_id", "2 times", "every unit once")


def test_units_of_other_data(place):
    put_lines(place, [line.replace(b'"unit_id":"', b'"unit_id":"x') for line in lines(place)])
    refused(place, RECORDS, "the ids of the data set")


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
    "yaml", ["[" * 10_000, "a: &x [1]\nb: *x\n", "!!python/object/apply:os.system [id]", "- 1"]
)
def test_metadata_that_attack_the_parser(place, yaml):
    rewrite(place.submission, {"metadata.yaml": yaml.encode()})
    refused(place, "metadata.yaml")


@pytest.mark.parametrize(
    "name", ["weights.pth", "results/weights.pkl", "model.safetensors", f"figures/{TASK}/m.pt"]
)
def test_a_pickled_checkpoint(place, name):
    rewrite(place.submission, {name: pickle.dumps({"weights": [1.0]})})
    refused(place, name, "weights never travel")


def test_a_picture_of_one_s_own(place):
    name = f"figures/{TASK}/evil.png"
    rewrite(place.submission, {name: b"<svg onload=alert(1)>"})
    refused(place, f"figures/{TASK}/index.json", "evil.png", "each picture of the records")


def _redrawn(chart):
    chart["data"][0]["y"] = [1.0] * 3


def _titled(chart):
    chart["layout"]["title"] = "<a href='https://evil.example'>x</a>"


def _loading(chart):
    chart["layout"]["images"] = [{"source": "https://evil.example/x.png"}]


@pytest.mark.parametrize("change", [_redrawn, _titled, _loading])
def test_a_chart_that_does_not_follow_from_the_records(place, change):
    name = f"figures/{TASK}/accuracy-eps.json"
    chart = json.loads((place.submission / name).read_text())
    change(chart)
    rewrite(place.submission, {name: json.dumps(chart).encode()})
    refused(place, name, "another picture", "the one that follows from the records")


def test_a_caption_that_does_not_follow_from_the_records(place):
    name = f"figures/{TASK}/index.json"
    index = (place.submission / name).read_text().replace("Accuracy under attack", "Proved to be safe")
    rewrite(place.submission, {name: index.encode()})
    refused(place, name, "another picture")


def _png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def test_a_picture_is_compared_by_what_it_shows():
    pixels = np.random.default_rng(0).integers(3, 250, (20, 30, 3), dtype=np.uint8)
    rounded_elsewhere, painted = pixels + np.uint8(1), pixels.copy()
    painted[4:7, 5:9] = 250
    assert _same_png("p", _png(rounded_elsewhere), _png(pixels))
    assert not _same_png("p", _png(painted), _png(pixels))
    assert not _same_png("p", _png(pixels[:10]), _png(pixels))
    for damaged in (b"<svg onload=alert(1)>", _png(pixels)[:-80]):
        with pytest.raises(reader.UnreadableError, match="a PNG"):
            _same_png("p", damaged, _png(pixels))


def test_the_spec_hash_of_another_spec(place):
    edit_result(place.submission, lambda document: document.update(spec_sha256="1" * 64))
    refused(place, RESULT, "spec_sha256", "1" * 64)


def test_an_easier_spec_under_the_same_name(place):
    edit_result(place.submission, lambda document: document["spec"].update(eps=["0", "1/100", "1/90"]))
    refused(place, RESULT, "`spec`")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("data", {"sha256": "2" * 64}),
        ("model", {"weights_sha256": "3" * 64}),
        ("model", {"architecture": "other"}),
    ],
)
def test_other_data_or_weights_than_the_job_s(place, field, value):
    edit_result(place.submission, lambda document: document[field].update(value))
    refused(place, RESULT, "job_key")


@pytest.mark.parametrize(
    "command", ["rm -rf ~", "assay run --model x --task y --out out; rm -rf ~", "assay run 'x"]
)
def test_a_command_that_is_not_the_job_s(place, command):
    edit_result(place.submission, lambda document: document.update(command=command))
    refused(place, RESULT, "command", "expected assay run --model digits_models:linear")


@pytest.mark.parametrize(
    "change", [{"status": "partial"}, {"coverage": {"units": 1797, "done": 5, "errors": 0, "limited": True}}]
)
def test_partial_and_limited_results(place, change):
    edit_result(place.submission, lambda document: document.update(change))
    refused(place, RESULT, "--limit")


def _reversed(metrics):
    metrics[RANK_BY] = metrics[RANK_BY][::-1]  # the same mean


def _better(metrics):
    metrics[RANK_BY] = metrics[RANK_BY].replace("0", "1", 1)


def _shorter(metrics):
    metrics[RANK_BY] = metrics[RANK_BY][1:]


def _of_nothing(metrics):
    metrics["my own figure"] = metrics[RANK_BY]


@pytest.mark.parametrize("change", [_reversed, _better, _shorter, _of_nothing])
def test_outcomes_that_are_not_the_records(place, change):
    name = f"outcomes/{TASK}.json"
    outcomes = json.loads((place.submission / name).read_text())
    change(outcomes["metrics"])
    rewrite(place.submission, {name: json.dumps(outcomes).encode()})
    refused(place, name)


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


_PLACES = [
    "metadata.yaml",
    "manifest.json",
    RESULT,
    RECORDS,
    f"outcomes/{TASK}.json",
    f"provenance/{TASK}.json",
]
_NOISE = st.one_of(
    st.binary(max_size=400),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
        max_leaves=12,
    ).map(lambda value: json.dumps(value).encode()),
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(_PLACES), _NOISE, st.booleans(), st.booleans())
def test_whatever_the_files_hold_the_reader_answers_and_writes_nothing(place, name, noise, packed, listed):
    original = (place.submission / name).read_bytes()
    manifest = (place.submission / "manifest.json").read_bytes()
    before = _snapshot(place.board)
    try:
        data = gzip.compress(noise, mtime=0) if packed else noise
        if listed and name != "manifest.json":
            rewrite(place.submission, {name: data})
        else:
            (place.submission / name).write_bytes(data)
        assert data == original or place.check()
    finally:
        (place.submission / name).write_bytes(original)
        (place.submission / "manifest.json").write_bytes(manifest)
    assert _snapshot(place.board) == before


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_flipped_value_in_a_record_is_read_without_a_traceback(place, data):
    original = (place.submission / RECORDS).read_bytes()
    manifest = (place.submission / "manifest.json").read_bytes()
    changed = lines(place)
    record = json.loads(changed[0])
    key = data.draw(st.sampled_from(sorted(record["values"])))
    record["values"][key] = data.draw(
        st.one_of(st.none(), st.text(max_size=3), st.lists(st.integers(), max_size=2))
    )
    changed[0] = json.dumps(record).encode() + b"\n"
    try:
        put_lines(place, changed)
        place.check()
    finally:
        (place.submission / RECORDS).write_bytes(original)
        (place.submission / "manifest.json").write_bytes(manifest)


def _snapshot(folder):
    return {path: path.stat().st_size for path in folder.parent.rglob("*") if path.is_file()}


@given(st.binary(max_size=2000), st.sampled_from([reader.unpack, reader.parse_json, reader.parse_records]))
def test_unpacking_and_parsing_refuse_in_one_way(data, read):
    with contextlib.suppress(reader.UnreadableError):
        read("file", data)
