"""Minimal distances as a task: closed forms, and what the mean radius makes of them."""

import pytest
import torch
from test_adversarial_proofs import spec_of

from assay.attacks.closed_form import linear_part, linear_worst_margin
from assay.attacks.relu_graph import chain_of
from assay.common.errors import UserError
from assay.tasks.adversarial.summary import nearest_of

LINEAR = "digits_models:linear"
LIST = """attacks:
  - {method: pgd, steps: 20, step_size: 0.25 eps, loss: margin}
  - {method: fab, steps: 30, loss: margin}"""
EXACT = f"eps: [1/20, 1/5]\ncurve: exact\nprobe_queries: 0\n{LIST}"


def closed_form_distances(run, largest):
    """Each image's distance to the boundary of a linear net, by halving its exact worst margin."""
    images = torch.stack([run.job.model.prepare(run.job.data.image(unit.payload)) for unit in run.job.units])
    labels = torch.tensor([record.values["label"] for record in run.records])
    weight, bias = linear_part(chain_of(run.job.model.module, images), images)
    low, high = torch.zeros(len(images)), torch.full((len(images),), largest)
    for _ in range(20):
        middle = (low + high) / 2
        holds = torch.tensor(
            [
                linear_worst_margin(weight, bias, image[None], label[None], float(eps), "linf").item() > 0
                for image, label, eps in zip(images, labels, middle, strict=True)
            ]
        )
        low, high = torch.where(holds, middle, low), torch.where(holds, high, middle)
    return low.tolist()


def test_distances_of_a_linear_net_are_its_closed_form(run_digits):
    run = run_digits(LINEAR, EXACT)
    expected = closed_form_distances(run, 0.4)
    for record, exact in zip(run.records, expected, strict=True):
        found = nearest_of(record)
        if not record.values["clean_correct"]:
            assert found == 0
        else:
            assert exact - 1e-4 <= found <= exact * 1.05 + 0.001
    assert {name for name, guard in run.guards.items() if not guard.passed} == set()


def test_the_mean_radius_rests_on_the_distances(run_digits):
    exact = run_digits(LINEAR, EXACT)
    capped = [min(nearest_of(record), 0.2) for record in exact.records]
    assert exact.metrics["worst:mean_radius"].value == pytest.approx(255 * sum(capped) / len(capped))
    # Radii as steps can only say less.
    steps = run_digits(LINEAR, EXACT.replace("exact", "bisect"))
    assert steps.metrics["worst:mean_radius"].value <= exact.metrics["worst:mean_radius"].value + 0.1
    assert exact.metrics["worst:median_distance"].value <= min(
        exact.metrics[f"{attack.series}:median_distance"].value for attack in exact.spec.attacks
    )
    rows = [row for row in exact.job.task.rows(exact.spec, exact.records) if row["method"] == "worst"]
    assert [row["nearest"] for row in rows[:2]] == [nearest_of(exact.records[0])] * 2


def test_accuracies_at_the_radii_are_those_of_the_distances(run_digits):
    run = run_digits(LINEAR, EXACT)
    for eps in run.spec.radii:
        stands = [nearest_of(record) > float(eps) + 1e-6 for record in run.records]
        assert run.metrics[f"worst:robust_accuracy@{eps}"].value == sum(stands) / len(stands)


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"in_turn": True}, "exact takes each attack alone"),
        ({"attacks": [{"method": "fgsm", "backend": "foolbox"}]}, "attacks of Assay's own"),
    ],
)
def test_what_exact_does_not_go_with_is_refused(changed, complaint):
    with pytest.raises(UserError, match=complaint):
        spec_of(**{"in_turn": False, "curve": "exact", **changed})
