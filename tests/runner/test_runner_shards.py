"""Shards that do not make one run are refused, and nothing is written."""

import json
import shutil

import pytest

from assay.common.errors import UserError
from assay.runner.plan import Shard
from assay.runner.run import Runtime
from assay.runner.shards import merge
from assay.runner.status import run_status, status_text
from small_jobs import SPEC, request, run, write_spec


@pytest.fixture(scope="session")
def halves(tmp_path_factory):
    """A folder with the two shards `a` and `b` of a run; tests copy it before they harm it."""
    folder = tmp_path_factory.mktemp("halves")
    task = write_spec(folder)
    for number, name in ((1, "a"), (2, "b")):
        run([request(task)], folder / name, Runtime(shard=Shard(number, 2)))
    return folder


@pytest.fixture
def parts(halves, tmp_path):
    """A copy of the two shards."""
    shutil.copytree(halves, tmp_path / "halves")
    return tmp_path / "halves"


def test_a_shard_holds_its_own_chunks_only(parts):
    names = [[path.name for path in sorted(parts.glob(f"{part}/jobs/*/chunks/*"))] for part in "ab"]
    assert names == [[f"{n:06d}.jsonl" for n in (0, 2, 4)], [f"{n:06d}.jsonl" for n in (1, 3, 5)]]


def test_the_status_of_a_shard_counts_its_own_chunks(parts):
    status = run_status(parts / "b")
    assert (status.state, status.shard, status.jobs[0].stored, status.jobs[0].chunks) == (
        "finished", Shard(2, 2), 3, 3,
    )  # fmt: skip
    assert status_text(status).splitlines()[-1].startswith("shard 2/2: finished")
    drop_chunk(parts)
    assert run_status(parts / "b").jobs[0].stored == 2


def test_many_small_jobs_are_shared_out_too(tmp_path):
    tasks = [write_spec(tmp_path, f"t{n}", SPEC.replace("1/10", f"{n + 1}/10")) for n in range(4)]
    out = tmp_path / "o"
    run([request(task, limit=5) for task in tasks], out, Runtime(shard=Shard(2, 2)))
    assert len(list(out.glob("jobs/*/chunks/*"))) == 2


def drop_chunk(parts):
    next(parts.glob("b/jobs/*/chunks/000003.jsonl")).unlink()


def break_chunk(parts):
    path = next(parts.glob("b/jobs/*/chunks/000003.jsonl"))
    path.write_bytes(path.read_bytes()[:-3])


def share_chunk(parts):
    shutil.copy(
        next(parts.glob("b/jobs/*/chunks/000003.jsonl")), next(parts.glob("a/jobs/*/chunks")) / "000003.jsonl"
    )


def forget_claim(parts):
    (parts / "b" / "shard.json").unlink()


def spoil_claim(parts):
    (parts / "b" / "shard.json").write_text("{")


def nameless_jobs(parts):
    (parts / "b" / "shard.json").write_text('{"shard": 2, "of": 2, "jobs": [3]}')


def other_version(parts):
    (parts / "b" / "run.json").write_text('{"kind": "assay-run", "schema": 2}')


def other_spec(parts):
    shutil.rmtree(parts / "b")
    task = write_spec(parts, "t", SPEC.replace("1/10", "2/10"))
    run([request(task)], parts / "b", Runtime(shard=Shard(2, 2)))


def other_count(parts):
    claim = json.loads((parts / "b" / "shard.json").read_text())
    (parts / "b" / "shard.json").write_text(json.dumps(claim | {"of": 3}))


@pytest.mark.parametrize(
    ("harm", "names", "complaint"),
    [
        (None, "aa", "overlap, both hold shard 1/2"),
        (None, "b", "there is a gap, shard 1/2 was not given"),
        (None, "ac", "is not a run of Assay"),
        (drop_chunk, "ab", "leaves a gap, chunk 3"),
        (break_chunk, "ab", "000003.jsonl: its SHA-256 is not"),
        (share_chunk, "ab", "000003.jsonl: overlaps"),
        (forget_claim, "ab", "is a whole run, not a shard"),
        (spoil_claim, "ab", "is missing or damaged"),
        (nameless_jobs, "ab", "is missing or damaged"),
        (other_version, "ab", "this Assay reads runs of schema 1"),
        (other_spec, "ab", "shards of different runs .*another job key"),
        (other_count, "ab", "is one of 3 shards"),
    ],
)
def test_what_does_not_make_one_run_is_refused(parts, harm, names, complaint):
    if harm:
        harm(parts)
    with pytest.raises(UserError, match=complaint):
        merge([parts / name for name in names], parts / "out")
    assert not (parts / "out").exists()


def test_a_merge_writes_into_nothing_that_is_there(parts):
    (parts / "out").mkdir()
    (parts / "out" / "thesis.tex").write_text("mine")
    with pytest.raises(UserError, match="is not empty"):
        merge([parts / "a", parts / "b"], parts / "out")
    assert [path.name for path in (parts / "out").iterdir()] == ["thesis.tex"]


def test_a_merged_run_keeps_times_and_provenance(parts):
    folder = merge([parts / "a", parts / "b"], parts / "out")
    (entry,) = folder.index()
    assert [times["chunk"] for times in folder.job(entry["key"]).read_times()] == list(range(6))
    assert json.loads((parts / "out/provenance/digits_models_linear/t.json").read_text())["environments"]


@pytest.mark.parametrize("shard", [Shard(1, 1), Shard(2, 2), Shard(1, 3)])
def test_a_shard_s_folder_takes_no_other_part(parts, shard):
    with pytest.raises(UserError, match="holds shard 1/2 of a run, not this one"):
        run([request(str(parts / "t.yaml"))], parts / "a", Runtime(shard=shard))


def test_a_whole_run_s_folder_takes_no_shard(tmp_path, task):
    run([request(task)], tmp_path / "o")
    with pytest.raises(UserError, match="holds a whole run"):
        run([request(task)], tmp_path / "o", Runtime(shard=Shard(1, 2)))


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/0", "-1/2", "1/2/3", ""])
def test_what_is_no_shard_is_refused(text):
    with pytest.raises(UserError, match="expected i/n"):
        Shard.parse(text)
