"""Every guard of an accuracy under attack, each with a planted case that it catches."""

import json

import adversarial_models
import pytest

from assay.tasks.adversarial.guards import OF_ATTACKS_ALONE, casts_doubt
from plausible_guard import plausible_guard

LINES = """eps: [0, 1/20, 1/10]
certified: true
attacks:
  - {method: fgsm}
  - {method: pgd, steps: 8, step_size: 0.25 eps}"""
LINEAR = "digits_models:linear"


def planted(run, change, count=1):
    """The guards, by name, when the first ``count`` records are altered by ``change``."""
    records = []
    for number, record in enumerate(run.records):
        values = json.loads(json.dumps(dict(record.values)))
        if number < count:
            change(values)
        records.append(type(record)(record.unit_id, values))
    return {guard.name: guard for guard in run.job.task.summarise(run.spec, records).guards}


def test_every_guard_is_listed_with_its_figure_and_passes_on_a_sound_net(run_digits):
    run = run_digits(LINEAR, LINES)
    assert len(run.guards) == 15
    assert all(guard.value is not None and guard.limit is not None for guard in run.guards.values())
    assert {name for name, guard in run.guards.items() if not guard.passed} == set()


@pytest.mark.parametrize(
    ("model", "guard"),
    [
        ("digits_models:always_dropout", "repeat_agrees"),
        ("adversarial_models:random_noise", "repeat_agrees"),
        ("digits_models:batch_statistics", "alone_agrees"),
        ("digits_models:steep_logits", "loss_not_saturated"),
        ("digits_models:quantised", "gradient_not_zero"),
        ("adversarial_models:rounded_logits", "gradient_not_zero"),
        ("digits_models:constant", "gradient_not_zero"),
    ],
)
def test_a_planted_weakness_of_a_model_is_caught(run_digits, model, guard):
    assert not run_digits(model, LINES).guards[guard].passed


@pytest.mark.parametrize("model", ["digits_models:quantised", "adversarial_models:shattered_gradient"])
def test_a_model_whose_gradients_mislead_falls_to_a_blind_search(run_digits, model):
    far = LINES.replace("1/10", "1/5")
    assert not run_digits(model, far).guards["black_box_does_not_win"].passed
    assert run_digits(LINEAR, far).guards["black_box_does_not_win"].passed


def test_a_model_that_is_random_at_test_time_is_told_what_it_needs(run_digits):
    assert "EOT" in run_digits("adversarial_models:random_noise", LINES).guards["repeat_agrees"].detail


def test_a_softmax_at_the_end_is_refused_before_any_work(run_digits):
    with pytest.raises(ValueError, match="returns probabilities"):
        run_digits("digits_models:probabilities", LINES)


def outcome(values, series="pgd", eps="1/10"):
    return values["attacks"][series][eps]


@pytest.mark.parametrize(
    ("change", "guard", "count"),
    [
        (lambda v: outcome(v, eps="0").update(predicted=-1), "eps_zero_is_clean", 1),
        (lambda v: outcome(v).update(distance=0.11), "inside_the_ball", 1),
        (lambda v: outcome(v).update(in_box=False), "inside_the_pixel_range", 1),
        (lambda v: v["checks"].update(in_box=False), "inside_the_pixel_range", 1),
        (lambda v: v["checks"].update(probabilities=True), "no_probabilities", 40),
        (lambda v: v["checks"].update(repeat_difference=0.01), "repeat_agrees", 1),
        (lambda v: v["checks"].update(alone_difference=0.01), "alone_agrees", 1),
        (lambda v: outcome(v).update(retried=True), "loss_not_saturated", 1),
        (lambda v: outcome(v).update(zero_gradient=True), "gradient_not_zero", 2),
        (lambda v: outcome(v, eps="1/20").update(correct=False), "accuracy_falls_with_eps", 40),
        (lambda v: (outcome(v).update(correct=True), outcome(v, "fgsm").update(correct=False)),
         "iterated_beats_single_step", 20),
        (lambda v: v.update(probe=True), "black_box_does_not_win", 20),
        (lambda v: outcome(v).update(claimed=True, correct=True), "successes_confirmed", 5),
        (lambda v: v.update(clean_correct=False) or outcome(v, eps="0").update(correct=True),
         "clean_errors_stay_errors", 1),
        (lambda v: (v["certified"]["holds"].update({"1/10": True}), outcome(v).update(correct=False)),
         "proofs_hold", 1),
    ],
)  # fmt: skip
def test_a_planted_defect_of_an_attack_is_caught(run_digits, change, guard, count):
    assert not planted(run_digits(LINEAR, LINES), change, count)[guard].passed


def test_one_image_that_an_attack_saw_no_gradient_of_is_no_defect(run_digits):
    found = planted(run_digits(LINEAR, LINES), lambda v: outcome(v).update(zero_gradient=True), 1)
    guard = found["gradient_not_zero"]
    assert guard.passed
    assert guard.value == pytest.approx(1 / 40) == guard.limit


def test_the_guards_that_spare_clean_accuracy_are_guards_of_a_run(run_digits):
    there = set(run_digits(LINEAR, LINES).guards)
    spared = {name for name in there if not casts_doubt(name, "clean_accuracy")}
    of_protocols = {"square_breaks_little", "protocol_fits_classes"}
    assert spared == OF_ATTACKS_ALONE - of_protocols
    assert all(casts_doubt(name, "pgd:robust_accuracy@1/10") for name in there)


def test_a_relu_chain_lies_between_what_is_proved_and_what_is_attacked(run_digits):
    run = run_digits("adversarial_models:relu_chain", LINES)
    for eps in run.spec.radii:
        proved = run.metrics[f"certified_accuracy@{eps}"].value
        assert proved <= run.metrics[f"worst:robust_accuracy@{eps}"].value
    assert run.metrics["certified_accuracy@1/20"].value > 0
    assert run.records[0].values["certified"]["proof"] == "linear relaxation"


def certified(run):
    return [run.metrics[f"certified_accuracy@{eps}"].value for eps in run.spec.radii]


def test_a_normalisation_in_front_changes_no_proof(run_digits):
    plain, behind = (
        run_digits(model, LINES) for model in (LINEAR, "adversarial_models:linear_behind_a_normalisation")
    )
    assert certified(plain) == certified(behind)
    assert behind.records[0].values["certified"]["proof"] == "closed form"
    assert behind.guards["proofs_hold"].passed


def test_an_onnx_chain_is_certified_as_the_net_it_holds(run_digits, tmp_path):
    stored = run_digits(adversarial_models.save_chain_as_onnx(tmp_path / "chain.onnx"), LINES)
    assert certified(stored) == certified(run_digits("adversarial_models:relu_chain", LINES))
    assert stored.records[0].values["certified"]["proof"] == "linear relaxation"
    for eps in stored.spec.radii:
        proved = stored.metrics[f"certified_accuracy@{eps}"].value
        assert proved <= stored.metrics[f"worst:robust_accuracy@{eps}"].value


def test_a_net_without_bounds_has_no_certified_figure(run_digits):
    run = run_digits("digits_models:quantised", LINES)
    metric = run.metrics["certified_accuracy@1/20"]
    assert (metric.value, metric.n, metric.headline) == (None, 0, False)


def test_a_network_that_gets_its_pictures_wrongly_is_no_better_than_chance(run_digits):
    right, wrong = run_digits(LINEAR, LINES), run_digits("adversarial_models:read_wrongly", LINES)
    assert plausible_guard(right.job, right.records).passed
    guard = plausible_guard(wrong.job, wrong.records)
    assert not guard.passed
    assert "reaches down to chance, 10 %; `assay doctor" in guard.detail


def test_a_network_that_falls_short_of_its_card_is_told(run_digits):
    run = run_digits("digits_models:blurred", LINES)
    share = run.metrics["clean_accuracy"].value
    assert plausible_guard(run.job, run.records, stated=share, n=1000).passed
    worse = [
        type(record)(record.unit_id, {**record.values, "clean_correct": number % 2 == 0})
        for number, record in enumerate(run.records)
    ]
    guard = plausible_guard(run.job, worse, stated=share, n=1000)
    assert not guard.passed
    assert "lies wholly below what the card states" in guard.detail


def test_failing_it_casts_doubt_on_clean_accuracy_itself():
    assert casts_doubt("clean_accuracy_plausible", "clean_accuracy")
