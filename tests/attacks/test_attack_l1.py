"""Attacks in L1: projections and linear models that solvers agree with, and what the authors' code breaks."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog, minimize
from sklearn.datasets import load_digits
from torch import Tensor

from assay.attacks.closed_form import linear_worst_margin
from assay.attacks.images import AttackedImages
from assay.attacks.methods import attack_of
from assay.attacks.run import run_attack
from assay.attacks.square import bump
from assay.common.balls import BALLS
from assay.common.errors import UserError
from assay.common.l1_ball import L1Ball, sparse_step_
from attacked import Asked, run_on
from digits_models import linear_net

BALL = L1Ball()
ASKED = {
    "apgd": Asked(eps=2.0, norm="l1", steps=60, loss="margin"),
    "apgd_t": Asked(eps=2.0, norm="l1", steps=60, restarts=9, loss="margin"),
    "pgd": Asked(eps=2.0, norm="l1", steps=60, step_size=0.3, loss="margin"),
    "square": Asked(eps=2.0, norm="l1", steps=200, loss="margin"),
}


def points(seed: int, count: int, values: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Images and points far from them; some pixels at the edge of the box."""
    generator = torch.Generator().manual_seed(seed)
    images = (torch.rand(count, 1, 1, values, dtype=dtype, generator=generator) * 1.4 - 0.2).clamp(0, 1)
    return images, images + torch.randn(images.shape, dtype=dtype, generator=generator)


def lengths(points: Tensor, images: Tensor) -> Tensor:
    return (points.double() - images.double()).abs().sum((1, 2, 3))


@given(seed=st.integers(0, 10**6), radius=st.floats(0.05, 4))
@settings(max_examples=15)
def test_the_projection_is_as_near_as_a_solver_s(seed: int, radius: float) -> None:
    images, far = points(seed, 3, 6)
    found = BALL.project_(far.clone(), images, torch.full((3,), radius, dtype=torch.float64))
    assert (lengths(found, images) <= radius).all()
    assert found.min() >= 0
    assert found.max() <= 1
    for row in range(3):
        image, point = images[row].flatten().numpy(), far[row].flatten().numpy()
        # The parts of the move that go up and down, so that their sum is the L1 norm.
        solved = minimize(
            lambda parts, image=image, point=point: ((image + parts[:6] - parts[6:] - point) ** 2).sum(),
            np.zeros(12),
            bounds=[*zip(np.zeros(6), 1 - image, strict=True), *zip(np.zeros(6), image, strict=True)],
            constraints={"type": "ineq", "fun": lambda parts: radius - parts.sum()},
            method="SLSQP",
        )
        assert float((found[row] - far[row]).square().sum()) == pytest.approx(
            solved.fun, abs=2e-5 * (1 + solved.fun)
        )


@pytest.mark.parametrize("radius", [1e-3, 0.5, 12.0, 60.0, 1e4])
def test_in_float32_nothing_leaves_the_ball_and_all_of_it_is_used(radius: float) -> None:
    images, far = points(1, 20, 3072, torch.float32)
    wide = (far.clamp(0, 1) - images).double().abs().sum((1, 2, 3))
    found = BALL.project_(far.clone(), images, torch.full((20,), radius, dtype=torch.float64))
    length = lengths(found, images)
    assert (length <= radius + 1e-6).all()
    assert (
        length >= torch.minimum(wide, torch.tensor(radius, dtype=torch.float64)) * (1 - 1e-5) - 1e-6
    ).all()


def test_what_lies_within_stays_to_the_bit_and_a_row_does_not_depend_on_its_batch() -> None:
    images, far = points(2, 30, 64, torch.float32)
    eps = torch.linspace(0.1, 40, 30, dtype=torch.float64)
    found = BALL.project_(far.clone(), images, eps)
    assert torch.equal(BALL.project_(images.clone(), images, eps), images)
    inside = images + 0.001 * (found - images)
    assert torch.equal(BALL.project_(inside.clone(), images, eps), inside)
    alone = [BALL.project_(far[[row]], images[[row]], eps[[row]]) for row in range(30)]
    assert torch.equal(torch.cat(alone), found)
    assert torch.equal(BALL.project_(far.clone(), images, torch.zeros(30)), images)


def test_the_projection_is_that_of_the_authors_code() -> None:
    theirs = pytest.importorskip("pyautoattack.autopgd_base").L1_projection
    images, far = points(3, 20, 3072, torch.float32)
    found = BALL.project_(far.clone(), images, torch.full((20,), 12.0, dtype=torch.float64))
    change = far - images
    assert torch.allclose(found, images + change + theirs(images, change, 12.0), atol=2e-5)


def test_random_starts_lie_within_and_depend_on_their_own_seeds() -> None:
    images, _ = points(4, 200, 64)
    eps = torch.full((200,), 2.0, dtype=torch.float64)
    found = BALL.random_start(images, eps, torch.arange(200))
    assert (lengths(found, images) <= 2.0).all()
    assert found.min() >= 0
    assert found.max() <= 1
    assert torch.equal(BALL.random_start(images[[7]], eps[[7]], torch.tensor([7])), found[[7]])
    # In the middle of the box nothing is clipped: in 64 dimensions the mean length is 64/65 of the radius.
    middle = BALL.random_start(torch.full_like(images, 0.5), eps / 4, torch.arange(200))
    assert float(lengths(middle, torch.full_like(images, 0.5)).mean()) == pytest.approx(
        0.5 * 64 / 65, rel=0.01
    )


def test_a_sparse_step_moves_the_steepest_values_by_as_much() -> None:
    slopes = torch.tensor([[[[3.0, -1.0, 0.0, 2.0]]], [[[0.0, 0.0, 0.0, 0.0]]]])
    step = sparse_step_(slopes.clone(), torch.tensor([2, 2]))
    assert step.flatten(1).tolist() == [[0.5, 0, 0, 0.5], [0, 0, 0, 0]]
    assert BALL.direction_(torch.arange(1.0, 301).view(1, 3, 10, 10)).count_nonzero() == 3


@pytest.mark.parametrize("eps", [0.3, 1.0, 5.0])
def test_the_worst_margin_of_a_linear_model_is_a_solver_s(eps: float) -> None:
    generator = torch.Generator().manual_seed(5)
    weight, bias = torch.randn(3, 6, dtype=torch.float64, generator=generator), torch.zeros(3).double()
    images, _ = points(6, 4, 6)
    labels = torch.tensor([0, 1, 2, 0])
    found = linear_worst_margin(weight, bias, images, labels, eps, "l1")
    for row in range(4):
        image, own = images[row].flatten().numpy(), int(labels[row])
        worst = []
        for other in {0, 1, 2} - {own}:
            slope = (weight[own] - weight[other]).numpy()
            solved = linprog(
                [*slope, *-slope],
                A_ub=[np.ones(12)],
                b_ub=[eps],
                bounds=[*zip(np.zeros(6), 1 - image, strict=True), *zip(np.zeros(6), image, strict=True)],
            )
            worst.append(slope @ image + solved.fun)
        assert found[row].item() == pytest.approx(min(worst), abs=1e-9)


@pytest.fixture(scope="module")
def digits() -> AttackedImages:
    """A trained linear model on digits that it answers rightly."""
    pixels, labels = (torch.tensor(part) for part in load_digits(return_X_y=True))
    images, net = pixels[1000:1150].view(-1, 1, 8, 8).float() / 16, linear_net()
    right = (net(images).argmax(1) == labels[1000:1150]).nonzero().squeeze(1)
    return AttackedImages.of(
        net, images[right], labels[1000:1150][right], range(len(right)), norm="l1", batch_size=50
    )


def worst_margins(job: AttackedImages, eps: float) -> Tensor:
    return linear_worst_margin(
        job.model[1].weight.data, job.model[1].bias.data, job.images, job.labels, eps, "l1"
    )


@pytest.mark.parametrize(("method", "share"), [("apgd_t", 1.0), ("apgd", 0.85), ("pgd", 0.85)])
def test_on_a_linear_model_all_falls_that_can_and_nothing_else(
    digits: AttackedImages, method: str, share: float
) -> None:
    found = run_on(method, digits, ASKED[method])
    margins = worst_margins(digits, 2.0)
    assert 10 < int((margins < 0).sum()) < len(digits) - 10
    assert not found.success[margins > 0].any()
    # Towards one class at a time the way up is straight; the others may climb towards a class that is not the nearest.
    assert found.success[margins < -0.02].float().mean() >= share


@pytest.mark.parametrize("method", ASKED)
def test_what_falls_lies_in_the_ball_and_the_box(digits: AttackedImages, method: str) -> None:
    found = run_on(method, digits, ASKED[method])
    assert found.success.sum() > 5
    assert (lengths(found.images, digits.images) <= 2.0 + 1e-6).all()
    assert found.images.min() >= 0
    assert found.images.max() <= 1
    assert torch.equal(digits.model(found.images).argmax(1) != digits.labels, found.success)


def test_an_outcome_does_not_depend_on_its_batch(digits: AttackedImages) -> None:
    whole = run_on("apgd", replace(digits, batch_size=7), ASKED["apgd"])
    alone = run_on("apgd", digits.select(torch.tensor([12])), ASKED["apgd"])
    assert torch.equal(alone.success, whole.success[[12]])
    assert torch.allclose(alone.images, whole.images[[12]], atol=1e-6)


def test_moves_and_passes_are_those_of_the_authors_code(digits: AttackedImages) -> None:
    attack = attack_of("apgd", steps=100)
    assert (attack.moves_in_l1, attack.steps_in("l1"), attack.steps_in("l2")) == ((30, 30, 40), 102, 100)
    assert attack_of("apgd", steps=3).moves_in_l1 == (1, 1, 1)
    assert attack_of("apgd", steps=2).moves_in_l1 == (2,)
    found = run_attack(attack, digits, 0.01)
    # Three first looks and a hundred moves, the last of which needs no gradient.
    assert not found.success.any()
    assert found.passes.unique(dim=0).tolist() == [[103, 102]]
    assert run_attack(attack_of("apgd", steps=2), digits, 0.01).passes.unique(dim=0).tolist() == [[3, 2]]


@pytest.mark.parametrize("side", [1, 3, 6, 9])
def test_a_bump_in_l1_has_length_one_and_is_steeper(side: int) -> None:
    assert bump(side, torch.float64, 1).abs().sum().item() == pytest.approx(1)
    if side == 9:
        peak, plain = (bump(9, torch.float64, order).abs() for order in (1, 2))
        assert peak.amax() / peak.amin() > plain.amax() / plain.amin()


def test_what_falls_to_the_authors_code_falls_here(digits: AttackedImages) -> None:
    original = pytest.importorskip("pyautoattack.autopgd_base").APGDAttack_targeted
    attack = original(digits.model, n_iter=40, norm="L1", eps=2.0, n_target_classes=5, use_largereps=True)
    fell = digits.model(attack.perturb(digits.images, digits.labels)).argmax(1) != digits.labels
    ours = run_on("apgd_t", digits, replace(ASKED["apgd_t"], steps=40, restarts=5, loss="dlr")).success
    assert 5 < int(fell.sum()) < len(fell) - 5
    assert not (fell & ~ours).any()


def test_foolbox_is_told_to_have_no_equal(digits: AttackedImages) -> None:
    from assay.attacks.foolbox_backend import run_with_foolbox

    with pytest.raises(UserError, match="has no equal in l1; choose backend assay"):
        run_with_foolbox(attack_of("bim", steps=1, step_size=0.1, backend="foolbox"), digits, 1.0)


def test_lengths_are_summed_in_float64() -> None:
    difference = torch.full((1, 1, 100, 100), 0.1)
    assert BALLS["l1"].length(difference).item() == pytest.approx(1000, rel=1e-6)
