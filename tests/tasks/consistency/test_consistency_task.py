"""The consistency family through the whole task, on networks whose neurons are known."""

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest

from assay.data.dataset import open_dataset
from assay.data.manifest import load_manifest
from assay.tasks.base import Record
from assay.tasks.consistency.blocks import KINDS
from assay.tasks.consistency.scores import Scoring
from assay.tasks.consistency.task import TASK
from assay.tasks.families import load_spec
from assay.tasks.task_spec import shipped_specs
from tasks.consistency.coloured_place import MODELS, SPEC


def value(summary, name):
    return next(metric.value for metric in summary.metrics if metric.name == name)


def failed(summary):
    return {guard.name for guard in summary.guards if not guard.passed}


def table(job, records):
    return list(TASK.rows(job.spec.spec, records))


def test_class_detectors_score_what_hand_work_gives(outcome):
    job, records, summary = outcome()
    rows = table(job, records)
    assert [row["consis"] for row in rows[:3]] == pytest.approx([1, 1, 1])
    assert [row["top_class"] for row in rows[:3]] == [0, 1, 2]
    # the three brightest are one of each: blue 119, green 118, red 117 and so on; distances 2 (red, green) and 3
    pairs = np.exp(-np.array([4, 9, 9]) / 2)
    assert rows[3]["consis"] == pytest.approx((3 + 2 * pairs.sum()) / 9)
    assert value(summary, "consis") == pytest.approx((3 + rows[3]["consis"]) / 4)
    same, other = 1, 2 * (40 * 40 * pairs.sum() + 3 * 40 * 39 / 2) / (120 * 119)
    assert rows[0]["floor"] == pytest.approx(same / 3 + 2 / 3 * other)


def test_on_adversarial_images_the_detectors_see_the_target_and_not_the_content(outcome):
    job, records, summary = outcome()
    assert value(summary, f"attack_success:member:{MODELS}:detectors") == 1
    scoring = Scoring.of(job.spec.spec, records)
    top, images = scoring.top("adversarial", "0").images, scoring.merged.images
    contents = np.array(images.concepts)[images.sources[top], 0]
    for neuron in set(images.targets[top[:3, 0]].tolist()):
        assert (images.targets[top[neuron]] == neuron).all()
        assert (contents[neuron] != neuron).all()
    assert value(summary, "excess_gap") == pytest.approx(
        value(summary, "excess") - value(summary, "excess_adv")
    )


def test_the_sweep_rises_with_sigma_and_holds_the_headline(outcome):
    _, _, summary = outcome()
    sweep = [value(summary, f"consis@{sigma}") for sigma in ("1/2", "1", "2", "4")]
    assert sweep == sorted(sweep)
    assert sweep[1] == value(summary, "consis")


def test_a_sound_network_passes_every_guard(outcome):
    job, records, summary = outcome()
    # After an attack, pixels of 8 bits leave a tie or two among so few distinct pictures.
    assert failed(summary) <= {"top_images_decided"}
    assert Scoring.of(job.spec.spec, records).tied_share("real", "0") == 0


def test_batches_do_not_change_the_answer(outcome):
    one, many = outcome(batch_size=1), outcome(batch_size=120)
    assert table(*one[:2]) == table(*many[:2])


def test_blocks_of_another_order_give_the_same_answer(outcome):
    job, records, summary = outcome()
    again = TASK.summarise(job.spec.spec, records[::-1])
    assert [metric.name for metric in again.metrics] == [metric.name for metric in summary.metrics]
    for one, other in zip(again.metrics, summary.metrics, strict=True):
        assert one.value == other.value
        assert (one.ci_low, one.ci_high) == pytest.approx((other.ci_low, other.ci_high), abs=1e-12)


def test_a_missing_block_leaves_the_others_answer(outcome):
    job, records, _ = outcome()
    summary = TASK.summarise(job.spec.spec, records[1:])
    assert value(summary, "consis") is not None
    assert "enough_images" in failed(summary)


@pytest.mark.parametrize(
    ("model", "guard"),
    [
        ("saturated", "top_images_decided"),
        ("saturated", "neurons_not_saturated"),
        ("restless", "repeat_agrees"),
        ("batch_bound", "alone_agrees"),
    ],
)
def test_a_planted_fault_fails_its_guard(outcome, model, guard):
    assert guard in failed(outcome(model)[2])


def test_an_attack_without_success_fails_its_guard(outcome):
    text = SPEC.replace(f'"{MODELS}:sharper_detectors"', f'"{MODELS}:stubborn"')
    assert "attack_succeeds" in failed(outcome(text=text)[2])


def altered(records, **changes):
    """The records with the first one's adversarial values changed: what a defect of ours would look like."""
    values = json.loads(json.dumps(dict(records[0].values)))
    values["adversarial"] |= changes.pop("adversarial", {})
    values["real"] |= changes.pop("real", {})
    return [Record(records[0].unit_id, values, files=records[0].files), *records[1:]]


def test_an_incomplete_adversarial_set_fails_its_guard(outcome):
    job, records, _ = outcome()
    sources = list(records[0].values["adversarial"]["sources"])
    planted = altered(records, adversarial={"sources": [sources[1], *sources[1:]]})
    assert "adversarial_set_complete" in failed(TASK.summarise(job.spec.spec, planted))


def test_labels_outside_the_hierarchy_fail_their_guard(outcome):
    job, records, _ = outcome()
    planted = altered(records, real={"concepts": [[3], *records[0].values["real"]["concepts"][1:]]})
    summary = TASK.summarise(job.spec.spec, planted)
    assert failed(summary) == {"labels_in_hierarchy"}
    assert not summary.metrics
    assert not table(job, planted)
    assert not TASK.figures(job.spec.spec, planted)


@pytest.mark.parametrize("kind", KINDS)
def test_a_floor_that_is_not_the_permutations_mean_fails_its_guard(outcome, monkeypatch, kind):
    job, records, _ = outcome()
    right = Scoring.headline_scores

    def forgotten(scoring, layer):
        scores = right(scoring, layer)
        return scores | {kind: replace(scores[kind], floor=0 * scores[kind].floor)}

    monkeypatch.setattr(Scoring, "headline_scores", forgotten)
    assert failed(TASK.summarise(job.spec.spec, records)) >= {f"floor_{kind}_is_permutation_mean"}


def test_nan_is_an_error_of_its_block_and_never_an_answer(outcome):
    job, records, _ = outcome("nan_in_part")
    bad = [record for record in records if record.error]
    assert 0 < len(bad) < len(records)
    assert all("NaN" in record.error for record in bad)
    errors = [row["error"] for row in table(job, records) if row.get("error")]
    assert len(errors) == len(bad)


def test_records_and_rows_are_what_is_promised(outcome):
    job, records, _ = outcome()
    assert json.loads(json.dumps(dict(records[0].values))) == records[0].values
    assert all(set(row) <= set(TASK.record_columns) for row in table(job, records))


def test_figures_show_distribution_gap_and_top_images(outcome):
    job, records, _ = outcome()
    drawn = {figure.name: figure for figure in TASK.figures(job.spec.spec, records)}
    assert set(drawn) == {"consistency-histograms", "consistency-gap", "top-images"}
    assert drawn["top-images"].content.startswith(b"\x89PNG")
    assert "4 neurons" in drawn["consistency-histograms"].caption


def test_several_layers_in_one_pass(outcome):
    job, records, summary = outcome(text=SPEC + "layers: ['1', '0']\n")
    assert value(summary, "1:consis") == pytest.approx(value(summary, "consis"))
    assert {row["layer"] for row in table(job, records)} == {"0", "1"}
    assert "gap-by-layer" in {figure.name for figure in TASK.figures(job.spec.spec, records)}


def test_the_set_is_an_ordinary_data_set_that_a_spec_can_name(outcome, place):
    job, _, summary = outcome()
    manifest = job.data.adversarial.recipe.folder / "manifest.yaml"
    again = open_dataset(load_manifest(str(manifest)))
    assert all(sample.target not in (None, sample.label) for sample in again.samples)
    begin = SPEC.index("adversarial:")
    given = outcome(text=SPEC[:begin] + f"adversarial_data: {manifest}\n")
    assert given[2].metrics == summary.metrics


def test_the_key_covers_both_sets_and_the_hierarchy(outcome, place):
    key = outcome()[0].key
    assert outcome(text=SPEC.replace("near.json", "flat"))[0].key != key
    assert outcome(text=SPEC.replace("1/10", "1/9"))[0].key != key


@pytest.mark.parametrize("task", [name for name in shipped_specs() if name.startswith("consistency/")])
def test_shipped_specs_are_valid(task):
    assert load_spec(task).spec.family == "consistency"


def test_records_csv_has_a_row_a_neuron(outcome):
    from assay.results.tables import csv_text

    job, records, _ = outcome()
    rows = list(csv.DictReader(io.StringIO(csv_text(TASK.record_columns, table(job, records)))))
    assert len(rows) == 4
    assert list(rows[0]) == [
        "layer",
        "neuron",
        "consis",
        "consis_adv",
        "floor",
        "floor_adv",
        "top_class",
        "error",
    ]
