"""The family as the runner sees it: rows are units, maps follow from rows, regions from maps."""

import json
from dataclasses import replace

import numpy as np
import pytest
import yaml

from assay.tasks.srvr import evaluate
from assay.tasks.srvr.domain import VIEW_DOMAIN
from assay.tasks.srvr.regions import RegionSettings, grow_regions
from assay.tasks.srvr.scores import NetworkScores
from assay.tasks.srvr.study import study, view_maps
from assay.tasks.srvr.task import TASK
from opened_jobs import JobRequest, open_job, run_units
from tasks.srvr.three_shapes import MANIFEST, SPEC, guards, metrics
from views_models import Brightness


def test_a_unit_is_a_row_of_a_map(outcome):
    job, records = outcome()
    assert [unit.id for unit in job.units][:4] == [
        "mug/row-000",
        "mug/row-001",
        "mug/row-002",
        "vase/row-000",
    ]
    assert all(len(record.values["scores"]) == 6 for record in records)
    assert json.loads(json.dumps(dict(records[0].values))) == records[0].values


def test_a_cell_is_the_network_s_probability_of_the_class_at_that_view(outcome):
    job, records = outcome()
    scores = NetworkScores(
        Brightness(),
        [evaluate._surface(shape, "cpu") for shape in job.data.shapes],
        [shape.class_index for shape in job.data.shapes],
        ("azimuth_deg", "elevation_deg"),
        [2],
        evaluate.RenderSetting(job.spec.spec, job.model, None).settings,
    )
    cell = view_maps(job.spec.spec, study(job.spec.spec, records).maps).maps[2, 1, 4]
    assert scores(np.array([0]), np.array([[[240.0, 40.0]]]))[0, 0] == pytest.approx(cell, abs=1e-6)


def test_records_do_not_depend_on_the_batch_or_the_order_of_units(outcome):
    job, records = outcome()
    _, small = outcome(batch_size=4)
    backwards = [record for unit in reversed(job.units) for record in run_units(job, [unit], lambda _n: None)]
    for one, other in ((records, small), (records, backwards[::-1])):
        for first, second in zip(one, other, strict=True):
            assert np.allclose(first.values["scores"], second.values["scores"], atol=1e-6)


def test_regions_are_those_of_the_merged_map(outcome):
    job, records = outcome()
    found = study(job.spec.spec, records)
    maps = view_maps(job.spec.spec, found.maps)
    expected = grow_regions(maps.score([1]), [[50.0, 20.0]], VIEW_DOMAIN, RegionSettings("OIR_B", steps=40))
    (search,) = [s for s in found.searches if (s.shape, s.method, s.initial[0]) == ("vase", "OIR_B", 50.0)]
    assert np.allclose(search.low, expected.low[0])
    assert np.allclose(search.high, expected.high[0])
    assert search.trace.shape == (search.steps + 1, 2, 2)


def test_the_csv_has_one_row_a_search_with_the_promised_columns(outcome):
    job, records = outcome()
    rows = list(TASK.rows(job.spec.spec, records))
    assert len(rows) == 3 * 2 * 2
    assert set(rows[0]) <= set(TASK.record_columns)
    area = (rows[0]["azimuth_high_deg"] - rows[0]["azimuth_low_deg"]) * (
        rows[0]["elevation_high_deg"] - rows[0]["elevation_low_deg"]
    )
    assert rows[0]["volume_ratio"] == pytest.approx(area / 36000)
    assert {row["function"] for row in rows} == {"map"}


def test_srvr_is_the_mean_volume_ratio_in_percent_without_the_excluded(outcome):
    job, records = outcome(changes='{"excluded": ["vase"], "adversarial": true}')
    rows = [
        row
        for row in TASK.rows(job.spec.spec, records)
        if row["function"] == "map" and row["unit_id"] != "vase"
    ]
    found = metrics(job, records)
    assert found["srvr"].value == pytest.approx(100 * np.mean([row["volume_ratio"] for row in rows]))
    assert found["srvr"].n == 2
    assert found["srvr"].ci_low is found["srvr"].ci_high is None  # two shapes tell no spread
    assert {"srvr:naive", "srvr:OIR_B", "srvr:class:mug", "adversarial_volume", "mean_nsm"} <= set(found)
    assert "srvr:class:vase" not in found
    assert found["shapes_recognised"].n == 3


def test_one_class_can_be_chosen(outcome):
    job, records = outcome(changes='{"classes": ["mug"]}')
    assert {record.values["shape"] for record in records} == {"mug"}
    assert metrics(job, records)["srvr"].ci_low is None, "one shape has no interval"


def test_raw_renders_reach_the_network_as_they_are(outcome):
    """Mean and standard deviation do not matter where the paper's convention is asked for."""
    _, plain = outcome(changes='{"normalise": false}')
    _, through = outcome("shifted", '{"normalise": false}')
    _, normalised = outcome("shifted")
    assert np.allclose(plain[0].values["scores"], through[0].values["scores"], atol=1e-6)
    assert not np.allclose(plain[0].values["scores"], normalised[0].values["scores"], atol=1e-3)


AXES = [("azimuth", "_deg"), ("elevation", "_deg"), ("distance", "")]


def test_one_and_three_parameters_work_as_two_do(outcome):
    parameters = [*SPEC["parameters"], {"name": "distance", "low": 2.5, "high": 3.5, "step": 0.5}]
    methods = [{"method": "OIR_B", "steps": 60, "half_width": 0.1}]
    for n, initial in ((1, [[130]]), (3, [[130, 30, 3]])):
        changes = {"parameters": parameters[:n], "initial": initial, "classes": ["mug"], "methods": methods}
        job, records = outcome(changes=json.dumps(changes))
        assert len(records) == (1 if n == 1 else 9)
        (search,) = study(job.spec.spec, records).searches
        assert len(search.low) == n
        assert 0 < metrics(job, records)["srvr"].value <= 100
        (row,) = TASK.rows(job.spec.spec, records)
        low = [row[f"{axis}_low{unit}"] for axis, unit in AXES[:n]]
        assert low == pytest.approx(search.low)
        assert [row[f"initial_{axis}{unit}"] for axis, unit in AXES[:n]] == initial[0]
        names = [figure.name for figure in TASK.figures(job.spec.spec, records)]
        assert "profiles" in names
        assert "bounds-map" in names


def test_every_picture_has_its_numbers(outcome):
    job, records = outcome(changes='{"contact_views": 3}')
    figures = {figure.name: figure for figure in TASK.figures(job.spec.spec, records)}
    assert set(figures) == {
        "renders",
        "map-mug",
        "map-vase",
        "map-chair",
        "dsm-all-counted-shapes",
        "profiles",
        "bounds-map",
    }
    assert all(figure.content[:4] == b"\x89PNG" for figure in figures.values())
    assert "naive" in figures["map-mug"].caption
    assert sum(bool(record.files) for record in records) == 3, "one strip of renders a shape"


def test_no_render_is_kept_unless_the_spec_says_so(outcome):
    _, records = outcome()
    assert not any(record.files for record in records)


def test_a_bad_mesh_is_the_error_of_its_rows_alone(spec_of, tmp_path):
    meshes = {
        "good": "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nf 1 2 3\nf 1 2 4\nf 1 3 4\nf 2 3 4\n",
        "no_faces": "v 0 0 0\nv 1 0 0\nv 0 1 0\n",
        "nan": "v nan 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n",
        "no_extent": "v 1 1 1\nv 1 1 1\nv 1 1 1\nf 1 2 3\n",
        "no_texture": "mtllib none.mtl\nusemtl none\nv 0 0 0\nv 1 0 0\nv 0 1 1\nvt 0 0\nf 1/1 2/1 3/1\n",
    }
    (tmp_path / "chair").mkdir()
    for name, text in meshes.items():
        (tmp_path / "chair" / f"{name}.obj").write_text(text)
    layout = {"type": "mesh-folder", "class_in": "folder", "labels": {"chair": 559}}
    (tmp_path / "meshes.yaml").write_text(yaml.safe_dump(MANIFEST | {"layout": layout}))
    job = open_job(JobRequest("views_models:brightness", spec_of(data=str(tmp_path / "meshes.yaml"))))
    records = [record for unit in job.units for record in run_units(job, [unit], lambda _n: None)]
    errors = {record.unit_id.split("/")[1]: record.error for record in records if record.error}
    assert set(errors) == {"no_faces", "nan", "no_extent"}
    assert "no faces" in errors["no_faces"]
    assert "NaN or infinite" in errors["nan"]
    assert "zero area" in errors["no_extent"]


def test_elevation_90_is_as_good_as_any(outcome):
    _, records = outcome()
    top = [record for record in records if record.values["fixed"] == [90.0]]
    assert len(top) == 3
    assert all(np.isfinite(record.values["scores"]).all() for record in top)


def test_lite0_on_a_tiny_grid_end_to_end(spec_of):
    """The real network: it takes the mug for one, and the figures are those of its scores."""
    job = open_job(JobRequest("efficientnet_lite0", spec_of(classes=["mug"], methods=[{"method": "OIR_W"}])))
    records = [record for unit in job.units for record in run_units(job, [unit], lambda _n: None)]
    assert not any(record.error for record in records)
    scores = np.array([record.values["scores"] for record in records])
    found = metrics(job, records)
    assert found["mean_nsm"].value == pytest.approx(scores.mean())
    assert found["shapes_recognised"].value == 1
    assert found["srvr"].value > 1
    assert all(guard.passed for guard in guards(job, records).values())


def test_every_trap_is_listed_with_its_area_and_depth(outcome):
    job, records = outcome(changes='{"classes": ["mug"]}')
    scores = np.full((3, 6), 0.8)
    scores[1, 2] = 0.1
    scores[1, 4:] = 0.02
    trapped = [
        replace(record, values={**record.values, "scores": row.tolist()})
        for record, row in zip(records, scores, strict=True)
    ]
    found = {name: metric.value for name, metric in metrics(job, trapped).items() if "trap" in name}
    assert found == {
        "traps": 2,
        "trap_area:mug:120,40": 60 * 50,
        "trap_depth:mug:120,40": pytest.approx(0.7),
        "trap_area:mug:240,40": 2 * 60 * 50,
        "trap_depth:mug:240,40": pytest.approx(0.78),
    }
    (figure,) = [each for each in TASK.figures(job.spec.spec, trapped) if each.name == "map-mug"]
    assert "2 traps: azimuth 240°, elevation 40° (6000 deg², depth 0.78" in figure.caption
    assert "azimuth 120°, elevation 40° (3000 deg²" in figure.caption


@pytest.mark.parametrize("verb", ["run", "plan"])
def test_a_network_that_does_not_take_the_renders_size_is_refused_before_any_unit(
    assay, spec_of, tmp_path, verb
):
    chosen = ("--model", "views_models:one_size", "--task", spec_of(image_size=48), "--out", tmp_path / "o")
    code, _, errors = assay(verb, *chosen)
    assert (code, errors.count("\n")) == (2, 1)
    assert "`image_size` of the task: model views_models:one_size does not take renders of 48 x 48" in errors
    assert "leave it out, and they have the network's own 32 x 32" in errors
    assert not (tmp_path / "o").exists()


def test_a_network_that_takes_any_size_takes_the_spec_s(outcome):
    job, records = outcome(changes='{"image_size": 48, "classes": ["mug"]}')
    job.check()
    assert all(record.error is None for record in records)
