"""SRVR of calibrated scores: what changes no decision changes nothing of it, nor does the origin of azimuth."""

import json
from dataclasses import replace

import numpy as np
import pytest
import yaml
from PIL import Image

from assay.common.errors import UserError
from assay.tasks.srvr.spec import SrvrSpec
from assay.tasks.srvr.task import TASK
from opened_jobs import JobRequest, open_job, run_units
from tasks.srvr.three_shapes import MANIFEST, SPEC, guards, metrics

PICTURES = {
    "schema": 1, "name": "greys", "title": "grey pictures", "label_space": "imagenet-1k", "num_classes": 1000,
    "licence": "ours", "source": "code", "get": "nothing to get", "channels": 3, "files": "unlisted",
    "layout": {"type": "folder-per-class", "labels": {"bright": 504, "dark": 0}},
}  # fmt: skip
HEADLINE = {"labelled": "greys/greys.yaml", "periodic": ["azimuth_deg"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Shapes, and pictures that the network of brightness answers as labelled but for one."""
    folder = tmp_path_factory.mktemp("headline")
    (folder / "three.yaml").write_text(yaml.safe_dump(MANIFEST))
    (folder / "greys").mkdir()
    (folder / "greys" / "greys.yaml").write_text(yaml.safe_dump(PICTURES))
    for label, greys in (("bright", (0, 90, 120, 150, 200, 250)), ("dark", (0, 2, 5, 8, 10, 40))):
        (folder / "greys" / label).mkdir()
        for number, grey in enumerate(greys):
            Image.new("RGB", (32, 32), (grey, grey, grey)).save(folder / "greys" / label / f"{number}.png")
    return folder


def run(folder, factory="brightness", **changes):
    path = folder / "headline.yaml"
    path.write_text(yaml.safe_dump(SPEC | HEADLINE | changes))
    job = open_job(JobRequest(f"views_models:{factory}", str(path)))
    return job, [
        record for index in range(job.chunk_count) for record in run_units(job, job.chunk(index), lambda _: 0)
    ]


@pytest.fixture(scope="module")
def plain(folder):
    return run(folder)


def test_the_temperature_and_what_it_was_fitted_on_are_shown(plain):
    job, records = plain
    found = metrics(job, records)["temperature"]
    assert found.value > 0
    assert found.n == 12
    assert "10 of 12 labelled pictures" in guards(job, records)["temperature_fits"].detail
    assert all(record.values["temperature"] == records[0].values["temperature"] for record in records)


@pytest.mark.parametrize("factory", ["tiny_logits", "huge_logits", "moved_logits"])
def test_a_factor_or_a_constant_of_the_logits_changes_no_headline(folder, plain, factory):
    before, after = metrics(*plain), metrics(*run(folder, factory))
    for name in ("srvr_calibrated", "srvr_calibrated:naive", "views_recognised"):
        assert after[name].value == pytest.approx(before[name].value, rel=2e-3)
    if factory != "moved_logits":  # the paper's own figure keeps its definition, and so depends on the factor
        assert after["srvr"].value != pytest.approx(before["srvr"].value, rel=0.05)


def test_the_origin_of_azimuth_changes_no_headline(plain):
    """The same views, counted from elsewhere: rows and initial points turned by 120 degrees."""
    job, records = plain

    def turned(values, names=("scores", "calibrated", "recognised")):
        return {**values, **{name: values[name][-2:] + values[name][:-2] for name in names}}

    elsewhere = [replace(record, values=turned(record.values)) for record in records]
    spec = job.spec.spec
    moved = spec.model_copy(update={"initial": tuple(((a + 120) % 360, e) for a, e in spec.initial)})
    before, after = (
        {metric.name: metric for metric in TASK.summarise(*each).metrics}
        for each in ((spec, records), (moved, elsewhere))
    )
    assert after["srvr_calibrated"].value == pytest.approx(before["srvr_calibrated"].value, rel=1e-6)


def test_the_order_of_records_changes_nothing(plain):
    job, records = plain
    before, after = metrics(job, records), metrics(job, records[::-1])
    assert after["srvr_calibrated"].value == pytest.approx(before["srvr_calibrated"].value)


def test_views_recognised_counts_the_highest_logit(plain):
    job, records = plain
    # the mug's logit is the first of three that are equal: the others are never the highest
    found = metrics(job, records)["views_recognised"]
    shares = [np.mean([r.values["recognised"] for r in records if r.values["shape"] == shape]) for shape in
              ("mug", "vase", "chair")]  # fmt: skip
    assert found.value == pytest.approx(np.mean(shares))
    assert shares[1:] == [0, 0]


def test_a_network_that_does_not_know_the_pictures_has_no_headline_and_says_why(folder, tmp_path):
    job, records = run(folder, "read_wrongly")
    assert metrics(job, records)["srvr_calibrated"].value is None
    guard = guards(job, records)["temperature_fits"]
    assert not guard.passed
    assert "no finite temperature" in guard.detail


def test_records_of_before_are_read_without_a_headline(plain):
    job, records = plain
    new = ("recognised", "calibrated", "temperature")
    old = [
        replace(record, values={k: v for k, v in record.values.items() if k not in new}) for record in records
    ]
    assert TASK.record_values.validate_python(dict(old[0].values))
    found = metrics(job, old)
    assert found["srvr_calibrated"].value is found["views_recognised"].value is None
    assert found["srvr"].value == metrics(job, records)["srvr"].value


def test_specs_of_before_keep_their_identity_and_their_headline():
    fields = {name: value for name, value in SPEC.items() if name not in HEADLINE}
    spec = SrvrSpec.model_validate_json(json.dumps(fields))
    assert spec.headline_key == "srvr"
    assert not {"periodic", "labelled"} & set(spec.model_dump())


def test_a_parameter_that_is_no_circle_and_labels_of_others_are_refused(folder):
    with pytest.raises(UserError, match="grid of elevation_deg does not go all the way round"):
        run(folder, periodic=["elevation_deg"])
    with pytest.raises(UserError, match="labelled: the labels of digits are"):
        run(folder, labelled="digits")
