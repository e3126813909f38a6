"""Whole curves in one job: carried images, binary search, attacks in turn, and the worst case of each image."""

from fractions import Fraction
from itertools import pairwise

import pytest

from assay.data.draw import Draw

LINEAR = "digits_models:linear"
EPS = "eps: [0, 1/50, 1/20, 1/10, 1/5]"
BIM = "attacks: [{method: bim, steps: 6, step_size: 0.4 eps}]"
TWO = "attacks: [{method: fgsm}, {method: bim, steps: 6, step_size: 0.4 eps}]"


def smallest(run, series):
    return [record.values["smallest_eps"][series] for record in run.records]


@pytest.mark.parametrize("curve", ["ascending", "bisect"])
def test_a_linear_net_falls_at_the_same_eps_whatever_the_way_through_the_curve(run_digits, curve):
    # The sign of a linear model's gradient hardly moves within the ball: falling is monotone in eps.
    each = run_digits(LINEAR, f"{EPS}\n{BIM}")
    other = run_digits(LINEAR, f"{EPS}\ncurve: {curve}\n{BIM}")
    assert smallest(each, "bim") == smallest(other, "bim")


def test_an_image_that_fell_is_carried_and_costs_nothing(run_digits):
    run = run_digits(LINEAR, f"{EPS}\ncurve: ascending\n{BIM}")
    carried = [
        (before, row)
        for record in run.records
        for rows in [list(record.values["attacks"]["bim"].values())]
        for before, row in pairwise(rows)
        if row["carried"]
    ]
    assert carried
    for before, row in carried:
        assert row["steps"] == 0
        assert not row["correct"]
        assert row["distance"] == before["distance"]


def test_median_eps_is_where_half_of_the_correct_images_have_fallen(run_digits):
    run = run_digits(LINEAR, f"{EPS}\ncurve: ascending\n{BIM}")
    metric = run.metrics["bim:median_eps"]
    radii = [float(eps) for eps in run.spec.radii]
    correct = run.metrics["clean_accuracy"].value * len(run.records)
    standing = [run.metrics[f"bim:robust_accuracy@{eps}"].value * len(run.records) for eps in run.spec.radii]
    at = radii.index(metric.value)
    assert standing[at] <= correct / 2 <= standing[at - 1]
    assert metric.n == round(correct)


def test_a_net_that_stands_has_no_median(run_digits):
    run = run_digits(LINEAR, f"eps: [0, 1/5000]\n{BIM}")
    assert run.metrics["bim:median_eps"].value is None


def test_in_turn_an_attack_meets_only_what_stands_before_it(run_digits):
    alone = run_digits(LINEAR, f"{EPS}\n{TWO}")
    turn = run_digits(LINEAR, f"{EPS}\nin_turn: true\n{TWO}")
    for first, second in zip(alone.records, turn.records, strict=True):
        for eps in ("1/20", "1/10"):
            fgsm, bim = (second.values["attacks"][name][eps] for name in ("fgsm", "bim"))
            assert fgsm["correct"] == first.values["attacks"]["fgsm"][eps]["correct"]
            if second.values["clean_correct"] and not fgsm["correct"]:
                assert (bim["steps"], bim["carried"], bim["correct"]) == (0, True, False)
    for eps in turn.spec.radii:
        worst = turn.metrics[f"worst:robust_accuracy@{eps}"].value
        assert turn.metrics[f"bim:robust_accuracy@{eps}"].value == worst
        assert worst == alone.metrics[f"worst:robust_accuracy@{eps}"].value
    captions = [run.job.task.figures(run.spec, run.records)[0].caption for run in (alone, turn)]
    assert ["In turn" in caption for caption in captions] == [False, True]


def test_a_sheet_says_that_carried_images_are_shown_again(run_digits):
    captions = []
    for curve in ("each", "ascending"):
        run = run_digits(LINEAR, f"{EPS}\ncurve: {curve}\n{BIM}", draw=Draw.FIRST)
        captions.append(run.job.task.figures(run.spec, run.records)[1].caption)
    assert ["shown again" in caption for caption in captions] == [False, True]


def test_the_worst_case_has_rows_of_its_own(run_digits):
    run = run_digits(LINEAR, f"{EPS}\n{TWO}")
    rows = list(run.job.task.rows(run.spec, run.records))
    by_key = {(row["unit_id"], row["method"], row["eps"]): row for row in rows}
    for (unit, method, eps), row in by_key.items():
        if method == "worst":
            both = [by_key[unit, name, eps]["adversarial_correct"] for name in ("fgsm", "bim")]
            assert row["adversarial_correct"] == all(both)


def test_autoattack_breaks_every_image_that_is_not_proved(run_digits):
    run = run_digits(
        LINEAR,
        "eps: [0, 1/20]\nin_turn: true\ncertified: true\nattacks:\n  - {method: apgd, steps: 20}\n"
        "  - {method: apgd_t, steps: 20, restarts: 5, loss: dlr}\n  - {method: square, steps: 50, loss: margin}",
    )
    # For a linear model the proof is exact, and aiming at each class in turn finds the best move.
    attacked = run.metrics["worst:robust_accuracy@1/20"].value
    assert run.metrics["certified_accuracy@1/20"].value == pytest.approx(attacked, abs=1 / len(run.records))
    assert run.guards["proofs_hold"].passed


@pytest.mark.parametrize("turn", ["false", "true"])
def test_the_distances_that_fab_finds_make_the_curve_of_the_closed_form(run_digits, turn):
    run = run_digits(
        LINEAR,
        f"eps: [0, 1/20, 1/10]\ncurve: ascending\nin_turn: {turn}\ncertified: true\nprobe_queries: 0\n"
        "attacks: [{method: fab_t, steps: 10, restarts: 9, loss: margin}]",
    )
    for eps in ("1/20", "1/10"):
        proved = run.metrics[f"certified_accuracy@{eps}"].value
        found = run.metrics[f"fab_t:robust_accuracy@{eps}"].value
        assert found == pytest.approx(proved, abs=1 / len(run.records))
    for name in ("proofs_hold", "inside_the_ball", "successes_confirmed", "eps_zero_is_clean"):
        assert run.guards[name].passed
    if turn == "false":  # the nearest image is the same at every radius that it lies in
        both = [record.values["attacks"]["fab_t"] for record in run.records if record.values["clean_correct"]]
        early = [found for found in both if not found["1/20"]["correct"]]
        assert early
        assert all(found["1/20"]["distance"] == found["1/10"]["distance"] for found in early)
        nearest = sorted(found["1/20"]["nearest"] for found in both)
        assert nearest[-1] > 0.1  # of images that stand at every radius too
        assert all(found["1/20"]["nearest"] == found["1/20"]["distance"] for found in early)
        assert run.metrics["fab_t:median_distance"].value == nearest[len(nearest) // 2]


@pytest.mark.parametrize(("norm", "top_k"), [("l2", 1), ("linf", 5)])
def test_other_balls_and_top_k(run_digits, norm, top_k):
    lines = f"norm: {norm}\ntop_k: {top_k}\neps: [0, 1/5, 1/2]\n"
    lines += "attacks: [{method: bim, steps: 8, step_size: 0.3 eps}]"
    run = run_digits(LINEAR, lines)
    top_1 = run_digits(LINEAR, lines.replace(f"top_k: {top_k}", "top_k: 1"))
    for eps in run.spec.radii:
        assert (
            run.metrics[f"bim:robust_accuracy@{eps}"].value
            >= top_1.metrics[f"bim:robust_accuracy@{eps}"].value
        )
        rows = [record.values["attacks"]["bim"][str(eps)] for record in run.records]
        assert max(row["distance"] for row in rows) <= float(eps) + 1e-6
    assert run.metrics["bim:robust_accuracy@1/2"].value < run.metrics["clean_accuracy"].value


def test_a_least_likely_target_is_reached_at_a_large_radius(run_digits):
    run = run_digits(
        LINEAR,
        "eps: [0, 1/2]\nattacks: [{method: bim, steps: 10, step_size: 0.2 eps, targeted: least_likely}]",
    )
    assert run.metrics["bim_least_likely:targeted_success@1/2"].value > 0.5
    assert run.metrics["bim_least_likely:targeted_success@0"].value == 0
    assert run.guards["successes_confirmed"].passed


def test_radii_of_any_order_are_run_from_the_smallest(run_digits):
    straight = run_digits(LINEAR, f"eps: [0, 1/20, 1/10]\ncurve: ascending\n{BIM}")
    mixed = run_digits(LINEAR, f"eps: [1/10, 0, 1/20]\ncurve: ascending\n{BIM}")
    assert smallest(straight, "bim") == smallest(mixed, "bim")
    assert mixed.spec.radii == (0, Fraction(1, 20), Fraction(1, 10))
