"""The radius that an image withstands, by closed forms; losses that the scale of the logits does not turn."""

import json
from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from torch import nn

from assay.tasks.adversarial.records import Outcomes
from assay.tasks.adversarial.spec import AdversarialSpec
from assay.tasks.adversarial.summary import withstood
from assay.tasks.base import Record
from assay.tasks.task_spec import shipped_specs
from attacked import Asked, run_attack
from digits_models import linear_net

COMMON = {"schema": 1, "family": "adversarial", "title": "t", "data": "digits", "eps": ["0", "1/10"]}


class _Scaled(nn.Module):
    def __init__(self, scale, shift):
        super().__init__()
        self.net, self.scale, self.shift = linear_net(), scale, shift

    def forward(self, images):
        return self.net(images) * self.scale + self.shift


@pytest.mark.parametrize("loss", ["margin", "dlr"])
@pytest.mark.parametrize(("scale", "shift"), [(1e-4, 0.0), (0.01, 0.0), (1e4, 0.0), (1.0, 7.0)])
def test_scale_free_losses_break_the_same_images(loss, scale, shift):
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    images = torch.tensor(pixels[1000:1200] / 16, dtype=torch.float32).reshape(-1, 1, 8, 8)
    settings = Asked(eps=0.1, step_size=0.02, steps=10, loss=loss)

    def broken(net):
        of = torch.tensor(labels[1000:1200])
        return run_attack("pgd", net, images, of, settings, range(200)).success

    differing = (broken(_Scaled(scale, shift)) != broken(_Scaled(1.0, 0.0))).sum()
    assert differing <= 0.01 * len(images)


def test_classes_in_another_order_change_nothing():
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    images = torch.tensor(pixels[1000:1200] / 16, dtype=torch.float32).reshape(-1, 1, 8, 8)
    labels, order = (
        torch.tensor(labels[1000:1200]),
        torch.randperm(10, generator=torch.Generator().manual_seed(0)),
    )
    renamed = linear_net()
    renamed[1].weight.data, renamed[1].bias.data = renamed[1].weight.data[order], renamed[1].bias.data[order]
    settings = Asked(eps=0.1, step_size=0.02, steps=10, loss="margin")
    one, other = (
        run_attack("pgd", net, images, of, settings, range(200)).success
        for net, of in ((linear_net(), labels), (renamed, order.argsort()[labels]))
    )
    assert (one != other).sum() <= 0.01 * len(images)


SHIPPED = "\n".join(  # the shipped task's own questions, at fewer radii
    line
    for line in shipped_specs()["adversarial/digits"].read_text().splitlines()
    if line.startswith("  - {method")
)
LINES = f"eps: [0, 1/20, 1/10]\ncurve: ascending\ncertified: true\nprobe_queries: 0\nattacks:\n{SHIPPED}"
CROSS_ENTROPY = LINES.replace(", loss: margin", "")
CHAIN = "adversarial_models:relu_chain"


@pytest.mark.parametrize("model", ["chain_times_1e_6", "chain_times_1e_4", "chain_times_1e4", "chain_plus_7"])
def test_a_factor_or_a_constant_of_the_logits_changes_neither_the_headline_nor_a_proof(run_digits, model):
    before, after = (run_digits(name, LINES, limit=100) for name in (CHAIN, f"adversarial_models:{model}"))
    headline = before.spec.headline_key
    assert abs(after.metrics[headline].value - before.metrics[headline].value) <= 0.01 * 255 / 10
    for eps in ("1/20", "1/10"):
        proved = f"certified_accuracy@{eps}"
        assert after.metrics[proved].value == pytest.approx(before.metrics[proved].value, abs=0.011)
        assert before.metrics[proved].value > 0.1
    assert after.guards["loss_not_flat"].passed


def test_batches_change_no_headline(run_digits):
    one, other = (run_digits(CHAIN, LINES, limit=100, batch_size=size) for size in (16, 100))
    name = one.spec.headline_key
    assert abs(one.metrics[name].value - other.metrics[name].value) <= 0.01 * 255 / 10
    backwards = one.job.task.summarise(one.spec, one.records[::-1])
    assert {metric.name: metric.value for metric in backwards.metrics}[name] == pytest.approx(
        one.metrics[name].value
    )


def test_a_loss_that_is_flat_by_scale_alone_fails_its_guard(run_digits):
    flat = run_digits("adversarial_models:chain_times_1e_6", CROSS_ENTROPY)
    assert {name for name, guard in flat.guards.items() if not guard.passed} == {"loss_not_flat"}
    assert "loss: margin" in flat.guards["loss_not_flat"].detail
    assert (
        flat.metrics["clean_accuracy"].value
        == run_digits(CHAIN, CROSS_ENTROPY).metrics["clean_accuracy"].value
    )
    assert run_digits(CHAIN, CROSS_ENTROPY).guards["loss_not_flat"].passed
    with_one = CROSS_ENTROPY + "\n  - {method: pgd, name: free, steps: 8, step_size: 0.25 eps, loss: margin}"
    assert run_digits("adversarial_models:chain_times_1e_6", with_one).guards["loss_not_flat"].passed


def test_records_of_before_certainty_was_noted_have_no_such_guard(run_digits):
    run = run_digits(CHAIN, LINES, limit=100)
    old = [
        replace(record, values={k: v for k, v in record.values.items() if k != "certainty"})
        for record in run.records
    ]
    summary = run.job.task.summarise(run.spec, old)
    assert "loss_not_flat" not in {guard.name for guard in summary.guards}
    assert run.job.task.record_values.validate_python(dict(old[0].values))


def test_a_headline_that_is_no_figure_is_one_sentence():
    attacks = [{"method": "fgsm"}]
    assert (
        AdversarialSpec.model_validate({**COMMON, "attacks": attacks}, strict=False).headline_key
        == "worst:mean_radius"
    )
    with pytest.raises(ValueError, match=r"headline: this spec gives no figure 'fgsm:robust_accuracy@1/3'"):
        AdversarialSpec.model_validate(
            {**COMMON, "attacks": attacks, "headline": "fgsm:robust_accuracy@1/3"}, strict=False
        )


def _record(spec, clean, stands):
    """A record whose first attack stands at the radii in ``stands`` and whose second stands everywhere."""
    outcomes = {str(eps): {"correct": clean and (eps == 0 or str(eps) in stands)} for eps in spec.radii}
    always = {str(eps): {"correct": clean} for eps in spec.radii}
    return Record("u", {"clean_correct": clean, "attacks": {"fgsm": outcomes, "bim": always}})


@pytest.mark.parametrize(
    ("clean", "stands", "ends"),
    [
        (False, (), ("0", "0")),
        (True, (), ("0", "1/20")),
        (True, ("1/20",), ("1/20", "1/10")),
        (True, ("1/20", "1/10"), ("1/10", "1/5")),
        (True, ("1/20", "1/10", "1/5"), ("1/5", "1/5")),
        (True, ("1/20", "1/5"), ("1/20", "1/10")),  # what falls once has fallen
    ],
)
def test_the_radius_that_an_image_withstands_is_that_of_its_worst_method(clean, stands, ends):
    attacks = [{"method": "fgsm"}, {"method": "bim", "steps": 10, "step_size": "0.2 eps"}]
    spec = AdversarialSpec.model_validate_json(
        json.dumps({**COMMON, "eps": ["0", "1/20", "1/10", "1/5"], "attacks": attacks})
    )
    outcomes = Outcomes(spec, [_record(spec, clean, stands)])
    stood = [outcomes.stands(eps)[0] for eps in spec.radii]
    assert withstood(spec.radii, clean, stood) == tuple(map(Fraction, ends))
