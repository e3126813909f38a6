"""Whatever others send, every verb answers in a sentence: no traceback, nothing written elsewhere, nothing imported.

Each document below is altered as JSON, as text and as bytes; to cover another kind, add it to ``DOCUMENTS``.
"""

import gzip
import json
import shutil
import sys
from pathlib import Path

import pytest
from board_place import METADATA, as_before, rewrite, use_specs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sent_runs import SAVING, TASK, as_only_shard, copy_of, plant, saved_run, write_task

from assay.board.submissions.build import SubmitRequest, build_submissions
from assay.board.submissions.register import admit
from assay.cli import main
from assay.models.trained import CARD_FILE

SUBMISSION = Path("leaderboard/submissions/digits_fnn")
CHECK, COMPARE = ["check-submission", str(SUBMISSION)], ["compare", "sent_run", str(SUBMISSION)]
# What is altered, and the verbs that then read it; a star stands for what no test knows beforehand.
DOCUMENTS = {
    "metadata": (SUBMISSION / "metadata.yaml", [CHECK]),
    "manifest": (SUBMISSION / "manifest.json", [CHECK]),
    "result": (
        SUBMISSION / f"results/{TASK}.json",
        [CHECK, ["show", str(SUBMISSION / f"results/{TASK}.json")]],
    ),
    "records": (SUBMISSION / f"records/{TASK}.jsonl.gz", [CHECK]),
    "outcomes": (SUBMISSION / f"outcomes/{TASK}.json", [CHECK]),
    "provenance": (SUBMISSION / f"provenance/{TASK}.json", [CHECK]),
    "chart": (SUBMISSION / f"figures/{TASK}/accuracy-eps.json", [CHECK]),
    "tier": (Path("leaderboard/tiers/digits_fnn/re-run.json"), [["leaderboard", "--out", "site"]]),
    "run's index": (Path("sent_run/index.json"), [["status", "sent_run"], ["report", "sent_run"]]),
    "run's job": ("sent_run/jobs/*/job-*.json", [["report", "sent_run"], ["verify-adversarial", "sent_run"]]),
    "run's chunk": (
        "sent_run/jobs/*/chunks/000000.jsonl",
        [["report", "sent_run"], ["compare", "sent_run", str(SUBMISSION)]],
    ),
    "run's times": ("sent_run/jobs/*/times.jsonl", [["report", "sent_run"]]),
    "run's events": (Path("sent_run/events.jsonl"), [["status", "sent_run"]]),
    "run's shard": (
        Path("sent_run/shard.json"),
        [["merge", "sent_run", "--out", "merged"], ["status", "sent_run"]],
    ),
    "run's lock": (Path("sent_run/lock"), [["status", "sent_run"], ["report", "sent_run"]]),
    "spec": (Path("spec.yaml"), [["validate", "spec.yaml"], ["show", "spec.yaml"]]),
    "data manifest": (Path("few.yaml"), [["validate", "few.yaml"]]),
    "plan": (Path("plan.json"), [["run", "--plan", "plan.json", "--out", "planned", "--quiet"]]),
    "trained network's card": (Path("net") / CARD_FILE, [["validate", f"net/{CARD_FILE}"]]),
}
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**20), 10**20), st.just(10**400), st.floats(),
    st.sampled_from(["", "../../../x", "/etc/passwd", "evil:net", "onnx:x", "\ud800", "<script>", "NaN", "a\0b"]),
    st.text(max_size=5), st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)  # fmt: skip


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A workplace with one of each document, planted modules among them."""
    specs = write_task(tmp_path_factory.mktemp("specs"))
    root = tmp_path_factory.mktemp("fuzzed") / "work"
    with pytest.MonkeyPatch.context() as patch:
        use_specs(patch, specs)
        patch.setenv("ASSAY_DATA", str(specs))
        root.mkdir()
        saved_run(root / "sent_run")
        as_only_shard(root / "sent_run")
        admit(root / "leaderboard", TASK, ())
        (root / "about.yaml").write_text(METADATA)
        build_submissions(SubmitRequest(root / "sent_run", root / "about.yaml"), root / "leaderboard")
        as_before(root / SUBMISSION)
        (root / "leaderboard/tiers/digits_fnn").mkdir(parents=True)
        finding = {
            "schema": 1,
            "tier": "re-run",
            "assay": "1",
            "manifest_sha256": "0" * 64,
            "tasks": {},
            "environment": {},
        }
        (root / "leaderboard/tiers/digits_fnn/re-run.json").write_text(json.dumps(finding))
        (root / "sent_run/lock").write_text('{"pid": 1, "host": "elsewhere", "started": 1.5}')
        (root / "spec.yaml").write_text(SAVING)
        shutil.copy(specs / "adversarial" / "few.yaml", root / "few.yaml")
        request = {
            "model": "digits_fnn", "task": TASK, "weights": None, "limit": 2, "device": "cpu", "batch_size": None,
            "precision": {"dtype": "float32", "tf32": False, "threads": 1}, "data_roots": [], "switches": [],
            "data": None, "trusted": [],
        }  # fmt: skip
        plan = {"kind": "assay-plan", "schema": 1, "jobs": [{"key": "0" * 64, "request": request}]}
        (root / "plan.json").write_text(json.dumps(plan))
        (root / "net").mkdir()
        (root / "net" / CARD_FILE).write_text(
            '{"schema": 1, "title": "t", "method": "regular", "architecture": "x"}'
        )
        marker = root.parent / "marker"
        for folder in (root, root / "sent_run", root / SUBMISSION.parent):
            plant(folder, marker)
        patch.chdir(root)
        yield root, marker


def altered(draw, data):
    """The document with something else in a place of it, or with other bytes."""
    if draw(st.integers(0, 3)) == 0:
        start = draw(st.integers(0, max(len(data) - 1, 0)))
        return data[:start] + draw(st.binary(max_size=6)) + data[start + draw(st.integers(0, 20)) :]
    try:
        lines = data.decode().splitlines()
        at = draw(st.integers(0, len(lines) - 1)) if data.count(b"\n{") else None
        document = json.loads(data if at is None else lines[at])
    except (ValueError, IndexError):  # YAML: a key gets another value, or a line is lost
        lines = data.decode(errors="replace").splitlines() or [""]
        at = draw(st.integers(0, len(lines) - 1))
        key = lines[at].partition(":")[0]
        lines[at] = f"{key}: {json.dumps(draw(VALUES))}" if draw(st.booleans()) else ""
        return "\n".join(lines).encode(errors="surrogateescape")
    holder, key = document, None
    while isinstance(holder, dict | list) and holder:
        keys = sorted(holder) if isinstance(holder, dict) else range(len(holder))
        key = draw(st.sampled_from(list(keys)))
        if not isinstance(holder[key], dict | list) or not holder[key] or draw(st.integers(0, 3)) == 0:
            break
        holder = holder[key]
    if key is None:
        document = draw(VALUES)
    elif draw(st.booleans()):
        holder[key] = draw(VALUES)
    else:
        del holder[key]
    text = json.dumps(document)
    if at is None:
        return text.encode()
    lines[at] = text
    return "\n".join(lines).encode() + b"\n"


def snapshot(root):
    """Everything below the workplace's parent but for what the verbs may write."""
    own = ("site", "merged", "planned")
    kept = {}
    for path in root.parent.rglob("*"):
        inside = path.relative_to(root.parent).parts
        written = inside[:2] in {(root.name, name) for name in own} or "__pycache__" in inside
        if path.is_file() and not written:
            kept[path] = path.stat().st_size
    return kept


def fuzz(workplace, data, capsys):
    root, marker = workplace
    name = data.draw(st.sampled_from(sorted(DOCUMENTS)))
    place, verbs = DOCUMENTS[name]
    path = next(root.glob(str(place)))
    original, manifest = path.read_bytes(), (root / SUBMISSION / "manifest.json").read_bytes()
    packed = path.suffix == ".gz"
    changed = altered(data.draw, gzip.decompress(original) if packed else original)
    changed = gzip.compress(changed, mtime=0) if packed else changed
    run = copy_of(root / "sent_run", root.parent / "kept_run") if "run" in name else None
    try:
        if path.is_relative_to(root / SUBMISSION) and path.name != "manifest.json":
            rewrite(root / SUBMISSION, {path.relative_to(root / SUBMISSION).as_posix(): changed})
        else:
            path.write_bytes(changed)
        for words in verbs:
            before = snapshot(root)
            with pytest.raises(SystemExit):
                main(list(words))
            capsys.readouterr()
            new = set(snapshot(root)) - set(before)
            assert all(path.is_relative_to(root / "sent_run") or path.suffix == ".csv" for path in new), new
            assert not marker.exists()
            assert not {"evil", "tabulate_evil"} & set(sys.modules)
    finally:
        for left in ("site", "merged", "planned"):
            shutil.rmtree(root / left, ignore_errors=True)
        if run is not None:
            shutil.rmtree(root / "sent_run")
            run.rename(root / "sent_run")
        else:
            path.write_bytes(original)
        (root / SUBMISSION / "manifest.json").write_bytes(manifest)


QUIET = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]


@settings(max_examples=40, suppress_health_check=QUIET)
@given(data=st.data())
def test_forty_altered_documents(workplace, capsys, data):
    fuzz(workplace, data, capsys)


@pytest.mark.slow
@settings(max_examples=20_000, suppress_health_check=QUIET)
@given(data=st.data())
def test_twenty_thousand_altered_documents(workplace, capsys, data):
    fuzz(workplace, data, capsys)
