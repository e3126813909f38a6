"""The ensemble-optimisation attack against torch's own Adam and on linear members."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from assay.attacks.ensemble import (
    EnsembleAttack,
    at_size,
    ensemble_attack,
    least_likely_targets,
    to_uint8,
)
from assay.common.errors import UserError


def linear(seed, classes=4, scale=1.0):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 4 * 4, classes))
    model[1].weight.data *= scale
    return model.eval()


@pytest.fixture
def members():
    return [linear(0), linear(1)]


@pytest.fixture
def images():
    return torch.rand((6, 3, 4, 4), generator=torch.Generator().manual_seed(2))


@pytest.fixture
def targets():
    return torch.tensor([0, 1, 2, 3, 0, 1])


def with_torch_adam(models, images, targets, steps, step_size):
    x = images.clone().requires_grad_(True)
    optimiser = torch.optim.Adam([x], lr=step_size)
    for _ in range(steps):
        optimiser.zero_grad()
        sum(F.cross_entropy(m(x), targets, reduction="sum") for m in models).div(len(models)).backward()
        optimiser.step()
        x.data.clamp_(0, 1)
    return x.detach()


def test_it_is_adam_on_the_mean_loss(members, images, targets):
    attack = EnsembleAttack(steps=8)
    expected = with_torch_adam(members, images, targets, 8, 5 / 255)
    torch.testing.assert_close(ensemble_attack(members, images, targets, attack), expected, atol=1e-5, rtol=0)


def test_the_first_step_is_the_sign_of_the_gradient(images, targets):
    member = linear(0)
    gradient = torch.func.grad(lambda x: F.cross_entropy(member(x), targets, reduction="sum"))(images)
    expected = (images - 5 / 255 * gradient.sign()).clamp(0, 1)
    adversarial = ensemble_attack([member], images, targets, EnsembleAttack(steps=1))
    torch.testing.assert_close(adversarial, expected, atol=1e-5, rtol=0)


def test_pixels_stay_pixels_and_the_input_is_not_touched(members, images, targets):
    before = images.clone()
    adversarial = ensemble_attack(members, images, targets, EnsembleAttack(steps=20, step_size=0.5))
    assert 0 <= adversarial.min() <= adversarial.max() <= 1
    assert torch.equal(images, before)
    assert not adversarial.requires_grad


def test_linear_members_all_fall_and_stored_pixels_keep_the_success(members, images, targets):
    adversarial = ensemble_attack(members, images, targets, EnsembleAttack(steps=60))
    read_back = to_uint8(adversarial).float() / 255
    for member in members:
        assert torch.equal(member(read_back).argmax(1), targets)
    assert (read_back - adversarial).abs().max() <= 0.5 / 255 + 1e-7


def test_an_image_does_not_depend_on_its_batch(members, images, targets):
    together = ensemble_attack(members, images, targets)
    alone = torch.cat([ensemble_attack(members, images[[i]], targets[[i]]) for i in range(len(images))])
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=0)


def test_early_stop_keeps_the_iterate_at_which_confidence_was_reached(members, images, targets):
    stop = EnsembleAttack(steps=40, stop_confidence=0.6)
    stopped = ensemble_attack(members, images, targets, stop)
    for i in range(len(images)):
        path = [
            with_torch_adam(members, images[[i]], targets[[i]], steps, stop.step_size) for steps in range(41)
        ]
        sure = [min(m(x).softmax(1)[0, targets[i]].item() for m in members) >= 0.6 for x in path]
        expected = path[sure.index(True) if True in sure else 40]
        torch.testing.assert_close(stopped[[i]], expected, atol=1e-5, rtol=0)


def test_an_image_at_its_target_costs_one_look_and_stays(images):
    calls = []

    def member(x):
        calls.append(len(x))
        return torch.stack([x.sum((1, 2, 3)), -x.sum((1, 2, 3))], 1) * 10

    targets = torch.zeros(6, dtype=torch.int64)
    adversarial = ensemble_attack([member], images, targets, EnsembleAttack(stop_confidence=0.99))
    assert torch.equal(adversarial, images)
    assert calls == [6]


def test_no_steps_and_no_images_change_nothing(members, images, targets):
    assert torch.equal(ensemble_attack(members, images, targets, EnsembleAttack(steps=0)), images)
    assert len(ensemble_attack(members, images[:0], targets[:0])) == 0


def test_least_likely_by_mean_probability(images):
    first, second = linear(0, scale=9), linear(1, scale=9)
    mean = (first(images).softmax(1) + second(images).softmax(1)) / 2
    targets = least_likely_targets([first, second], images, k=2)
    assert (mean.gather(1, targets[:, :1]) == mean.min(1, keepdim=True).values).all()
    assert targets.tolist() == mean.argsort(1)[:, :2].tolist()


def test_equally_unlikely_classes_stand_by_index():
    def flat(x):
        return torch.zeros(len(x), 5)

    assert least_likely_targets([flat], torch.zeros(2, 3, 1, 1), k=3).tolist() == [[0, 1, 2]] * 2


@pytest.mark.parametrize("k", [0, 4])
def test_as_many_targets_as_other_classes_at_most(members, images, k):
    with pytest.raises(UserError, match=r"1 \.\. 3"):
        least_likely_targets(members, images, k)


def test_members_of_different_label_spaces_are_refused(images, targets):
    mixed = [linear(0, classes=4), linear(1, classes=5)]
    with pytest.raises(UserError, match="member 0 has 4 classes, member 1 has 5"):
        ensemble_attack(mixed, images, targets)
    with pytest.raises(UserError, match="different label spaces"):
        least_likely_targets(mixed, images, k=1)


def test_an_empty_ensemble_is_refused(images, targets):
    with pytest.raises(UserError, match="at least one member"):
        ensemble_attack([], images, targets)


@pytest.mark.parametrize("target", [-1, 4])
def test_a_target_outside_the_classes_is_refused(members, images, target):
    with pytest.raises(UserError, match="outside the 4 classes"):
        ensemble_attack(members, images, torch.full((6,), target))


def test_logits_that_are_not_finite_are_refused(images, targets):
    with pytest.raises(UserError, match="not finite"):
        ensemble_attack([lambda x: linear(0)(x) / 0], images, targets)


def test_members_of_other_input_sizes_share_the_images(images, targets):
    small = nn.Sequential(nn.AdaptiveAvgPool2d(4), linear(3))
    members = [at_size(small, 8, 8), linear(0)]
    adversarial = ensemble_attack(members, images, targets, EnsembleAttack(steps=60))
    assert adversarial.shape == images.shape
    assert torch.equal(members[0](adversarial).argmax(1), targets)
    assert torch.equal(at_size(members[1], 4, 4)(images), members[1](images))
