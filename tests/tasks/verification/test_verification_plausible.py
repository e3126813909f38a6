"""The guard on clean accuracy over verified images, each of which counts once."""

import pytest

from opened_jobs import JobRequest, open_job, run_units
from plausible_guard import plausible_guard
from small_training import load_digits_fnn

SPEC = """schema: 1
family: verification
title: t
data: digits
images: 8
combinations: [["brightness:0:0.01"], ["brightness:-0.01:0"]]
deltas: [1]
labels: predicted
timeout_s: 20
"""


def read_wrongly():
    """The digits network behind another network's normalisation."""
    return load_digits_fnn(), {"crop": (8, 8), "mean": (5.0,), "std": (0.2,), "label_space": "digits"}


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    def run(model):
        path = tmp_path_factory.mktemp("verification") / "v.yaml"
        path.write_text(SPEC)
        job = open_job(JobRequest(model, str(path)))
        return job, [
            record
            for index in range(job.chunk_count)
            for record in run_units(job, job.chunk(index), lambda _units: None)
        ]

    return run


def test_each_reason_fails_it(outcome):
    job, records = outcome("digits_fnn")
    sound = plausible_guard(job, records)
    assert (sound.passed, sound.value) == (True, 7 / 8)
    assert "of 8 images" in sound.detail  # and not of 16 units
    missed = [
        type(record)(
            record.unit_id, {**record.values, "label": 9 if number < 8 else record.values["predicted"]}
        )
        for number, record in enumerate(records)
    ]
    guard = plausible_guard(job, missed, stated=0.98, n=10_000)
    assert not guard.passed
    assert (
        "lies wholly below what the card states, 98 % on held-out (10000 images); `assay doctor"
        in guard.detail
    )


def test_a_network_that_gets_its_pictures_wrongly_reaches_chance(outcome):
    job, records = outcome(f"{__name__}:read_wrongly")
    guard = plausible_guard(job, records)
    assert not guard.passed
    assert "reaches down to chance, 10 %; `assay doctor" in guard.detail
