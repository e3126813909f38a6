"""The radius that an image withstands, by closed forms; losses that the scale of the logits does not turn."""

import json
from fractions import Fraction

import pytest
import torch
from torch import nn

from assay.attacks.run import Job, run_job
from assay.attacks.settings import AttackSettings
from assay.tasks.adversarial.spec import AdversarialSpec
from assay.tasks.adversarial.summary import withstood
from assay.tasks.base import Record
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
    settings = AttackSettings(eps=0.1, step_size=0.02, steps=10, loss=loss)

    def broken(net):
        return run_job(Job("pgd", net, images, torch.tensor(labels[1000:1200]), range(200)), settings).success

    differing = (broken(_Scaled(scale, shift)) != broken(_Scaled(1.0, 0.0))).sum()
    assert differing <= 0.01 * len(images)


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
    assert withstood(spec, _record(spec, clean, stands)) == tuple(map(Fraction, ends))
