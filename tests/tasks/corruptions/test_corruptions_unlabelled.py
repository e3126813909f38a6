"""`labels: predicted`: pictures without labels are asked whether the answer stays what it was."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from assay.common.errors import UserError
from assay.runner.jobs import open_question
from assay.tasks.corruptions.task import TASK
from opened_jobs import JobRequest
from small_jobs import request, write_spec
from tasks.corruptions.conftest import DIGITS

PREDICTED = DIGITS + "labels: predicted\n"


@pytest.fixture
def folder(tmp_path):
    """Twelve pictures in a folder, of nobody knows what, and a text beside them."""
    place = tmp_path / "Just Pictures"
    place.mkdir()
    for number in range(12):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8), dtype=np.uint8)
        Image.fromarray(pixels).save(place / f"{number:02d}.png")
    (place / "read me.txt").write_text("found in an attic")
    return str(place)


def test_the_answer_is_held_against_the_clean_one(run_digits):
    """Against a program of three lines over the same records' answers; labels play no part."""
    labelled, predicted = run_digits(limit=30), run_digits(PREDICTED, limit=30)
    answers = [(one.values["predicted"], one.values["answers"]) for one in labelled.records]
    assert answers == [(one.values["predicted"], one.values["answers"]) for one in predicted.records]
    stays = [answer == clean for clean, cells in answers for cell in cells.values() for answer in cell]
    assert predicted.metrics["mean_agreement"].value == pytest.approx(np.mean(stays))
    assert predicted.metrics["mean_agreement"].title == "Agreement with its own clean answer"
    assert not {name for name in predicted.metrics if "accuracy" in name}
    assert not {metric.title for metric in predicted.metrics.values() if "ccuracy" in metric.title}


def test_what_needs_labels_is_left_out_and_the_reason_is_said(run_digits):
    found = run_digits(PREDICTED + "baseline: alexnet", limit=4)
    assert not {"clean_accuracy", "drop_from_clean", "mean_corruption_error"} & set(found.metrics)
    assert "clean_accuracy_plausible" in found.guards["labels_are_answers"].detail
    assert set(found.spec.metric_keys()) == set(found.metrics)
    assert "stays what it was" in TASK.means(found.spec.headline_key, found.metrics)
    assert "labels_are_answers" not in run_digits(limit=4).guards


def test_a_network_that_never_changes_its_mind_agrees_wholly(run_digits):
    found = run_digits(PREDICTED, model="digits_models:constant", limit=8)
    assert found.metrics["mean_agreement"].value == 1.0


def test_a_folder_without_class_folders_has_pictures_without_labels(folder):
    job = open_question(request(write_spec_of(folder), data=folder, limit=None))
    assert [unit.id for unit in job.units] == [f"{number:02d}.png" for number in range(12)]
    part = open_question(request(write_spec_of(folder), data=folder, limit=5))
    assert len(part.units) == 5


def write_spec_of(folder):
    text = f"schema: 1\nfamily: corruptions\ntitle: t\ndata: digits\n{PREDICTED}"
    return write_spec(Path(folder).parent, "c", text)


def test_a_task_that_scores_labels_refuses_such_pictures(tmp_path, folder):
    with pytest.raises(UserError, match=r"its pictures have no labels.*labels=predicted"):
        open_question(request(write_spec(tmp_path), data=folder, limit=None))
    shipped = JobRequest("digits_fnn", "corruptions/digits", data=folder)
    with pytest.raises(UserError, match="no labels"):
        open_question(shipped)


def test_the_key_is_as_before_where_labels_are_the_data_s(run_digits):
    plain, said, predicted = (
        run_digits(DIGITS + more, limit=1) for more in ("", "labels: data", "labels: predicted")
    )
    assert plain.job.job.key == said.job.job.key != predicted.job.job.key
    assert "labels" not in plain.spec.identity()


def test_published_pictures_have_no_clean_answer(tmp_path):
    with pytest.raises(UserError, match="which only `pictures: made` has"):
        open_question(request(write_spec(
            tmp_path, "p",
            "schema: 1\nfamily: corruptions\ntitle: t\ndata: digits\npictures: plain\ncorruptions: []\n"
            "labels: predicted\n",
        )))  # fmt: skip
