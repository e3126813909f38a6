"""`labels: predicted`: how long does a network keep its own clean answer under attack?"""

import pytest

from assay.common.errors import UserError
from assay.runner.jobs import open_question
from assay.tasks.adversarial.task import TASK
from small_jobs import request, write_spec

LINES = "eps: [0, 1/20, 1/5]\nattacks:\n  - {method: fgsm}\n"


@pytest.fixture
def both(run_digits):
    """The same attack against the labels and against the network's own answers."""
    return [
        run_digits("digits_models:linear", LINES + more, limit=60) for more in ("", "labels: predicted\n")
    ]


def test_where_the_answer_is_right_the_two_are_one(both):
    labelled, predicted = both
    for one, other in zip(labelled.records, predicted.records, strict=True):
        assert other.values["label"] == one.values["predicted"] == other.values["predicted"]
        assert other.values["clean_correct"]
        if one.values["clean_correct"]:
            assert other.values["attacks"] == one.values["attacks"]


def test_the_figures_speak_of_agreement_and_say_what_is_left_out(both):
    labelled, predicted = both
    assert predicted.metrics["fgsm:robust_agreement@0"].value == 1.0
    assert set(predicted.spec.metric_keys()) <= set(predicted.metrics)
    assert not [name for name in predicted.metrics if "accuracy" in name]
    assert all("own answer" in metric.title for metric in predicted.metrics.values())
    assert predicted.metrics["worst:mean_radius"].value >= labelled.metrics["worst:mean_radius"].value
    assert "clean_accuracy_plausible" in predicted.guards["labels_are_answers"].detail
    assert TASK.plausible(predicted.spec, predicted.records, None) is None
    assert "the network's own clean answer" in TASK.means(predicted.spec.headline_key, predicted.metrics)
    assert "labels_are_answers" not in labelled.guards


def test_pictures_without_labels_are_refused_unless_the_spec_asks_so(tmp_path):
    import numpy as np
    from PIL import Image

    folder = tmp_path / "found"
    folder.mkdir()
    for number in range(3):
        Image.fromarray(np.full((8, 8), 40 * number, dtype=np.uint8)).save(folder / f"{number}.png")
    with pytest.raises(UserError, match="labels=predicted"):
        open_question(request(write_spec(tmp_path), data=str(folder), limit=None))
    asked = request(write_spec(tmp_path), data=str(folder), limit=None, settings=("labels=predicted",))
    assert len(open_question(asked).units) == 3
