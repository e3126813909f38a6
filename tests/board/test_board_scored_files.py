"""Submissions whose figures follow from files beside the records, as neuron consistency's do."""

import gzip
import io
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from board_place import make_place, rewrite, use_specs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assay.board.site.build import build_site
from assay.board.submissions.build import SubmitRequest, build_submissions
from assay.board.submissions.check import Board
from assay.board.submissions.register import read_register
from assay.board.submissions.tiers import rerun, rescore
from assay.runner.jobs import JobRequest
from assay.tasks.consistency.blocks import arrays_to_bytes, bytes_to_arrays
from tasks.consistency import coloured_place

TASK = "consistency/colours"
MODEL = f"{coloured_place.MODELS}:detectors"
BLOCK, HIERARCHY = f"files/{TASK}/blocks/00000.npz", f"files/{TASK}/hierarchy.json"
RECORDS = f"records/{TASK}.jsonl.gz"


@pytest.fixture(scope="module")
def benchmarks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmarks")
    (folder / "consistency").mkdir()
    coloured_place.draw(folder)
    spec = coloured_place.SPEC.replace("near.json", "flat").replace("colours.yaml", "colours")
    (folder / "consistency" / "colours.yaml").write_text(spec)
    (folder / "colours.yaml").write_text(coloured_place.MANIFEST)
    return folder


@pytest.fixture(scope="module", autouse=True)
def _shipped_data(benchmarks):
    """Let the data set be a shipped one, looked for in the same folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("assay.data.manifest.shipped_folder", lambda _name: benchmarks)
        patch.setenv("ASSAY_DATA", str(benchmarks))
        yield


@pytest.fixture(scope="module", autouse=True)
def _a_headline():
    """A task without one is not admitted."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("assay.tasks.consistency.spec.ConsistencySpec.metric_keys", lambda _: ("excess",))
        yield


@pytest.fixture(scope="module", autouse=True)
def _few_pixels_may_tie():
    """Four neurons and pixels of 8 bits leave ties among adversarial images, which a submission may not have."""
    with pytest.MonkeyPatch.context() as patch:
        for limit in ("TIED_LIMIT", "LEVEL_LIMIT"):
            patch.setattr(f"assay.tasks.consistency.summary.{limit}", 1.0)
        yield


@pytest.fixture(scope="module")
def pristine(tmp_path_factory, benchmarks):
    with pytest.MonkeyPatch.context() as patch:
        use_specs(patch, benchmarks)
        requests = {"detectors": JobRequest(MODEL, TASK)}
        return make_place(tmp_path_factory.mktemp("place"), requests)


@pytest.fixture
def submission(place):
    return place.board / "submissions" / "detectors"


@pytest.fixture
def problems(place, submission):
    """The sentences about the submission, after some of its files became others."""

    def look(changes):
        rewrite(submission, changes)
        return "\n".join(place.check(submission))

    return look


def test_the_files_travel_and_the_figures_follow(place, submission, tmp_path):
    assert place.check(submission) == []
    names = {path.relative_to(submission).as_posix() for path in submission.rglob("*") if path.is_file()}
    assert {name for name in names if name.startswith("files/")} == {
        HIERARCHY,
        *(f"files/{TASK}/blocks/{block:05d}.npz" for block in range(5)),
    }
    assert not [name for name in names if name.startswith(("figures/", "outcomes/"))]
    build_site(place.board, tmp_path / "site")
    drawn = {path.suffix for path in (tmp_path / "site" / "data" / "figures").rglob("*.*")}
    assert ".png" in drawn  # consistency's histograms, which need the files beside the records


def test_rescoring_and_running_again_find_nothing(place, submission, tmp_path):
    board = Board(read_register(place.board))
    request = JobRequest(MODEL, "")
    for finding in (rescore(submission, board, ()), rerun(submission, board, request, tmp_path / "again")):
        assert finding.tasks[TASK].differences == ()
        assert finding.tasks[TASK].figures_compared > 10


def test_other_top_images_do_not_give_the_figures(submission, problems):
    arrays = bytes_to_arrays((submission / BLOCK).read_bytes())
    arrays["real-0-activations"] = arrays["real-0-activations"][::-1].copy()
    assert "follows from the records" in problems({BLOCK: arrays_to_bytes(arrays)})


def test_another_hierarchy_under_the_same_name_is_another_measure(submission, problems):
    document = json.loads((submission / HIERARCHY).read_bytes())
    parents = {name: {"name": name, "parents": ["one"]} for name in document["classes"][:2]}
    document["nodes"] |= {**parents, "one": {"name": "one", "parents": ["root"]}}
    assert "hierarchy_as_named" in problems({HIERARCHY: json.dumps(document).encode()})


def npz(**members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return buffer.getvalue()


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


LYING = npy(np.zeros(4)).replace(b"(4,), }            ", b"(4000000000000,), }")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"no archive", "BadZipFile"),
        (npz(a=npy(np.array([{"a": 1}], dtype=object))), "not plain numbers"),
        (npz(a=npy(np.array(["text"]))), "not plain numbers"),
        (npz(a=npy(np.array([np.nan]))), "infinite or undefined"),
        (npz(a=npy(np.array([np.inf], np.float32))), "infinite or undefined"),
        (npz(a=LYING), "4000000000000"),
        (npz(a=b"text"), "magic"),
        (npz(a=npy(np.zeros(4))[:-1]), "holds 31 bytes"),
        (npz(bomb=npy(np.zeros(10_000_000))), "bytes unpacked"),
        (npz(**{f"a{n}": npy(np.zeros(1)) for n in range(1001)}), "1001 arrays"),
    ],
)  # fmt: skip
def test_what_is_no_archive_of_numbers_is_refused_before_it_is_read(problems, content, said):
    answer = problems({BLOCK: content})
    assert BLOCK in answer
    assert said in answer


def test_a_truncated_archive(submission, problems):
    assert BLOCK in problems({BLOCK: (submission / BLOCK).read_bytes()[:-40]})


@pytest.mark.parametrize("evil", [b"[" * 100_000, b'{"name": "<script>"}', b'{"name": NaN}'])
def test_hostile_documents(problems, evil):
    assert HIERARCHY in problems({HIERARCHY: evil})


def test_a_missing_file(problems):
    assert "blocks/00000.npz" in problems({BLOCK: None})


def test_a_file_of_no_record(submission, problems):
    more = f"files/{TASK}/blocks/00009.npz"
    assert "a file of no record" in problems({more: (submission / BLOCK).read_bytes()})


@pytest.mark.parametrize("name", ["../../../manifest.json", "sheets/00000.npz", "/etc/passwd", 3])
def test_a_record_that_names_another_file(submission, problems, name):
    lines = gzip.decompress((submission / RECORDS).read_bytes()).splitlines(True)
    record = json.loads(lines[0])
    assert "blocks/00000.npz" in record["files"]
    record["files"].append(name)
    lines[0] = json.dumps(record).encode() + b"\n"
    assert "files" in problems({RECORDS: gzip.compress(b"".join(lines), mtime=0)})


def test_more_classes_than_fit(problems):
    names = [f"class-{label}" for label in range(10_001)]
    nodes = {name: {"name": name, "parents": ["root"]} for name in names}
    document = {"name": "flat", "classes": names, "nodes": {"root": {"name": "root", "parents": []}, **nodes}}
    assert "10001 classes" in problems({HIERARCHY: json.dumps(document).encode()})


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_flipped_byte_never_gives_a_traceback_or_other_figures(submission, problems, data):
    original = (submission / BLOCK).read_bytes()
    place = data.draw(st.integers(0, len(original) - 1))
    flipped = bytearray(original)
    flipped[place] ^= data.draw(st.integers(1, 255))
    found = problems({BLOCK: bytes(flipped)})
    if not found:  # a byte of the archive that no number depends on: its date, say
        before, after = bytes_to_arrays(original), bytes_to_arrays(bytes(flipped))
        assert all(np.array_equal(before[name], after[name]) for name in before)


def test_submitting_again_replaces_the_files(place, submission):
    shutil.rmtree(submission / "files" / TASK / "blocks")
    build_submissions(SubmitRequest(place.run, place.metadata, MODEL, "detectors"), place.board)
    assert place.check(submission) == []
    assert Path(submission, BLOCK).is_file()


def test_arrays_that_are_swapped_between_units(submission, problems):
    other = f"files/{TASK}/blocks/00001.npz"
    first, second = (submission / BLOCK).read_bytes(), (submission / other).read_bytes()
    assert "another block's" in problems({BLOCK: second, other: first})


def test_an_array_that_no_layer_has(submission, problems):
    arrays = bytes_to_arrays((submission / BLOCK).read_bytes())
    more = arrays | {"real-9-images": arrays["real-0-images"]}
    assert "its arrays do not fit its layers" in problems({BLOCK: arrays_to_bytes(more)})


def test_an_array_that_is_there_twice(submission, problems):
    with zipfile.ZipFile(io.BytesIO((submission / BLOCK).read_bytes())) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members:
            archive.writestr(name, content)
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr(*members[0])
    assert "there twice" in problems({BLOCK: buffer.getvalue()})
