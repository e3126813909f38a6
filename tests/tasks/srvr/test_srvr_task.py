"""The family as the runner sees it: rows are units, maps follow from rows, regions from maps; and planted faults."""

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import yaml

from assay.errors import UserError
from assay.specs import shipped_specs
from assay.tasks.base import clean_records
from assay.tasks.families import load_spec, read_spec
from assay.tasks.srvr import evaluate, reference
from assay.tasks.srvr.camera import place
from assay.tasks.srvr.domain import VIEW_DOMAIN
from assay.tasks.srvr.regions import RegionSettings, grow_regions
from assay.tasks.srvr.scores import NetworkScores
from assay.tasks.srvr.study import study, view_maps
from assay.tasks.srvr.task import TASK
from opened_jobs import JobRequest, open_job, run_units
from views_models import Brightness

MANIFEST = {
    "schema": 1,
    "kind": "shapes",
    "name": "three",
    "title": "three shapes",
    "label_space": "imagenet-1k",
    "num_classes": 1000,
    "licence": "ours",
    "source": "code",
    "get": "nothing to get",
    "layout": {"type": "embedded", "shapes": ["mug", "vase", "chair"]},
    "files": "unlisted",
}
SPEC = {
    "schema": 1,
    "family": "srvr",
    "title": "t",
    "data": "three.yaml",
    "parameters": [
        {"name": "azimuth_deg", "low": 0, "high": 360, "step": 60},
        {"name": "elevation_deg", "low": -10, "high": 90, "step": 50},
    ],
    "methods": [{"method": "naive", "steps": 40}, {"method": "OIR_B", "steps": 40}],
    "initial": [[130, 30], [50, 20]],
}


@pytest.fixture(scope="session")
def spec_of(tmp_path_factory):
    """Write a spec with changes beside its manifest; gives its path."""
    folder = tmp_path_factory.mktemp("srvr")
    (folder / "three.yaml").write_text(yaml.safe_dump(MANIFEST))

    def write(**changes):
        text = yaml.safe_dump(SPEC | changes)
        path = folder / f"t{abs(hash(text))}.yaml"
        path.write_text(text)
        return str(path)

    return write


@pytest.fixture(scope="session")
def outcome(spec_of):
    """Job and records of a factory of ``views_models``, by its name and the spec's changes as JSON."""

    @cache
    def run(factory="brightness", changes="{}", batch_size=16):
        job = open_job(
            JobRequest(f"views_models:{factory}", spec_of(**json.loads(changes)), batch_size=batch_size)
        )
        chunks = [run_units(job, job.chunk(index), lambda _n: None) for index in range(job.chunk_count)]
        return job, [record for chunk in chunks for record in chunk]

    return run


def metrics(job, records):
    return {m.name: m for m in TASK.summarise(job.spec.spec, clean_records(records)).metrics}


def guards(job, records):
    return {g.name: g for g in TASK.summarise(job.spec.spec, clean_records(records)).guards}


def planted(records, **checks):
    """The records with a guard's figure of the first one altered: what a defect would leave there."""
    values = dict(records[0].values)
    values |= {"checks": values["checks"] | checks}
    return [replace(records[0], values=values), *records[1:]]


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
        evaluate.Studio(job.spec.spec, job.model, None).settings,
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
    assert found["srvr"].ci_low <= found["srvr"].value <= found["srvr"].ci_high
    assert {"srvr:naive", "srvr:OIR_B", "srvr:class:mug", "adversarial_volume", "mean_nsm"} <= set(found)
    assert "srvr:class:vase" not in found
    assert found["shapes_recognised"].n == 3


def test_the_acceptance_rule_says_who_passes(outcome):
    job, records = outcome()
    low = [
        replace(r, values={**r.values, "scores": [0.01] * 6}) if r.unit_id[:3] == "mug" else r
        for r in records
    ]
    guard = guards(job, low)["acceptance"]
    assert "do not: mug (0.010)" in guard.detail
    assert guard.passed


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
        names = [figure.name for figure in TASK.figures(job.spec.spec, records)]
        assert "profiles" in names
        assert "bounds-map" in names


def test_regions_can_grow_on_the_network_itself_beside_its_map(outcome):
    changes = {"function": "network", "network_shapes": ["mug"], "adversarial": True, "initial": [[50, 20]]}
    job, records = outcome(changes=json.dumps(changes))
    assert [unit.id for unit in job.units][9:] == [
        "mug/network-naive",
        "mug/network-OIR_B",
        "mug/network-naive-complement",
        "mug/network-OIR_B-complement",
    ]
    found = metrics(job, records)
    assert {"srvr", "srvr_network", "adversarial_volume_network", "map_network_iou"} <= set(found)
    assert found["srvr_network"].n == 1
    assert found["map_network_iou"].value > 0.3
    functions = {row["function"] for row in TASK.rows(job.spec.spec, records)}
    assert functions == {"map", "map_complement", "network", "network_complement"}
    assert "bounds-network" in [figure.name for figure in TASK.figures(job.spec.spec, records)]


def test_slopes_by_autograd_grow_regions_too(outcome):
    changes = {
        "function": "network",
        "network_shapes": ["mug"],
        "classes": ["mug"],
        "slopes": "autograd",
        "initial": [[50, 20]],
        "methods": [{"method": "OIR_W", "steps": 3}],
    }
    _, records = outcome(changes=json.dumps(changes))
    (found,) = records[-1].values["searches"]
    assert found["steps"] == 3


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


def test_a_sound_run_passes_every_guard(outcome):
    job, records = outcome()
    assert {name for name, guard in guards(job, records).items() if not guard.passed} == set()


@pytest.mark.parametrize(
    ("checks", "guard"),
    [
        ({"least_coverage": 0.0}, "render_not_empty"),
        ({"largest_saturation": 1.0}, "render_not_saturated"),
        ({"rerender_difference": 0.1}, "render_repeats"),
        ({"repeat_difference": 0.1}, "score_repeats"),
        ({"reference_difference": 0.1}, "camera_as_ever"),
    ],
)
def test_a_planted_figure_fails_its_guard(outcome, checks, guard):
    job, records = outcome()
    assert not guards(job, planted(records, **checks))[guard].passed


def test_a_network_that_answers_differently_each_time_fails_its_guard(outcome):
    job, records = outcome("noisy")
    assert not guards(job, records)["score_repeats"].passed


def test_missing_rows_leave_the_shape_out_and_say_so(outcome):
    job, records = outcome()
    found = guards(job, records[1:])["maps_complete"]
    assert (found.passed, found.value) == (False, 1)
    assert metrics(job, records[1:])["srvr"].n == 2


def test_a_score_outside_0_to_1_and_a_region_outside_the_domain_fail_their_guards(outcome, monkeypatch):
    job, records = outcome()
    values = {**records[0].values, "scores": [1.5, *records[0].values["scores"][1:]]}
    assert not guards(job, [replace(records[0], values=values), *records[1:]])["score_is_probability"].passed
    monkeypatch.setattr("assay.tasks.srvr.regions._project", lambda bounds, _domain, _half_width: bounds)
    spec = job.spec.spec.model_copy(update={"methods": read_spec_methods("OIR_W", steps=300)})
    bright = [replace(r, values={**r.values, "scores": [1.0] * 6}) for r in records]
    found = {guard.name: guard for guard in TASK.summarise(spec, bright).guards}
    assert not found["regions_inside_the_domain"].passed


def read_spec_methods(method, **changes):
    from assay.tasks.srvr.spec import MethodSpec

    return (MethodSpec(method=method, **changes),)


@pytest.mark.parametrize("fault", ["mirrored", "tilted", "unlit"])
def test_a_camera_that_changed_fails_the_reference_view(monkeypatch, fault):
    def broken(names, values):
        placement = place(names, values)
        changes = {
            "mirrored": {"azimuth_deg": -placement.azimuth_deg},
            "tilted": {"elevation_deg": placement.elevation_deg + 3},
            "unlit": {"light_elevation_deg": placement.light_elevation_deg - 90},
        }
        return replace(placement, **changes[fault])

    monkeypatch.setattr(reference, "place", broken)
    reference.reference_difference.cache_clear()
    try:
        assert reference.reference_difference(evaluate.render, "cpu") > 0.01
    finally:
        reference.reference_difference.cache_clear()


def test_nan_logits_are_the_error_of_their_row_and_no_score(outcome):
    job, records = outcome("nan_on_large_objects")
    failed = [record for record in records if record.error]
    assert failed
    assert all("NaN" in record.error for record in failed)
    assert sum("error" in row for row in TASK.rows(job.spec.spec, records)) == len(failed)


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


BAD_SPECS = {
    "a step that divides nothing": (
        {"parameters": [{"name": "azimuth_deg", "low": 0, "high": 360, "step": 7}], "initial": [[5]]},
        "step 7 does not divide",
    ),
    "a point outside": ({"initial": [[400, 0]]}, r"initial point \(400, 0\): outside the domain"),
    "a point of another dimension": ({"initial": [[40]]}, "outside the domain"),
    "an unknown parameter": (
        {"parameters": [{"name": "zoom", "low": 0, "high": 1, "step": 1}], "initial": [[0]]},
        "choose from azimuth_deg",
    ),
    "a camera inside": (
        {"parameters": [{"name": "distance", "low": 1, "high": 3, "step": 1}], "initial": [[2]]},
        "inside the object",
    ),
    "an unknown method": ({"methods": [{"method": "OIR"}]}, "choose from naive, OIR_B"),
    "a method twice": ({"methods": [{"method": "naive"}] * 2}, "given twice"),
    "shapes of no search": ({"network_shapes": ["mug"]}, "needs `function: network`"),
    "an unknown class": ({"classes": ["teapot"]}, "has no class 'teapot'; choose from chair, mug, vase"),
    "an unknown shape": ({"excluded": ["teapot"]}, "has no shape 'teapot'"),
    "unknown data": ({"data": "none.yaml"}, "cannot be read"),
    "a grid above the domain": (
        {
            "parameters": [{"name": "elevation_deg", "low": 0, "high": 90, "last": 95, "step": 5}],
            "initial": [[5]],
        },
        "lies above `high`",
    ),
}


@pytest.mark.parametrize("case", BAD_SPECS)
def test_a_bad_spec_is_one_clear_error(spec_of, case):
    changes, complaint = BAD_SPECS[case]
    with pytest.raises(UserError, match=complaint):
        open_job(JobRequest("views_models:brightness", spec_of(**changes)))


def test_elevation_90_is_as_good_as_any(outcome):
    _, records = outcome()
    top = [record for record in records if record.values["fixed"] == [90.0]]
    assert len(top) == 3
    assert all(np.isfinite(record.values["scores"]).all() for record in top)


def test_what_does_not_fit_is_not_applicable(spec_of):
    assert "1 x 32 x 32" in open_job(JobRequest("views_models:grey", spec_of())).not_applicable
    digits = open_job(JobRequest("digits_models:linear", spec_of()))
    assert digits.not_applicable


def test_pytorch3d_is_skipped_with_its_reason(spec_of):
    from assay.tasks.srvr.pytorch3d_backend import pytorch3d_problem

    job = open_job(JobRequest("views_models:brightness", spec_of(renderer="pytorch3d")))
    assert job.not_applicable == pytorch3d_problem()


def test_the_shipped_specs_are_valid_and_keep_no_render_that_a_licence_forbids():
    tasks = [task for task in shipped_specs() if task.startswith("srvr/")]
    assert set(tasks) == {
        "srvr/embedded",
        "srvr/embedded-network",
        "srvr/shapenet10-3deg",
        "srvr/shapenet10-6deg",
    }
    for task in tasks:
        spec = load_spec(task).spec
        assert (spec.contact_views == 0) == ("shapenet" in task)
    assert [axis.count for axis in load_spec("srvr/shapenet10-3deg").spec.axes] == [120, 34]
    assert [axis.count for axis in load_spec("srvr/shapenet10-6deg").spec.axes] == [60, 17]


def test_the_key_holds_what_changes_the_answer(spec_of):
    first = read_spec_path(spec_of())
    assert read_spec_path(spec_of(memory_mb=64)).sha256 == first.sha256
    assert read_spec_path(spec_of(normalise=False)).sha256 != first.sha256
    assert read_spec_path(spec_of(initial=[[130, 31]])).sha256 != first.sha256


def read_spec_path(path):
    from pathlib import Path

    return read_spec(Path(path))


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
