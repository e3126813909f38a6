"""Proofs first: what is proved is not attacked, what is broken is not bounded, and each holds the other to account."""

import json

import pytest
import torch

from assay.common.errors import UserError
from assay.common.validation import validate
from assay.tasks.adversarial import proofs
from assay.tasks.adversarial.proofs import BRANCHING, INTERVALS, LIPSCHITZ, RELAXATION
from assay.tasks.adversarial.records import state
from assay.tasks.adversarial.spec import AdversarialSpec

LINEAR, CHAIN = "digits_models:linear", "adversarial_models:relu_chain"
LIST = """attacks:
  - {method: apgd, steps: 30}
  - {method: apgd_t, steps: 30, restarts: 3, loss: dlr}
  - {method: square, steps: 200, loss: margin}"""
BASE = f"eps: [0, 1/50, 1/20, 1/10]\ncurve: ascending\nin_turn: true\nprobe_queries: 0\n{LIST}"
FIRST = f"proofs: first\n{BASE}"


def states(run, eps):
    return [state(record, eps) for record in run.records]


def outcomes(run, eps):
    """Per image, its outcomes at a radius in the order of the list."""
    return [
        [record.values["attacks"][attack.series][str(eps)] for attack in run.spec.attacks]
        for record in run.records
    ]


def failed(run):
    return {name for name, guard in run.guards.items() if not guard.passed}


def test_every_image_is_broken_proved_or_undecided_and_the_row_is_between_both(run_digits, monkeypatch):
    # Linear relaxation leaves nothing open in so small a net; a looser bound is as sound.
    tight = proofs._MARGINS[RELAXATION]
    monkeypatch.setitem(proofs._MARGINS, RELAXATION, lambda clean, eps: tight(clean, eps) - 2)
    run = run_digits(CHAIN, f"{FIRST}\n# looser")
    for eps in run.spec.radii:
        found = states(run, eps)
        share = {name: found.count(name) / len(found) for name in ("broken", "proved", "undecided")}
        assert share["proved"] == pytest.approx(run.metrics[f"certified_accuracy@{eps}"].value)
        assert 1 - share["broken"] == pytest.approx(run.metrics[f"worst:robust_accuracy@{eps}"].value)
        assert share["undecided"] == pytest.approx(run.metrics[f"undecided@{eps}"].value)
    assert {"proved", "broken", "undecided"} <= {one for eps in run.spec.radii for one in states(run, eps)}
    assert failed(run) == set()
    rows = [row for row in run.job.task.rows(run.spec, run.records) if row["method"] == "worst"]
    assert {row["state"] for row in rows} == {"proved", "broken", "undecided"}
    assert {row["proof"] for row in rows if row["state"] == "proved" and row["eps"]} <= {
        INTERVALS,
        RELAXATION,
    }


@pytest.mark.parametrize("model", [LINEAR, CHAIN])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_what_is_broken_is_what_the_list_breaks_without_proofs(run_digits, model, norm):
    eps = "[0, 1/5, 1/2]" if norm == "l2" else "[0, 1/50, 1/20, 1/10]"
    lines = BASE.replace("[0, 1/50, 1/20, 1/10]", eps) + f"\nnorm: {norm}"
    plain, first = run_digits(model, lines), run_digits(model, f"proofs: first\n{lines}")
    for radius in first.spec.radii:
        without = [all(row["correct"] for row in found) for found in outcomes(plain, radius)]
        for stood, known in zip(without, states(first, radius), strict=True):
            assert stood or known != "proved"
        fewer = sum(without) - (len(without) - states(first, radius).count("broken"))
        assert abs(fewer) <= 1  # the quick attack may have luck that the list lacks, and the other way round
    assert failed(first) == set()


def test_what_is_proved_is_attacked_in_a_seeded_sample_alone(run_digits, monkeypatch):
    monkeypatch.setitem(proofs._MARGINS, RELAXATION, proofs._MARGINS[INTERVALS])
    run = run_digits(CHAIN, f"{FIRST}\n# intervals alone", limit=100)
    tried = spared = 0
    for eps in run.spec.radii[1:]:
        for known, found in zip(states(run, eps), outcomes(run, eps), strict=True):
            if known == "proved":
                tried += found[0]["steps"] > 0
                spared += found[0]["steps"] == 0
                assert all(row["steps"] == row["distance"] == 0 for row in found[1:])
            if known == "undecided":
                assert all(row["steps"] > 0 for row in found)
    assert 0 < tried < spared
    assert f"{tried} of {tried + spared} proved" in run.guards["proofs_hold"].detail
    again = run_digits(CHAIN, f"{FIRST}\n# intervals alone", limit=100, batch_size=7)
    assert [record.values["certified"] for record in again.records] == [
        record.values["certified"] for record in run.records
    ]


def test_in_a_linear_net_nothing_is_undecided(run_digits):
    run = run_digits(LINEAR, FIRST)
    assert all(run.metrics[f"undecided@{eps}"].value == 0 for eps in run.spec.radii)


def test_lipschitz_products_prove_in_l2(run_digits):
    lines = FIRST.replace("[0, 1/50, 1/20, 1/10]", "[1/100, 1/5]") + "\nnorm: l2"
    by = [
        way
        for record in run_digits(CHAIN, lines).records
        for way in record.values["certified"]["by"].values()
    ]
    assert {LIPSCHITZ, RELAXATION} <= set(by)


def test_a_net_without_bounds_is_attacked_as_ever(run_digits):
    run = run_digits("digits_models:quantised", FIRST)
    assert all(record.values["certified"] is None for record in run.records)
    assert run.metrics["certified_accuracy@1/20"].value is None
    assert "none: the network has layers without bounds" in run.guards["proofs_hold"].detail


@pytest.mark.parametrize(
    ("way", "raised_by"), [(INTERVALS, 20.0), (INTERVALS, 1e6), (RELAXATION, 2.0), (RELAXATION, 1e6)]
)
def test_unsound_bounds_are_caught(run_digits, monkeypatch, way, raised_by):
    honest = proofs._MARGINS[way]
    monkeypatch.setitem(proofs._MARGINS, way, lambda clean, eps: honest(clean, eps) + raised_by)
    run = run_digits(CHAIN, f"{FIRST}\n# {way} {raised_by}", limit=100)
    assert "proofs_hold" in failed(run)


def test_branching_proves_what_one_relaxation_leaves_and_nothing_that_falls(run_digits, monkeypatch):
    # Linear relaxation leaves nothing open in so small a net; a looser bound is as sound.
    tight = proofs._MARGINS[RELAXATION]
    monkeypatch.setitem(proofs._MARGINS, RELAXATION, lambda clean, eps: tight(clean, eps) - 2)
    plain = run_digits(CHAIN, f"{FIRST}\n# looser", limit=60)
    run = run_digits(CHAIN, f"{FIRST}\nbranches: 50", limit=60)
    for eps in run.spec.radii:
        for before, now in zip(states(plain, eps), states(run, eps), strict=True):
            assert now == before or before == "undecided"
            assert now != "undecided"
    ways = {way for record in run.records for way in record.values["certified"]["by"].values()}
    assert BRANCHING in ways
    assert failed(run) == set()


def test_unsound_branching_is_caught(run_digits, monkeypatch):
    monkeypatch.setitem(proofs._MARGINS, BRANCHING, lambda clean, _eps: clean.largest)
    assert "proofs_hold" in failed(run_digits(CHAIN, f"{FIRST}\nbranches: 7", limit=100))


def test_a_proof_by_branching_is_denied_only_without_its_parts(run_digits, monkeypatch):
    tight = proofs._MARGINS[RELAXATION]
    monkeypatch.setitem(proofs._MARGINS, RELAXATION, lambda clean, eps: tight(clean, eps) - 2)
    run = run_digits(CHAIN, f"{FIRST}\nbranches: 50", limit=60)
    model, eps = run.job.model.module, run.spec.radii[-1]
    images = torch.stack(
        [run.job.model.prepare(run.job.data.image(unit.payload)) for unit in run.job.units[:60]]
    )
    labels = torch.tensor([record.values["label"] for record in run.records])
    asked = (model, images, labels, model(images).detach(), float(eps), "linf")
    said = {row for row, known in enumerate(states(run, eps)) if known == "proved"}
    assert said
    assert not said & set(proofs.unproved(*asked, branches=50))
    assert said & set(proofs.unproved(*asked))


def test_a_forged_proof_is_denied_by_the_bounds_of_whoever_looks_again(run_digits):
    run = run_digits(CHAIN, FIRST)
    model, eps = run.job.model.module, run.spec.radii[-1]
    images = torch.stack([run.job.model.prepare(run.job.data.image(unit.payload)) for unit in run.job.units])
    labels = torch.tensor([record.values["label"] for record in run.records])
    lacking = proofs.unproved(model, images, labels, model(images).detach(), float(eps), "linf")
    assert {row for row, known in enumerate(states(run, eps)) if known != "proved"} == set(lacking)


def spec_of(**changed):
    fields = {
        "schema": 1, "family": "adversarial", "title": "t", "data": "digits", "eps": ["1/20"], "in_turn": True,
        "attacks": [{"method": "fgsm"}], **changed,
    }  # fmt: skip
    return validate(AdversarialSpec, fields, "spec")


def test_proofs_stand_in_the_key_and_a_spec_without_them_has_no_trace():
    plain, first = spec_of(), spec_of(proofs="first")
    assert "proofs" not in plain.identity()
    assert first.identity()["proofs"] == "first"
    assert "branches" not in first.identity()
    assert spec_of(proofs="first", branches=5).identity()["branches"] == 5
    stored = json.loads(first.model_dump_json(by_alias=True))
    assert validate(AdversarialSpec, stored, "stored").sha256 == first.sha256 != plain.sha256


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"in_turn": False}, "needs `in_turn: true`"),
        ({"certified": True}, "leave `certified` out"),
        ({"top_k": 5}, "`top_k` above 1"),
        ({"attacks": [{"method": "apgd", "draws": 5, "steps": 5}]}, "`draws` above 1"),
        ({"attacks": [{"method": "fgsm", "targeted": "least_likely"}]}, "leave the others out"),
        ({"proofs": "last"}, "proofs"),
        ({"proofs": None, "branches": 5}, "belongs to proofs"),
    ],
)  # fmt: skip
def test_what_proofs_do_not_go_with_is_refused(changed, complaint):
    with pytest.raises(UserError, match=complaint):
        spec_of(**{"proofs": "first", **changed})
