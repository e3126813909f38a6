"""Renders that are corrupted before the network sees them, where the spec says so."""

import io
import json

import numpy as np
import pytest
import torch
from PIL import Image

from assay.common.errors import UserError
from assay.data.corrupting.corrupt import corrupt
from assay.data.corrupting.level import Level, picture_seed
from assay.tasks.srvr.camera import camera, place
from assay.tasks.srvr.evaluate import RenderSetting, _row_points
from assay.tasks.srvr.render import Surface, render
from opened_jobs import JobRequest, open_job
from tasks.srvr.three_shapes import guards, metrics, planted

NOISE = {"kind": "gaussian_noise", "severity": 3, "settings": "imagenet-c"}


def changes(**corruption):
    return json.dumps({"corruption": NOISE | corruption, "contact_views": 3})


def test_the_network_sees_the_renders_corrupted_by_a_seed_of_each_view(outcome):
    job, records = outcome(changes=changes())
    record, unit = records[0], job.units[0]
    shape, points = unit.payload.shape, _row_points(job.spec.spec, 0)
    studio = RenderSetting(job.spec.spec, job.model, None)
    camera_there = camera(place(studio.spec.names, points))
    renders = render(Surface.from_mesh(shape.mesh()), camera_there, studio.settings)
    level = Level("gaussian_noise", 3, "imagenet-c", 0)
    for drawn, point, score in zip(renders, points.tolist(), record.values["scores"], strict=True):
        name = f"{shape.id}@{','.join(f'{value:.6g}' for value in point)}"
        pixels = (drawn.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
        random = np.random.default_rng(picture_seed(level, name))
        seen = corrupt(pixels, "gaussian_noise", 3, "imagenet-c", random)
        image = torch.from_numpy(seen.astype(np.float32)).permute(2, 0, 1)[None] / 255
        assert score == pytest.approx(
            job.model.module(image).double().softmax(1)[0, shape.class_index].item()
        )


def test_corrupted_renders_fail_no_guard_and_neither_batch_nor_order_matters(outcome):
    job, records = outcome(changes=changes())
    assert {name for name, guard in guards(job, records).items() if not guard.passed} == set()
    _, others = outcome(changes=changes(), batch_size=4)
    assert [record.values["scores"] for record in records] == [
        pytest.approx(record.values["scores"]) for record in others
    ]


def test_the_checks_on_renders_are_of_the_clean_ones(outcome):
    """Noise would hide an empty render: its pixels are not black."""
    (_, clean), (_, noisy) = outcome(), outcome(changes=changes())
    for one, other in zip(clean, noisy, strict=True):
        for check in ("least_coverage", "largest_saturation", "reference_difference"):
            assert one.values["checks"][check] == other.values["checks"][check]
        assert "least_change" not in one.values["checks"]
        assert other.values["checks"]["least_change"] > 0.01


def test_the_corruption_is_in_the_key_and_changes_the_figures(outcome):
    (clean, records), (noisy, others) = outcome(), outcome(changes=changes())
    other_seed, _ = outcome(changes=changes(seed=1))
    assert len({clean.key, noisy.key, other_seed.key}) == 3
    assert metrics(clean, records)["mean_nsm"].value != metrics(noisy, others)["mean_nsm"].value
    assert "corruption" not in clean.spec.spec.identity()


def test_the_page_shows_what_the_network_saw(outcome):
    _, records = outcome(changes=changes())
    (sheet,) = {name: data for record in records[:3] for name, data in record.files.items()}.values()
    with Image.open(io.BytesIO(sheet)) as strip:
        corners = np.asarray(strip)[:20, :20]
    assert corners.std() > 5  # a clean render is black there


def test_a_corruption_that_leaves_renders_as_they_were_fails_its_guard(outcome):
    job, records = outcome(changes=changes())
    assert not guards(job, planted(records, least_change=0.0))["corruption_changes_renders"].passed


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"corruption": {"kind": "fgo", "severity": 3}}, "unknown corruption 'fgo'; did you mean fog?"),
        ({"corruption": {"kind": "fog", "severity": 6}}, "expected a whole number from 1 to 5, found 6"),
        (
            {"corruption": {"kind": "saturate", "severity": 1}},
            "saturate changes no grey picture, and renders",
        ),
        ({"corruption": NOISE, "function": "network"}, "regions grow on maps alone; write `function: map`"),
        ({"corruption": NOISE, "image_size": 16}, "needs pictures of 32 x 32 pixels, renders are of 16 x 16"),
    ],
)
def test_a_corruption_that_cannot_be_is_one_sentence(spec_of, fields, complaint):
    with pytest.raises(UserError) as error:
        _ = open_job(JobRequest("views_models:brightness", spec_of(**fields))).not_applicable
    assert complaint in str(error.value)
    assert "\n" not in str(error.value)
