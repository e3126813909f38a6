"""The kinds of hostile variants of real submissions: each is refused in a sentence, or harmless for a reason given."""

import gzip
import json
import shutil
import subprocess
import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from board_place import METADATA, as_before, rewrite, use_specs
from sent_runs import TASK

from assay.board.submissions.build import SubmitRequest, build_submissions
from assay.board.submissions.check import Board, check_submission
from assay.board.submissions.register import admit, read_register
from assay.common.canonical import canonical_sha256

RESULT, RECORDS = f"results/{TASK}.json", f"records/{TASK}.jsonl.gz"
OUTCOMES, PROVENANCE = f"outcomes/{TASK}.json", f"provenance/{TASK}.json"
CHART = f"figures/{TASK}/accuracy-eps.json"


@pytest.fixture(scope="module")
def benchmarks(saving_task):
    return saving_task


@pytest.fixture(scope="module")
def honest(tmp_path_factory, honest_run, benchmarks):
    root = tmp_path_factory.mktemp("honest")
    with pytest.MonkeyPatch.context() as patch:
        use_specs(patch, benchmarks)
        patch.setenv("ASSAY_DATA", str(benchmarks))
        admit(root / "leaderboard", TASK, ())
        (root / "about.yaml").write_text(METADATA)
        (folder,) = build_submissions(SubmitRequest(honest_run, root / "about.yaml"), root / "leaderboard")
        as_before(folder)
    return folder, Board(read_register(root / "leaderboard"))


@pytest.fixture
def found(honest, tmp_path):
    """The sentences about a submission of which one file has other bytes, listed as a forger does."""
    folder, board = honest
    copy = tmp_path / folder.name
    shutil.copytree(folder, copy)

    def found_(name, change):
        data = (copy / name).read_bytes()
        packed = name.endswith(".gz")
        changed = change(gzip.decompress(data) if packed else data)
        rewrite(copy, {name: gzip.compress(changed, mtime=0) if packed else changed})
        problems = list(map(str, check_submission(copy, board)))
        assert all(problem.isprintable() and "expected" in problem for problem in problems)
        return "\n".join(problems)

    return found_


def edited(change):
    """An edit of JSON; of the first record where there are several."""

    def edit(data):
        first, _, rest = (
            data.partition(b"\n{") if data.startswith(b'{"') and data.count(b"\n{") else (data, b"", b"")
        )
        document = json.loads(first)
        change(document)
        dumped = json.dumps(document, sort_keys=True, separators=(",", ":"))
        return dumped.encode() + (b"\n{" + rest if rest else b"\n")

    return edit


def machine(change):
    """An edit of the provenance's environment, filed under the name that its content gives."""

    def edit(document):
        (environment,) = document["environments"].values()
        change(environment)
        document["environments"] = {canonical_sha256(environment)[:16]: environment}

    return edited(edit)


def outcome(**fields):
    return edited(lambda record: record["values"]["attacks"]["pgd"]["1/10"].update(fields))


def twice(key):
    """The first of two equal keys says something else; readers differ in which they take."""
    return lambda data: data.replace(f'"{key}":'.encode(), f'"{key}":null,"{key}":'.encode(), 1)


def clean_accuracy(value):
    return edited(lambda document: document["metrics"].update(clean_accuracy=value))


def computed_with(torch, runtime):
    """The environment of a torch, and of a CUDA."""
    cuda = {"runtime": runtime, "cudnn": 1, "driver": "1"}
    return machine(lambda noted: (noted["packages"].update(torch=torch), noted.update(cuda=cuda)))


def respelt(data):
    return data.replace(b'"label":', b'"l\\u0061bel":0,"label":', 1)


FUTURE = (datetime.now(UTC) + timedelta(days=30)).isoformat()
REFUSED = {
    "a key twice in a record": (RECORDS, twice("label"), "given twice"),
    "a key twice, spaced": (RECORDS, lambda data: data.replace(b'"label":', b'"label" :0,"label" :', 1), "given twice"),
    "a key twice, escaped": (RECORDS, respelt, "given twice"),
    "a key twice in outcomes": (OUTCOMES, twice("metrics"), "given twice"),
    "a key twice in the provenance": (PROVENANCE, twice("job_key"), "given twice"),
    "a key twice in a chart": (CHART, twice("data"), "given twice"),
    "a boolean for a number": (RECORDS, outcome(linf=True), "values.attacks.pgd.1/10.linf"),
    "a number for a boolean": (RECORDS, outcome(correct=1), "values.attacks.pgd.1/10.correct"),
    "a text for a number": (RECORDS, outcome(steps="40"), "values.attacks.pgd.1/10.steps"),
    "a list for a number": (RECORDS, outcome(linf=[0.1]), "values.attacks.pgd.1/10.linf"),
    "a negative distance": (RECORDS, outcome(distance=-1.0), "values.attacks.pgd.1/10.distance"),
    "a value of one's own": (RECORDS, outcome(note="better"), "values.attacks.pgd.1/10.note"),
    "an attack of one's own": (RECORDS, edited(lambda record: record["values"]["attacks"].pop("pgd")), "values"),
    "a label of no class": (RECORDS, edited(lambda record: record["values"].update(label=-1)), "values.label"),
    "a score that overflows sums": (OUTCOMES, clean_accuracy([10**308] * 120), "clean_accuracy"),
    "a boolean for a score": (OUTCOMES, clean_accuracy([True] * 120), "clean_accuracy"),
    "an integer of 400 digits": (OUTCOMES, clean_accuracy([10**400]), OUTCOMES),
    "an infinite score": (OUTCOMES, lambda data: data.replace(b'{"schema"', b'{"x":1e400,"schema"', 1), "finite"),
    "an object for a score": (OUTCOMES, clean_accuracy([{}] * 120), "clean_accuracy"),
    "a GPU without CUDA": (PROVENANCE, machine(lambda m: m.update(device="NVIDIA H100 80GB HBM3")), "no CUDA is noted"),
    "CUDA under a torch that has none": (
        PROVENANCE,
        computed_with("2.14.0+cpu", "12.8"),
        "this torch has none",
    ),
    "another CUDA than torch's": (
        PROVENANCE,
        computed_with("2.14.0+cu128", "11.1"),
        "the CUDA of torch",
    ),
    "no torch": (PROVENANCE, machine(lambda m: m["packages"].update(torch=None)), "a network was run"),
    "an environment under another's name": (
        PROVENANCE, edited(lambda d: next(iter(d["environments"].values())).update(threads=99)),
        "other content than its name says",
    ),
    "a time in the future": (PROVENANCE, edited(lambda d: d.update(written_utc=FUTURE)), "not in the future"),
    "no time": (PROVENANCE, edited(lambda d: d.update(written_utc="yesterday")), "written_utc"),
    "a time without a zone": (PROVENANCE, edited(lambda d: d.update(written_utc="2026-01-01T00:00:00")), "written_utc"),
    "a negative time": (PROVENANCE, edited(lambda d: d["used"].update(wall_seconds=-5)), "used.wall_seconds"),
    "a commit that is an option": (
        PROVENANCE, machine(lambda m: m.update(commit={"sha": "--help", "dirty": False})), "sha",
    ),
    "another job's provenance": (PROVENANCE, edited(lambda d: d.update(job_key="0" * 64)), "job_key"),
    "a field of one's own in the provenance": (PROVENANCE, edited(lambda d: d.update(award="best")), "award"),
    "a provenance that is a list": (PROVENANCE, lambda _data: b"[]", PROVENANCE),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_a_variant_is_refused_in_a_sentence(found, kind):
    name, change, words = REFUSED[kind]
    assert words in found(name, change)


HARMLESS = {
    "another order of keys in outcomes": (
        OUTCOMES,
        lambda data: json.dumps(json.loads(data), indent=1).encode(),
    ),
    "spaces in a chart": (CHART, lambda data: json.dumps(json.loads(data), indent=1).encode()),
    "fewer seconds than it took": (PROVENANCE, edited(lambda d: d["used"].update(wall_seconds=0.0))),
    "the name of another host": (PROVENANCE, machine(lambda m: m.update(host="elsewhere"))),
    "a commit that nobody has": (
        PROVENANCE,
        machine(lambda m: m.update(commit={"sha": "1" * 40, "dirty": False})),
    ),
    "another CPU": (PROVENANCE, machine(lambda m: m.update(device="aarch64"))),
    "other versions of packages": (PROVENANCE, machine(lambda m: m["packages"].update(numpy="1.0"))),
    "spaces in the metadata": ("metadata.yaml", lambda data: data + b"\n\n# nothing\n"),
}
"""Nothing of these changes a figure or a rank: the same documents in other bytes, and claims that prove nothing."""


@pytest.mark.parametrize("kind", HARMLESS)
def test_a_harmless_variant_changes_no_figure(found, kind):
    name, change = HARMLESS[kind]
    assert found(name, change) == ""


def test_a_time_before_the_commit_that_it_names(honest, found, monkeypatch):
    from assay.board.submissions import provenance

    monkeypatch.setattr(provenance, "_commit_time", lambda _sha: datetime.now(UTC) + timedelta(hours=1))
    named = machine(lambda m: m.update(commit={"sha": "1" * 40, "dirty": False}))
    assert "before the commit" in found(PROVENANCE, named)


def test_a_commit_that_this_checkout_has_is_dated_by_it():
    from assay.board.submissions.provenance import _commit_time

    assert _commit_time("0" * 40) is None
    told = ["git", "-C", Path(__file__).parent, "log", "-1", "--format=%H %ct"]
    done = subprocess.run(told, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("the tests lie in no repository")
    sha, seconds = done.stdout.split()
    assert _commit_time(sha) == datetime.fromtimestamp(int(seconds), UTC)


@pytest.mark.parametrize("flag", [2, 4, 8, 16], ids=["checksum", "extra", "name", "comment"])
def test_a_gzip_header_with_more_than_it_needs(honest, tmp_path, flag):
    """A name in it reaches whoever unpacks the file with a tool of their own."""
    folder, board = honest
    copy = tmp_path / folder.name
    shutil.copytree(folder, copy)
    data = gzip.decompress((copy / RECORDS).read_bytes())
    engine = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = engine.compress(data) + engine.flush()
    extra = {2: b"\0\0", 4: b"\3\0abc", 8: b"../../evil.sh\0", 16: b"<script>\0"}[flag]
    tail = zlib.crc32(data).to_bytes(4, "little") + (len(data) % 2**32).to_bytes(4, "little")
    rewrite(copy, {RECORDS: bytes([31, 139, 8, flag, 0, 0, 0, 0, 2, 255]) + extra + body + tail})
    assert any("header" in str(problem) for problem in check_submission(copy, board))
