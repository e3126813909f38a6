"""Whatever the files hold, the reader answers with a sentence: never a traceback, never a write."""

import contextlib
import gzip
import json

from board_place import RECORDS, RESULT, TASK, as_before, lines, put_lines, rewrite
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assay.board.submissions import reader

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
    if not (place.submission / "outcomes").exists():
        as_before(place.submission)
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
