"""Each way in which the figures could be a lie, planted, and the guard that finds it."""

import numpy as np
import pytest

from assay.data.corrupting import level
from assay.data.corrupting.corrupt import corrupt
from assay.tasks.base import Record
from assay.tasks.corruptions import pictures
from assay.tasks.corruptions.task import TASK
from assay.tasks.shared.plausible import ExpectedAccuracy


def failed(found):
    return {name for name, guard in found.guards.items() if not guard.passed}


def planted(monkeypatch, change):
    """Every corrupted picture is made by ``change`` instead, which gets the arguments of ``corrupt``."""
    pictures._LATEST._found.clear()
    monkeypatch.setattr(level, "corrupt", change)


def test_an_honest_run_fails_no_guard(run_digits):
    assert failed(run_digits()) == set()


def test_severity_0_that_is_not_clean(run_digits, monkeypatch):
    planted(
        monkeypatch, lambda picture, name, severity, *rest: corrupt(picture, name, max(severity, 1), *rest)
    )
    assert "severity_0_is_clean" in failed(run_digits())


def test_a_corruption_that_changes_nothing(run_digits, monkeypatch):
    def idle(picture, name, severity, *rest):
        return picture if name == "contrast" else corrupt(picture, name, severity, *rest)

    planted(monkeypatch, idle)
    found = run_digits()
    assert failed(found) == {"corruptions_change_pictures"}
    assert "contrast at severity 1" in found.guards["corruptions_change_pictures"].detail


def test_pixels_outside_the_range(run_digits, monkeypatch):
    def bright(picture, *rest):
        return corrupt(picture, *rest).astype(np.float32) + 5

    planted(monkeypatch, bright)
    assert "pixels_in_range" in failed(run_digits())


def test_severities_in_the_wrong_order(run_digits, monkeypatch):
    def reversed_order(picture, name, severity, *rest):
        return corrupt(picture, name, 6 - severity if severity else 0, *rest)

    planted(monkeypatch, reversed_order)
    found = run_digits(limit=100, lines="corruptions: [contrast, defocus_blur]\nsettings: cifar-10-c")
    assert failed(found) == {"accuracy_falls_with_severity"}


def test_a_seed_that_does_not_repeat(run_digits, monkeypatch):
    stream = np.random.default_rng(0)
    planted(monkeypatch, lambda *arguments: corrupt(*arguments[:-1], stream))
    assert failed(run_digits()) == {"seed_repeats"}


def test_a_seed_that_does_not_matter(run_digits, monkeypatch):
    planted(monkeypatch, lambda *arguments: corrupt(*arguments[:-1], np.random.default_rng(0)))
    assert failed(run_digits()) == {"seed_matters"}


def test_a_network_whose_answer_depends_on_its_batch(run_digits):
    assert "alone_agrees" in failed(run_digits(model="digits_models:batch_statistics"))


def test_a_network_whose_clean_answers_are_chance(run_digits):
    found = run_digits(model="digits_models:constant", limit=40)
    guard = TASK.plausible(found.spec, found.records, ExpectedAccuracy(10, None, "digits"))
    assert not guard.passed


@pytest.mark.parametrize("pictures_are", ["published", "plain"])
def test_a_shift_has_no_clean_answers_to_doubt(run_digits, pictures_are):
    spec = run_digits(limit=1).spec.model_copy(update={"pictures": pictures_are})
    assert (
        TASK.plausible(spec, [Record("a", {"clean_correct": False})], ExpectedAccuracy(10, None, "digits"))
        is None
    )
