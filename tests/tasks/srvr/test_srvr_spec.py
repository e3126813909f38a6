"""Specs of the family: what is wrong is said before any work, and what does not fit is not applicable."""

import math
from pathlib import Path

import pytest

from assay.common.errors import UserError
from assay.tasks.families import load_spec, read_spec
from assay.tasks.task_spec import shipped_specs
from opened_jobs import JobRequest, open_job

BAD_SPECS = {
    "a step that divides nothing": (
        {"parameters": [{"name": "azimuth_deg", "low": 0, "high": 360, "step": 7}], "initial": [[5]]},
        "step 7 does not divide",
    ),
    "a step of millionths": (
        {"parameters": [{"name": "azimuth_deg", "low": 0, "high": 360, "step": 1e-6}], "initial": [[5]]},
        "makes 360,000,000 cells",
    ),
    "an end that is no number": (
        {"parameters": [{"name": "azimuth_deg", "low": math.nan, "high": 360, "step": 60}], "initial": [[5]]},
        r"parameters\.0\.low.*finite",
    ),
    "an endless domain": (
        {"parameters": [{"name": "azimuth_deg", "low": 0, "high": math.inf, "step": 60}], "initial": [[5]]},
        r"parameters\.0\.high.*finite",
    ),
    "an endless step": (
        {"parameters": [{"name": "azimuth_deg", "low": 0, "high": 360, "step": math.inf}], "initial": [[5]]},
        r"parameters\.0\.step.*finite",
    ),
    "a point outside": ({"initial": [[400, 0]]}, r"initial point \(400, 0\): outside the domain"),
    "a point of another dimension": ({"initial": [[40]]}, "it needs 2 coordinates"),
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
    "slopes of no network": ({"slopes": "autograd"}, "needs `function: network`"),
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


def test_what_does_not_fit_is_not_applicable(spec_of):
    assert "1 x 32 x 32" in open_job(JobRequest("views_models:grey", spec_of())).not_applicable
    digits = open_job(JobRequest("digits_models:linear", spec_of()))
    assert digits.not_applicable


def test_pytorch3d_is_skipped_with_its_reason(spec_of, monkeypatch):
    problem = "assay.tasks.srvr.pytorch3d_backend.pytorch3d_problem"
    request = JobRequest("views_models:brightness", spec_of(renderer="pytorch3d"))
    monkeypatch.setattr(problem, lambda: "no build here")
    assert open_job(request).not_applicable == "no build here"
    monkeypatch.setattr(problem, lambda: None)
    assert open_job(request).not_applicable is None


def test_the_shipped_specs_are_valid_and_keep_no_render_that_a_licence_forbids():
    tasks = [task for task in shipped_specs() if task.startswith("srvr/")]
    assert set(tasks) == {
        "srvr/embedded",
        "srvr/embedded-network",
        "srvr/embedded-network-quick",
        "srvr/shapenet10-3deg",
        "srvr/shapenet10-6deg",
    }
    for task in tasks:
        spec = load_spec(task).spec
        assert (spec.contact_views == 0) == ("shapenet" in task)
    assert [axis.count for axis in load_spec("srvr/shapenet10-3deg").spec.axes] == [120, 34]
    assert [axis.count for axis in load_spec("srvr/shapenet10-6deg").spec.axes] == [60, 17]


def test_the_key_holds_what_changes_the_answer(spec_of):
    first = read_spec(Path(spec_of()))
    assert read_spec(Path(spec_of(memory_mb=64))).sha256 == first.sha256
    assert read_spec(Path(spec_of(normalise=False))).sha256 != first.sha256
    assert read_spec(Path(spec_of(initial=[[130, 31]]))).sha256 != first.sha256
