"""AutoAttack as a protocol: its lists, networks of few classes, and what its authors warn of, each planted."""

import json

import pytest

from assay.common.errors import UserError
from assay.common.validation import validate
from assay.tasks.adversarial.demands import check_classes
from assay.tasks.adversarial.records import RECORD_VALUES
from assay.tasks.adversarial.spec import AdversarialSpec

LINEAR = "digits_models:linear"
STANDARD = "eps: [0, 1/20]\nprotocol: autoattack\ncertified: true\nprobe_queries: 0"


def spec_of(**changed):
    fields = {"schema": 1, "family": "adversarial", "title": "t", "data": "digits", "eps": ["1/20"]}
    return validate(AdversarialSpec, {**fields, **changed}, "spec")


def test_the_versions_are_the_original_s_lists():
    listed = {
        version: [
            (one.series, one.steps, one.restarts, one.loss, one.draws)
            for one in spec_of(protocol="autoattack", version=version).attacks
        ]
        for version in ("standard", "plus", "rand")
    }
    targeted = [("apgd_t", 100, 9, "dlr", 1), ("fab_t", 100, 9, "margin", 1)]
    square = ("square", 5000, 1, "margin", 1)
    assert listed["standard"] == [("apgd_ce", 100, 1, "cross_entropy", 1), *targeted, square]
    assert listed["plus"] == [
        ("apgd_ce", 100, 5, "cross_entropy", 1),
        ("apgd_dlr", 100, 5, "dlr", 1),
        ("fab", 100, 5, "margin", 1),
        square,
        *targeted,
    ]
    assert listed["rand"] == [("apgd_ce", 100, 1, "cross_entropy", 20), ("apgd_dlr", 100, 1, "dlr", 20)]


def test_a_protocol_stands_in_the_key_and_a_stored_spec_is_read_again_as_it_was():
    spec = spec_of(protocol="autoattack")
    assert (spec.version, spec.in_turn, spec.curve) == ("standard", True, "ascending")
    stored = json.loads(spec.model_dump_json(by_alias=True))
    assert validate(AdversarialSpec, stored, "stored").sha256 == spec.sha256
    assert spec.identity()["protocol"] == "autoattack"
    assert spec.sha256 != spec_of(protocol="autoattack", version="plus").sha256


def test_a_spec_without_a_protocol_has_no_trace_of_it():
    identity = spec_of(attacks=[{"method": "fgsm"}]).identity()
    assert not {"protocol", "version"} & set(identity)
    assert "draws" not in identity["attacks"][0]


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"protocol": "autoattack", "attacks": [{"method": "fgsm"}]}, "leave `attacks`"),
        ({"protocol": "autoattack", "in_turn": False}, "leave `attacks` and `in_turn` out"),
        ({"protocol": "autoattack", "version": "strong"}, "version"),
        ({"protocol": "autoattack", "curve": "bisect"}, "use ascending"),
        ({"protocol": "autoattack", "top_k": 5}, "top_k must be 1"),
        ({"version": "plus", "attacks": [{"method": "fgsm"}]}, "add `protocol: autoattack`"),
        ({"protocol": "robustbench"}, "protocol"),
    ],
)
def test_a_protocol_that_is_not_kept_is_refused(changed, complaint):
    with pytest.raises(UserError, match=complaint) as caught:
        spec_of(**changed)
    assert "factory" not in str(caught.value)


def test_a_spec_without_attacks_is_told_of_both_ways():
    with pytest.raises(UserError, match="name at least one, or a `protocol`"):
        spec_of()


@pytest.mark.parametrize(
    ("version", "classes", "expected"),
    [
        ("standard", 10, []),
        ("standard", 4, ["apgd_t aims at 3", "fab_t aims at 3"]),
        ("standard", 3, ["apgd_t climbs the margin", "apgd_t aims at 2", "fab_t aims at 2"]),
        ("plus", 2, ["apgd_dlr climbs the margin", "apgd_t climbs the margin", "apgd_t aims at 1", "fab_t aims at 1"]),
        ("rand", 3, []),
    ],
)  # fmt: skip
def test_a_network_of_few_classes_gets_what_it_allows(version, classes, expected):
    spec = spec_of(protocol="autoattack", version=version)
    found = list(spec.fitting_changes(classes))
    assert [phrase.split(" instead")[0].removesuffix(" wrong classes") for phrase in found] == expected
    check_classes(spec, classes)
    assert [attack.series for attack in spec.fitted(classes).attacks] == [a.series for a in spec.attacks]


def test_a_list_of_one_s_own_is_not_changed_for_few_classes():
    spec = spec_of(attacks=[{"method": "apgd_t", "steps": 5, "restarts": 9, "loss": "dlr"}])
    assert spec.fitted(3) == spec
    with pytest.raises(UserError, match="needs at least 10 classes"):
        check_classes(spec, 3)


def test_on_a_linear_net_what_stands_is_what_is_proved(run_digits):
    run = run_digits(LINEAR, STANDARD, limit=10)
    attacked = run.metrics["worst:robust_accuracy@1/20"].value
    assert run.metrics["certified_accuracy@1/20"].value == attacked
    assert {name for name, guard in run.guards.items() if not guard.passed} == set()
    assert run.guards["protocol_fits_classes"].value == 0
    # What fell is not attacked again.
    for record in run.records:
        found = [record.values["attacks"][one.series]["1/20"] for one in run.spec.attacks]
        fell = [not outcome["correct"] for outcome in found]
        assert fell == sorted(fell)
        assert all(after["steps"] == 0 for before, after in zip(fell, found[1:], strict=False) if before)


def test_the_result_says_what_was_changed_for_few_classes(run_digits):
    run = run_digits(LINEAR, STANDARD, limit=10)
    records = []
    for record in run.records:
        records.append(type(record)(record.unit_id, {**record.values, "classes": 3}))
    guards = {guard.name: guard for guard in run.job.task.summarise(run.spec, records).guards}
    assert "a network of 3 classes: apgd_t climbs the margin" in guards["protocol_fits_classes"].detail
    assert guards["protocol_fits_classes"].value == 3


@pytest.mark.parametrize("model", ["digits_models:quantised", "adversarial_models:rounded_logits"])
def test_a_defence_that_hides_its_gradient_falls_to_square_and_is_told(run_digits, model):
    run = run_digits(model, "eps: [0, 1/2]\nprotocol: autoattack\nprobe_queries: 0", limit=10)
    assert not run.guards["square_breaks_little"].passed
    assert not run.guards["gradient_not_zero"].passed


@pytest.mark.parametrize("model", ["tired_after_questions", "purifying"])
def test_a_defence_that_changes_with_what_it_is_asked_is_told(run_digits, model):
    run = run_digits(
        f"adversarial_models:{model}", "eps: [0, 1/20]\nprotocol: autoattack\nversion: rand", limit=2
    )
    assert not run.guards["no_dynamic_defence"].passed
    assert run.guards["no_dynamic_defence"].value == 2
    assert run.guards["repeat_agrees"].value < 1e-4


def test_a_network_that_does_not_change_passes_and_its_records_say_that_it_was_looked_at(run_digits):
    run = run_digits(LINEAR, "eps: [0, 1/20]\nprotocol: autoattack\nversion: rand", limit=2)
    assert run.guards["no_dynamic_defence"].passed
    assert [record.values["checks"]["dynamic"] for record in run.records] == [False, False]


def test_records_of_before_that_was_looked_at_do_not_pass(run_digits):
    run = run_digits(LINEAR, "eps: [0, 1/20]\nprotocol: autoattack\nversion: rand", limit=2)
    first, *others = run.records
    checks = {name: value for name, value in first.values["checks"].items() if name != "dynamic"}
    old = [type(first)(first.unit_id, {**first.values, "checks": checks}), *others]
    RECORD_VALUES.validate_python(old[0].values)
    guards = {guard.name: guard for guard in run.job.task.summarise(run.spec, old).guards}
    assert not guards["no_dynamic_defence"].passed
    assert guards["no_dynamic_defence"].value is None
    assert guards["no_dynamic_defence"].detail.startswith("not looked at in 1 of 2 records")


def test_in_l1_the_list_has_the_original_s_numbers_of_starts(run_digits):
    spec = spec_of(protocol="autoattack", norm="l1", eps=[4])
    listed = [(one.series, one.steps, one.restarts, one.loss) for one in spec.attacks]
    assert listed == [
        ("apgd_ce", 100, 5, "cross_entropy"),
        ("apgd_t", 100, 5, "dlr"),
        ("fab_t", 100, 9, "margin"),
        ("square", 5000, 1, "margin"),
    ]
    stored = json.loads(spec.model_dump_json(by_alias=True))
    assert validate(AdversarialSpec, stored, "stored").sha256 == spec.sha256
    with pytest.raises(UserError, match="no `plus` for `norm: l1`"):
        spec_of(protocol="autoattack", norm="l1", version="plus")
    with pytest.raises(UserError, match="leave `attacks`"):
        spec_of(protocol="autoattack", norm="linf", attacks=stored["attacks"])


def test_in_l1_what_stands_on_a_linear_net_is_what_is_proved(run_digits):
    run = run_digits(
        LINEAR, "norm: l1\neps: [0, 2]\nprotocol: autoattack\ncertified: true\nprobe_queries: 0", limit=10
    )
    attacked = run.metrics["worst:robust_accuracy@2"].value
    assert 0 < run.metrics["certified_accuracy@2"].value == attacked < 1
    assert {name for name, guard in run.guards.items() if not guard.passed} == set()
    assert run.metrics["worst:mean_radius"].unit == "L1"


def test_in_l1_proofs_come_first_too(run_digits):
    lines = "norm: l1\neps: [1/10, 2]\nprotocol: autoattack\nproofs: first\nprobe_queries: 0"
    run = run_digits("adversarial_models:relu_chain", lines, limit=10)
    assert run.guards["proofs_hold"].passed
    assert run.metrics["certified_accuracy@1/10"].value > 0


def test_a_random_network_is_told_of_the_version_for_it(run_digits):
    run = run_digits(
        "adversarial_models:random_noise", "eps: [0, 1/2]\nprotocol: autoattack\nprobe_queries: 0", limit=10
    )
    assert not run.guards["repeat_agrees"].passed
    assert "version: rand" in run.guards["repeat_agrees"].detail


def test_the_version_for_random_networks_takes_their_randomness_as_it_is(run_digits):
    lines = "eps: [0, 1/20, 1/5]\nprotocol: autoattack\nversion: rand"
    run = run_digits("adversarial_models:random_noise", lines, limit=20)
    assert {name for name, guard in run.guards.items() if not guard.passed} == set()
    assert run.guards["repeat_agrees"].value > 0
    assert run.metrics["worst:robust_accuracy@1/5"].value < 0.2 < run.metrics["clean_accuracy"].value
