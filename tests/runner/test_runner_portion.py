"""``--limit`` asks a balanced draw of pictures or shapes, says so in the key, and ``--draw first`` the first units."""

from collections import Counter

import pytest

from assay.common.canonical import canonical_sha256
from assay.data.draw import Draw
from assay.runner.job_document import repeat_command
from assay.runner.jobs import JobRequest, open_question
from assay.runner.plan import plan_jobs
from small_jobs import request, write_spec


@pytest.fixture
def task(tmp_path):
    return write_spec(tmp_path)


def units(task, **fields):
    return [unit.id for unit in open_question(request(task, **fields)).units]


def test_the_classes_are_balanced_and_in_the_data_s_order(task):
    found = open_question(request(task, limit=95))
    labels = Counter(unit.payload.label for unit in found.units)
    assert sorted(labels.values()) == [9] * 5 + [10] * 5
    ids = [unit.id for unit in found.units]
    assert ids == sorted(ids)


def test_a_smaller_limit_is_part_of_a_larger_one_and_models_share_it(task):
    assert set(units(task, limit=30)) < set(units(task, limit=60))
    assert units(task, limit=30, model="digits_models:quantised") == units(task, limit=30)


def test_the_seed_of_the_task_draws(tmp_path, task):
    other = write_spec(tmp_path, "seeded", (tmp_path / "t.yaml").read_text() + "seed: 1\n")
    assert units(other, limit=30) != units(task, limit=30)


def test_the_key_says_how_the_part_was_drawn(task):
    (drawn,) = plan_jobs([request(task)])
    (first,) = plan_jobs([request(task, draw=Draw.FIRST)])
    (whole,) = plan_jobs([request(task, limit=None)])
    assert drawn.identity["limit"] == {"draw": "balanced", "count": 60}
    assert first.identity["limit"] == 60  # as it was written when a limit meant the first units
    assert whole.identity["limit"] is None
    assert first.identity | {"limit": None} == whole.identity == drawn.identity | {"limit": None}
    assert len({canonical_sha256(job.identity) for job in (drawn, first, whole)}) == 3


def test_the_first_units_can_be_asked_for(task):
    assert units(task, limit=7, draw=Draw.FIRST) == units(task, limit=None)[:7]
    words = repeat_command(JobRequest("m", "t", limit=7, draw=Draw.FIRST))
    assert "--limit 7 --draw first" in words


def test_of_shapes_whole_shapes_are_drawn():
    """Part of a shape's map says nothing; classes take turns."""
    found = open_question(JobRequest("efficientnet_lite0", SHAPES, limit=2))
    whole = open_question(JobRequest("efficientnet_lite0", SHAPES))
    shapes = {unit.payload.shape for unit in found.units}
    assert len(shapes) == 2
    assert len({shape.class_name for shape in shapes}) == 2
    rows = Counter(unit.payload.shape.id for unit in whole.units)
    assert Counter(unit.payload.shape.id for unit in found.units) == {
        shape.id: rows[shape.id] for shape in shapes
    }


def test_of_proofs_whole_pictures_are_drawn():
    """Each picture comes with all its perturbations."""
    found = open_question(JobRequest("digits_fnn", PROOFS, limit=3))
    perturbations = Counter(unit.payload[0].unit_id for unit in found.units)
    assert sorted(set(perturbations.values())) == [len(found.spec.spec.names)]
    assert len(perturbations) == 3
    assert len({unit.payload[0].label for unit in found.units}) == 3


def test_of_neurons_blocks_of_pictures_are_drawn():
    """Neurons are judged over pictures: these are limited, in the blocks in which they are stored."""
    found = open_question(JobRequest("efficientnet_lite0", NEURONS, limit=1))
    assert len(found.units) == 1 < found.all_units


SHAPES = "srvr/embedded"
PROOFS = "verification/digits"
NEURONS = "consistency/digits"


def test_a_plan_of_before_means_the_first_units(assay, task, tmp_path):
    """A plan that says nothing of a draw was written when a limit meant the first units."""
    import json

    _, text, _ = assay("plan", "--model", "digits_models:linear", "--task", task, "--limit", "20",
                       "--draw", "first", "--calibrate", "0", "--json")  # fmt: skip
    document = json.loads(text)
    del document["jobs"][0]["request"]["draw"]
    (tmp_path / "plan.json").write_text(json.dumps(document))
    code, _, err = assay("run", "--plan", tmp_path / "plan.json", "--model", "digits_models:linear",
                         "--task", task, "--out", tmp_path / "o", "--quiet")  # fmt: skip
    assert code == 0, err
