"""What could make the figures a lie fails its guard: planted faults."""

from dataclasses import replace

import pytest

from assay.tasks.srvr import evaluate, reference
from assay.tasks.srvr.camera import place
from assay.tasks.srvr.spec import MethodSpec
from assay.tasks.srvr.task import TASK
from plausible_guard import plausible_guard
from tasks.srvr.three_shapes import guards, metrics, planted


def test_the_acceptance_rule_says_who_passes(outcome):
    job, records = outcome()
    low = [
        replace(r, values={**r.values, "scores": [0.01] * 6}) if r.unit_id[:3] == "mug" else r
        for r in records
    ]
    guard = guards(job, low)["acceptance"]
    assert "do not: mug (0.010)" in guard.detail
    assert guard.passed


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
    spec = job.spec.spec.model_copy(update={"methods": (MethodSpec(method="OIR_W", steps=300),)})
    bright = [replace(r, values={**r.values, "scores": [1.0] * 6}) for r in records]
    found = {guard.name: guard for guard in TASK.summarise(spec, bright).guards}
    assert not found["regions_inside_the_domain"].passed


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


def test_a_network_that_knows_no_shape_better_than_chance_is_told(outcome):
    sound = plausible_guard(*outcome())
    assert sound.passed
    assert "over 3 shapes; chance 0.1 %" in sound.detail
    guard = plausible_guard(*outcome("read_wrongly"))
    assert not guard.passed
    assert "reaches down to chance, 0.1 %; `assay doctor" in guard.detail


def test_renders_are_not_the_images_of_a_stated_accuracy(outcome):
    assert plausible_guard(*outcome(), stated=0.999, n=50_000).passed
