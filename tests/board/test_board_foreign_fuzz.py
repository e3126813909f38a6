"""Whatever others send, every verb answers in a sentence: no traceback, nothing written elsewhere, nothing imported.

Each document below is altered as JSON, as text and as bytes; to cover another kind, add it to ``DOCUMENTS``.
"""

import gzip
import hashlib
import io
import json
import os
import shutil
import sys
import unicodedata
from contextlib import redirect_stdout
from pathlib import Path

import pytest
from board_place import METADATA, as_before, rewrite, use_specs
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from sent_runs import RECIPE, TASK, as_only_shard, plant, saved_run, write_task

from assay.board.submissions import images
from assay.board.submissions.build import SubmitRequest, build_submissions
from assay.board.submissions.register import admit
from assay.cli import main
from assay.models.trained import CARD_FILE

SUBMISSION = Path("leaderboard/submissions/digits_fnn")
CHECK, SITE = ["check-submission", str(SUBMISSION)], ["leaderboard", "--out", "site"]
RESCORE = ["rescore", str(SUBMISSION), "--images", "sent_run"]
COMPARE, REPORT, STATUS = (
    ["compare", "sent_run", str(SUBMISSION)],
    ["report", "sent_run"],
    ["status", "sent_run"],
)
RECORDS = ["records", "sent_run", "--model", "digits_fnn", "--task", TASK]
VERIFY, MERGE = ["verify-adversarial", "sent_run"], ["merge", "sent_run", "--out", "merged"]
SUBMIT = ["submit", "sent_run", "--metadata", "about.yaml"]
PLAN = ["plan", "--model", "digits_fnn", "--task", "spec.yaml", "--calibrate", "0"]
PLANNED = ["plan", "--model", "digits_fnn", "--task", TASK, "--limit", "2", "--calibrate", "0", "--json"]
ACCURACY = ["accuracy", "trained:net", "--data", "digits", "--limit", "10"]
EXPORT = ["export", "sent_run", "--to", "latex", "--out", "merged/table.tex"]
RUN = ["run", "--plan", "plan.json", "--out", "planned", "--quiet"]
RESULT, TIER = SUBMISSION / f"results/{TASK}.json", Path("leaderboard/tiers/digits_fnn/re-run.json")
# What is altered, and the verbs that then read it; a star stands for what no test knows beforehand.
DOCUMENTS = {
    "metadata": (SUBMISSION / "metadata.yaml", [CHECK, SITE]),
    "manifest": (SUBMISSION / "manifest.json", [CHECK, SITE]),
    "result": (RESULT, [CHECK, ["show", str(RESULT)], RESCORE, SUBMIT]),
    "records": (SUBMISSION / f"records/{TASK}.jsonl.gz", [CHECK, RESCORE, COMPARE]),
    "outcomes": (SUBMISSION / f"outcomes/{TASK}.json", [CHECK]),
    "provenance": (SUBMISSION / f"provenance/{TASK}.json", [CHECK, SITE]),
    "chart": (SUBMISSION / f"figures/{TASK}/accuracy-eps.json", [CHECK, SITE]),
    "tier": (TIER, [SITE]),
    "run's index": (Path("sent_run/index.json"), [STATUS, REPORT, RECORDS, RESCORE, SUBMIT]),
    "run's job": ("sent_run/jobs/*/job-*.json", [REPORT, VERIFY, RESCORE, RECORDS, SUBMIT]),
    "run's chunk": (
        "sent_run/jobs/*/chunks/000000.jsonl",
        [REPORT, COMPARE, RECORDS, VERIFY, RESCORE, MERGE],
    ),
    "run's times": ("sent_run/jobs/*/times.jsonl", [REPORT, ["show", "sent_run"]]),
    "run's mark": (Path("sent_run/run.json"), [STATUS, REPORT, VERIFY, COMPARE]),
    "run's provenance": (Path(f"sent_run/provenance/digits_fnn/{TASK}.json"), [SUBMIT, EXPORT]),
    "alignments": (
        Path("alignments.jsonl"),
        [["study", "digits", "sent_run", "--alignments", "alignments.jsonl"]],
    ),
    "run's events": (Path("sent_run/events.jsonl"), [STATUS]),
    "run's picture": ("sent_run/jobs/*/files/adversarial/bim/1_10/00000.png", [VERIFY, RESCORE]),
    "run's shard": (Path("sent_run/shard.json"), [MERGE, STATUS]),
    "run's lock": (Path("locked_run/lock"), [["status", "locked_run"], ["report", "locked_run"]]),
    "spec": (Path("spec.yaml"), [["validate", "spec.yaml"], PLAN]),
    "data manifest": (Path("few.yaml"), [["validate", "few.yaml"], PLAN]),
    "recipe": (Path("recipe.yaml"), [["validate", "recipe.yaml"]]),
    "plan": (Path("plan.json"), [RUN]),
    "model's card": (Path("mine.yaml"), [["validate", "mine.yaml"]]),
    "trained network's card": (Path("net") / CARD_FILE, [ACCURACY]),
}
# What the verbs are told to write, a report in the run itself included.
ASKED_FOR = (
    "site/", "merged/", "planned/", "sent_run/", "locked_run/", "leaderboard/tiers/digits_fnn/re-scored.json",
    "leaderboard/submissions/digits_fnn/", "leaderboard/leaderboard.csv", "leaderboard/results_long.csv",
)  # fmt: skip
SMALL = """\
schema: 1
family: adversarial
title: Images that are kept
data: few.yaml
headline: "worst:robust_accuracy@1/10"
eps: [0, 1/10]
chunk_units: 3
attacks:
  - {method: fgsm}
  - {method: bim, steps: 2, step_size: 0.5 eps}
"""
ALIGNMENT = '{"weights_sha256": "0", "data_sha256": "0", "data": "digits", "score": "margin", "mean": 1.0}\n'
CARD = """\
schema: 1
name: mine
network: {factory: "evil:net"}
label_space: digits
input: {size: [8, 8], channels: grey}
clean_accuracy: {value: 0.93, data: digits}
"""
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**20), 10**20), st.just(10**400), st.floats(),
    st.sampled_from(["", "../../../x", "/etc/passwd", "evil:net", "onnx:x", "<script>", "NaN", "-"]),
    st.sampled_from(["\ud800", "a\0b", "\x1b[2J", "\u202e"]),
    st.text(max_size=5), st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)  # fmt: skip


@pytest.fixture(scope="module")
def benchmarks(tmp_path_factory):
    return write_task(tmp_path_factory.mktemp("specs"), SMALL, units=6)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory, benchmarks):
    """A workplace with one of each document, planted modules among them."""
    # Deep enough for what `../../../x` names to be looked at, too.
    root = tmp_path_factory.mktemp("fuzzed") / "a" / "b" / "work"
    with pytest.MonkeyPatch.context() as patch:
        use_specs(patch, benchmarks)
        patch.setattr(
            images, "elsewhere", lambda look, sent: look(sent)
        )  # a process for each would take seconds
        patch.setenv("ASSAY_DATA", str(benchmarks))
        root.mkdir(parents=True)
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
        (root / "spec.yaml").write_text(SMALL)
        (root / "recipe.yaml").write_text(RECIPE)
        (root / "alignments.jsonl").write_text(ALIGNMENT)
        (root / "mine.yaml").write_text(CARD)
        shutil.copy(benchmarks / "adversarial" / "few.yaml", root / "few.yaml")
        for folder in (root, root / "sent_run", root / SUBMISSION.parent):
            plant(folder, root.parent / "marker")
        (root / "locked_run").mkdir()
        shutil.copy(root / "sent_run/run.json", root / "locked_run")
        (root / "locked_run/index.json").write_text("[]")
        (root / "locked_run/lock").write_text('{"pid": 1, "host": "elsewhere", "started": 1.5}')
        patch.chdir(root)
        for words in (REPORT, ["train", "recipe.yaml", "--out", "net", "--threads", "1"], SITE, PLANNED):
            with redirect_stdout(io.StringIO()) as printed, pytest.raises(SystemExit):
                main(words)
        (root / "plan.json").write_text(printed.getvalue())
        yield root, files_around(root)


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


def put(root, path, changed, forged):
    """Write other bytes; where it is ``forged``, the hashes of them are made anew, too."""
    before = path.read_bytes()
    path.write_bytes(changed)
    submission, (job,) = root / SUBMISSION, (root / "sent_run/jobs").iterdir()
    if forged and path.is_relative_to(submission) and path.name != "manifest.json":
        rewrite(submission, {path.relative_to(submission).as_posix(): changed})
    if forged and path.is_relative_to(job):
        old, new = (hashlib.sha256(data).hexdigest().encode() for data in (before, changed))
        for chunk in job.glob("chunks/*.jsonl"):
            rest = chunk.read_bytes().partition(b"\n")[2].replace(old, new)
            chunk.write_bytes(b'{"sha256":"%s"}\n' % hashlib.sha256(rest).hexdigest().encode() + rest)


def steers_a_terminal(character):
    turned = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    return unicodedata.category(character) == "Cc" or unicodedata.bidirectional(character) in turned


def files_around(root):
    """The bytes of each file of the workplace and beside it, by its path from three folders above."""
    above = str(root.parents[2])
    paths = [f"{place}/{name}" for place, _, names in os.walk(above) for name in names]
    return {path.removeprefix(f"{above}/"): Path(path).read_bytes() for path in paths}


def restore(root, original, now):
    """Make the workplace what it was, so that the next document is altered alone."""
    for name in now.keys() - original.keys():
        (root.parents[2] / name).unlink()
    for name, data in original.items():
        if now.get(name) != data:
            (root.parents[2] / name).parent.mkdir(parents=True, exist_ok=True)
            (root.parents[2] / name).write_bytes(data)
    for folder in ("merged", "planned"):
        shutil.rmtree(root / folder, ignore_errors=True)


def test_without_an_alteration_every_verb_does_its_work(workplace, capsys):
    """Else what is altered would be refused for another reason, and nothing would be tried."""
    root, original = workplace
    refused = {}
    for words in {tuple(words) for _, verbs in DOCUMENTS.values() for words in verbs}:
        with pytest.raises(SystemExit) as end:
            main(list(words))
        restore(root, original, files_around(root))
        if end.value.code:
            refused[words] = capsys.readouterr().err
    # Somebody still writes there; and one measure of one model is too little to study.
    assert sorted(words[:2] for words in refused) == [("report", "locked_run"), ("study", "digits")], refused


DEEP = {"lists": b"[" * 100_000, "objects": b'{"a":' * 100_000}


@pytest.mark.parametrize("nest", DEEP)
@pytest.mark.parametrize("kind", DOCUMENTS)
def test_a_document_that_is_nested_too_deeply_is_no_traceback(workplace, capsys, kind, nest):
    root, original = workplace
    place, verbs = DOCUMENTS[kind]
    path = next(root.glob(str(place)))
    changed = gzip.compress(DEEP[nest], mtime=0) if path.suffix == ".gz" else DEEP[nest]
    try:
        put(root, path, changed, forged=True)
        for words in verbs:
            with pytest.raises(SystemExit):
                main(list(words))
            assert len("".join(capsys.readouterr())) < 20_000
    finally:
        restore(root, original, files_around(root))


def fuzz(workplace, data, capsys):
    root, original = workplace
    place, verbs = DOCUMENTS[data.draw(st.sampled_from(sorted(DOCUMENTS)))]
    path = next(root.glob(str(place)))
    packed, before = path.suffix == ".gz", path.read_bytes()
    changed = altered(data.draw, gzip.decompress(before) if packed else before)
    changed, forged = gzip.compress(changed, mtime=0) if packed else changed, data.draw(st.booleans())
    try:
        put(root, path, changed, forged)
        for words in verbs:
            with pytest.raises(SystemExit):
                main(list(words))
            printed = "".join(capsys.readouterr())
            assert not [each for each in printed if each not in "\n\t" and steers_a_terminal(each)], printed
            assert not {"evil", "tabulate_evil"} & set(sys.modules)
    finally:
        now = files_around(root)
        restore(root, original, now)
    known = {str(each.relative_to(root.parents[2])) for each in (path, root / SUBMISSION / "manifest.json")}
    written = {name for name in original | now if original.get(name) != now.get(name)} - known
    assert all(name.removeprefix("a/b/work/").startswith(ASKED_FOR) for name in written), written


QUIET = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]


@settings(max_examples=40, suppress_health_check=QUIET)
@given(data=st.data())
def test_forty_altered_documents(workplace, capsys, data):
    fuzz(workplace, data, capsys)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(20))
def test_twenty_thousand_altered_documents(workplace, capsys, part):
    """In parts of 1,000 documents, each of its own seed: what one part finds hides nothing of the others."""

    @seed(part)
    @settings(max_examples=1_000, database=None, suppress_health_check=QUIET)
    @given(data=st.data())
    def thousand(data):
        fuzz(workplace, data, capsys)

    thousand()
