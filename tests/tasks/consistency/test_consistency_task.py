"""The consistency family through the whole task, on networks whose neurons are known."""

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from assay.cli import main
from assay.data.dataset import open_dataset
from assay.data.manifest import load_manifest
from assay.errors import UserError
from assay.specs import shipped_specs
from assay.tasks.base import Record
from assay.tasks.consistency.blocks import BLOCK_IMAGES, KINDS
from assay.tasks.consistency.scores import Scoring
from assay.tasks.consistency.task import TASK
from assay.tasks.families import load_spec
from opened_jobs import JobRequest, open_job, run_units

PER_CLASS = 40
MODELS = "tasks.consistency.colour_models"
MANIFEST = """schema: 1
name: colours
title: one bright pixel
label_space: colours
num_classes: 3
licence: none
source: drawn by the tests
get: run the tests
location: {folder: pictures}
layout: {type: folder-per-class, classes: [red, green, blue]}
files: unlisted
"""
SPEC = """schema: 1
family: consistency
title: t
data: colours.yaml
hierarchy: near.json
adversarial: {ensemble: ["MODELS:detectors", "MODELS:sharper_detectors"], targets: 1, steps: 6, step_size: 1/10}
""".replace("MODELS", MODELS)
HIERARCHY = {
    "name": "near",
    "classes": ["red", "green", "blue"],
    "nodes": {
        "all": {"name": "all", "parents": []},
        "warm": {"name": "warm", "parents": ["all"]},
        "red": {"name": "red", "parents": ["warm"]},
        "green": {"name": "green", "parents": ["warm"]},
        "blue": {"name": "blue", "parents": ["all"]},
    },
}


def draw(folder, per_class=PER_CLASS):
    """Pictures of the three classes; the bright pixel and the ground get brighter within a class."""
    for colour, name in enumerate(("red", "green", "blue")):
        (folder / "pictures" / name).mkdir(parents=True)
        for index in range(per_class):
            pixels = np.full((8, 8, 3), 10 + index, np.uint8)
            pixels[index % 8, (index // 8) % 8, colour] = 100 + 3 * index + colour
            Image.fromarray(pixels).save(folder / "pictures" / name / f"{index:02d}.png")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("colours")
    draw(folder)
    (folder / "colours.yaml").write_text(MANIFEST)
    (folder / "near.json").write_text(json.dumps(HIERARCHY))
    (folder / "t.yaml").write_text(SPEC)
    return folder


@pytest.fixture(scope="module")
def outcome(place):
    """Job and records of one of the models, and its summary."""
    found = {}

    def run(model="detectors", text=SPEC, batch_size=16):
        key = model, text, batch_size
        if key not in found:
            path = place / "t.yaml"
            path.write_text(text)
            job = open_job(JobRequest(f"{MODELS}:{model}", str(path), batch_size=batch_size))
            records = [
                record
                for chunk in range(job.chunk_count)
                for record in run_units(job, job.chunk(chunk), lambda _units: None)
            ]
            clean = [record for record in records if record.error is None]
            found[key] = job, records, TASK.summarise(job.spec.spec, clean) if clean else None
        return found[key]

    return run


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
    assert again.metrics == summary.metrics


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


def ready(place, model, text=SPEC):
    (place / "t.yaml").write_text(text)
    return open_job(JobRequest(f"{MODELS}:{model}", str(place / "t.yaml")))


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache; gives how many adversarial images are in it."""
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path / "cache"))
    return lambda: len(list((tmp_path / "cache").glob("products/*/images/*.png")))


@pytest.fixture
def assay(place, capsys, cache, tmp_path):
    """Run the command line on a spec of this text; gives exit code, standard output and standard error."""

    def run(verb, model, *options, text=SPEC):
        (place / "t.yaml").write_text(text)
        words = [verb, "--task", place / "t.yaml", "--model", f"{MODELS}:{model}", *options]
        with pytest.raises(SystemExit) as caught:
            main([str(word) for word in words])
        return caught.value.code, *capsys.readouterr()

    return run


def test_a_network_without_convolution_is_not_applicable_and_nothing_is_made_for_it(assay, cache, tmp_path):
    code, _, err = assay("run", "no_convolution", "--out", tmp_path / "o")
    assert code == 0
    assert "not applicable: the network has no convolution over a spatial map" in err
    assert cache() == 0


@pytest.mark.parametrize("verb", ["run", "plan"])
def test_a_layer_that_does_not_exist_is_told_before_any_work(assay, cache, tmp_path, verb):
    out = tmp_path / "o"
    code, _, err = assay(verb, "saturated", "--out", out, text=SPEC + "layers: [net.0, net.00]\n")
    assert code == 2
    assert err.count("\n") == 1
    assert "the model has no layer 'net.00'; nearest: net.0" in err
    assert cache() == 0
    assert not out.exists()


def test_a_plan_makes_no_image(assay, cache):
    assert assay("plan", "detectors", "--calibrate", "0")[0] == 0
    assert cache() == 0


def test_a_limit_makes_only_the_images_that_it_needs(assay, cache, tmp_path):
    code, _, err = assay("run", "detectors", "--limit", "2", "--out", tmp_path / "o", "--quiet")
    assert (code, err) == (0, "")
    assert cache() == 2 * BLOCK_IMAGES


def test_a_model_of_other_labels_makes_no_image(assay, cache, tmp_path):
    code, _, err = assay("run", "other_labels", "--out", tmp_path / "o")
    assert code == 0
    assert "not applicable" in err
    assert cache() == 0


def test_another_label_space_is_not_applicable(place):
    assert "shades" in ready(place, "other_labels").not_applicable


BAD = {
    "labels outside the hierarchy": (("near.json", "short.json"), "lie outside hierarchy near"),
    "imagenet's hierarchy for other labels": (("near.json", "imagenet"), "covers the labels of imagenet-1k"),
    "no hierarchy file": (("near.json", "none.json"), "cannot be read"),
    "members of different label spaces": (
        (f"{MODELS}:sharper_detectors", f"{MODELS}:other_labels"), "members have different label spaces"),
    "members of different channels": (
        (f"{MODELS}:sharper_detectors", f"{MODELS}:one_channel"), "choose models of one kind of image"),
    "a member that is not there": ((f"{MODELS}:sharper_detectors", "efficientnet_lit0"), "did you mean"),
    "a member twice": ((f"{MODELS}:sharper_detectors", f"{MODELS}:detectors"), "stands twice"),
    "more targets than classes": (("targets: 1", "targets: 2"), "give `targets` from 1 to 1"),
    "no targets given": (("targets: 1", "targets: given"), "does not give every image a target"),
    "no targets": (("targets: 1", "targets: 0"), "targets"),
    "no step": (("step_size: 1/10", "step_size: 0"), "expected a step"),
    "both ways to a set": (("family", "adversarial_data: x.yaml\nfamily"), "give either `adversarial`"),
    "a headline that is not in the sweep": (("family", "headline_sigma: 3\nfamily"), "is not one of `sigmas`"),
    "a sigma of nothing": (("family", "sigmas: [0, 1]\nfamily"), "expected positive widths"),
    "a share of nothing": (("family", "top_share: 0\nfamily"), "expected a share"),
    "a layer twice": (("family", "layers: [a, a]\nfamily"), "layers: one is given twice"),
    "two images": (("colours.yaml", "few.yaml"), "at least 3 images"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_told_before_any_work(place, case):
    (old, new), complaint = BAD[case]
    (place / "short.json").write_text(json.dumps(HIERARCHY | {"classes": ["red", "green"]}))
    (place / "few.yaml").write_text(
        MANIFEST.replace("pictures", "few").replace("num_classes: 3", "num_classes: 1").replace(
            "[red, green, blue]", "[red]")
    )  # fmt: skip
    (place / "few" / "red").mkdir(parents=True, exist_ok=True)
    (place / "few" / "red" / "a.png").write_bytes((place / "pictures" / "red" / "00.png").read_bytes())
    with pytest.raises(UserError, match=complaint):
        ready(place, "detectors", SPEC.replace(old, new))


def test_the_set_is_an_ordinary_data_set_that_a_spec_can_name(outcome, place):
    job, _, summary = outcome()
    manifest = job.data.adversarial.recipe.folder / "manifest.yaml"
    again = open_dataset(load_manifest(str(manifest)))
    assert all(sample.target not in (None, sample.label) for sample in again.samples)
    begin = SPEC.index("adversarial:")
    given = outcome(text=SPEC[:begin] + f"adversarial_data: {manifest}\n")
    assert given[2].metrics == summary.metrics


def test_a_set_of_other_images_is_refused(outcome, place, tmp_path):
    manifest = outcome()[0].data.adversarial.recipe.folder / "manifest.yaml"
    begin = SPEC.index("adversarial:")
    (place / "less.yaml").write_text(MANIFEST.replace("pictures", "less").replace("colours", "less"))
    if not (place / "less").exists():
        draw(tmp_path, 5)
        (tmp_path / "pictures").rename(place / "less")
    text = SPEC[:begin].replace("colours.yaml", "less.yaml") + f"adversarial_data: {manifest}\n"
    with pytest.raises(UserError, match="stem from sources"):
        ready(place, "detectors", text)


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
