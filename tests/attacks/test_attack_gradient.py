"""FGSM, BIM, PGD and MIM against closed forms, a worked example and foolbox."""

import foolbox
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from attacked import Asked, run_attack

METHODS = ("fgsm", "bim", "pgd", "mim")


def settings_for(method: str, eps: float, **changes: object) -> Asked:
    """Steps enough to cross the ball from any start."""
    if method == "fgsm":
        return Asked(eps=eps, **changes)
    return Asked(eps=eps, **{"step_size": eps / 4, "steps": 12} | changes)


def small_net() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 10)).double().eval()


def small_batch(net: nn.Module, count: int = 16) -> tuple[Tensor, Tensor]:
    images = torch.rand(count, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    return images, net(images).argmax(1)


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.001, 0.2), st.sampled_from(METHODS))
def test_linear_model_falls_exactly_where_the_closed_form_says(seed: int, eps: float, method: str) -> None:
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(2, 12, dtype=torch.float64, generator=generator)
    images = 0.25 + 0.5 * torch.rand(40, 1, 3, 4, dtype=torch.float64, generator=generator)
    labels = torch.randint(0, 2, (40,), generator=generator)
    model = lambda x: x.flatten(1) @ weight.T  # noqa: E731
    logits = model(images)
    margin = logits.gather(1, labels[:, None]) - logits.gather(1, 1 - labels[:, None])
    # The ball stays inside the box, so the worst case is margin - eps * ||w_y - w_j||_1.
    slack = margin.squeeze(1) - eps * (weight[0] - weight[1]).abs().sum()
    result = run_attack(method, model, images, labels, settings_for(method, eps), range(40))
    clear = slack.abs() > 1e-9
    assert torch.equal(result.success[clear], slack[clear] < 0)


@pytest.mark.parametrize(("momentum_norm", "expected"), [("l1", [0.7, 0.7, 0.6]), ("l2", [0.7, 0.5, 0.6])])
def test_mim_two_steps_worked_by_hand(momentum_norm: str, expected: list[float]) -> None:
    # The loss has gradient (4, 3, 0) at the start and (1, -2, 2) after one step. Velocities after two steps:
    # l1: (4, 3, 0)/7 + (1, -2, 2)/5 = (.77, .03, .4); l2: (4, 3, 0)/5 + (1, -2, 2)/3 = (1.13, -.07, .67).
    def model(pixels: Tensor) -> Tensor:
        x, y, z = pixels.flatten(1).unbind(1)
        rise = 4 * x + 3 * y - 13 * (x - 0.55).relu() - 5 * (y - 0.55).relu() + (10 * x + 2 * z - 6.5).relu()
        return torch.stack([torch.full_like(rise, 100.0), rise], dim=1)

    asked = Asked(eps=0.4, step_size=0.1, steps=2, momentum=1.0, momentum_norm=momentum_norm, loss="margin")
    start = torch.full((1, 1, 1, 3), 0.5, dtype=torch.float64)
    result = run_attack("mim", model, start, torch.tensor([0]), asked, [0])
    assert result.images.flatten().tolist() == pytest.approx(expected, abs=1e-12)


class FromGivenStart(foolbox.attacks.LinfProjectedGradientDescentAttack):
    """Foolbox's PGD from a start of our choice."""

    def __init__(self, start: Tensor, **options: object) -> None:
        super().__init__(random_start=True, **options)
        self.start = start

    def get_random_start(self, x0: object, epsilon: float) -> object:
        return type(x0)(self.start)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("targeted", [False, True])
def test_bim_agrees_with_foolbox(norm: str, targeted: bool) -> None:
    net = small_net()
    images, labels = small_batch(net)
    eps = 0.05 if norm == "linf" else 0.6
    targets = (labels + 3) % 10 if targeted else None
    asked = Asked(eps=eps, norm=norm, step_size=0.2 * eps, steps=10, early_stop=False)
    ours = run_attack("bim", net, images, labels, asked, range(16), targets=targets)
    attack = {
        "linf": foolbox.attacks.LinfBasicIterativeAttack,
        "l2": foolbox.attacks.L2BasicIterativeAttack,
    }[norm](rel_stepsize=0.2, steps=10)
    criterion = foolbox.criteria.TargetedMisclassification(targets) if targeted else labels
    theirs, _, success = attack(foolbox.PyTorchModel(net, (0, 1)), images, criterion, epsilons=eps)
    assert (theirs - ours.images).abs().max() < 1e-6
    assert torch.equal(success, ours.success)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_fgsm_agrees_with_foolbox(norm: str) -> None:
    net = small_net()
    images, labels = small_batch(net)
    eps = 0.02 if norm == "linf" else 0.2
    ours = run_attack("fgsm", net, images, labels, Asked(eps=eps, norm=norm, early_stop=False), range(16))
    attack = {"linf": foolbox.attacks.FGSM, "l2": foolbox.attacks.FGM}[norm]()
    theirs, _, success = attack(foolbox.PyTorchModel(net, (0, 1)), images, labels, epsilons=eps)
    assert (theirs - ours.images).abs().max() < 1e-6
    assert torch.equal(success, ours.success)


def test_pgd_agrees_with_foolbox_from_the_same_random_start() -> None:
    net = small_net()
    images, labels = small_batch(net)
    asked = Asked(eps=0.05, step_size=0.05 / 30, steps=40, early_stop=False)
    ours = run_attack("pgd", net, images, labels, asked, range(16))
    still = lambda x: net(x) * 0  # a model without slope leaves PGD at its start  # noqa: E731
    start = run_attack("pgd", still, images, torch.zeros_like(labels), asked, range(16)).images
    assert (start - images).abs().max() > 0.04
    attack = FromGivenStart(start, rel_stepsize=1 / 30, steps=40)
    theirs, _, success = attack(foolbox.PyTorchModel(net, (0, 1)), images, labels, epsilons=0.05)
    assert (theirs - ours.images).abs().max() < 1e-6
    assert torch.equal(success, ours.success)


def test_early_stop_finds_every_image_that_the_last_iterate_finds() -> None:
    net = small_net()
    images, labels = small_batch(net)
    late = Asked(eps=0.03, step_size=0.01, steps=8, early_stop=False)
    early = Asked(eps=0.03, step_size=0.01, steps=8)
    at_end = run_attack("pgd", net, images, labels, late, range(16))
    stopped = run_attack("pgd", net, images, labels, early, range(16))
    assert (stopped.success | ~at_end.success).all()
    assert (stopped.steps_used <= 8).all()
    assert torch.equal(net(stopped.images).argmax(1) != labels, stopped.success)
