"""Pictures that nobody has labelled: a proof asks about the network's own answer, so it needs no label."""

import pytest
from PIL import Image

from assay.common.errors import UserError
from assay.data.dataset import open_dataset
from assay.data.manifest import load_manifest
from assay.runner.assemble import stored_jobs
from assay.runner.jobs import open_question
from assay.runner.plan import plan_jobs
from assay.runner.run import run_jobs
from assay.tasks.verification.task import TASK
from small_jobs import request

SPEC = """schema: 1
family: verification
title: Digits
data: digits-test
combinations: [["brightness:0:0.1"]]
deltas: [1]
labels: predicted
images: 2
"""


@pytest.fixture
def found(tmp_path):
    """The first four test digits as files, without a folder a class."""
    data, folder = open_dataset(load_manifest("digits-test")), tmp_path / "found"
    folder.mkdir()
    for number, sample in enumerate(data.samples[:4]):
        Image.fromarray(data.image(sample)[..., 0]).save(folder / f"{number}.png")
    (tmp_path / "t.yaml").write_text(SPEC)
    return folder


def results(tmp_path, name, **more):
    asked = request(str(tmp_path / "t.yaml"), model="digits_fnn", limit=None, **more)
    folder = run_jobs(plan_jobs([asked]), tmp_path / name)
    (job,) = stored_jobs(folder)
    return job.result(records := job.records()), records


def test_the_verdicts_are_those_of_the_labelled_pictures(found, tmp_path):
    labelled, _ = results(tmp_path, "labelled")
    nameless, records = results(tmp_path, "nameless", data=str(found), settings=("labels=predicted",))
    measured = [metric for metric in labelled.metrics if metric.unit != "s"]
    assert [(one.name, one.value) for one in measured] == [
        (one.name, one.value) for one in nameless.metrics if one.unit != "s"
    ]
    assert measured
    guards = {guard.name: guard for guard in nameless.guards}
    assert "clean_accuracy_plausible" not in guards
    assert "clean_accuracy_plausible" in guards["labels_are_answers"].detail
    assert "labels_are_answers" not in {guard.name for guard in labelled.guards}
    spec = open_question(request(str(tmp_path / "t.yaml"), model="digits_fnn", limit=None)).spec.spec
    assert {row["label"] for row in TASK.rows(spec, records)} == {None}


@pytest.mark.parametrize(
    ("task", "why"),
    [("consistency/digits", "answers are made of them"), ("srvr/embedded", "one class from all sides")],
)
def test_a_family_where_it_has_no_meaning_says_why(task, why, found):
    with pytest.raises(UserError, match=f"labels=predicted: has no meaning for {task}: .*{why}"):
        open_question(request(task, limit=None, settings=("labels=predicted",)))


def test_a_folder_for_such_a_family_is_refused_with_the_same_words(found):
    with pytest.raises(UserError, match=r"have no labels.*would have no meaning: .*answers are made of them"):
        open_question(request("consistency/digits", model="digits_fnn", limit=None, data=str(found)))
