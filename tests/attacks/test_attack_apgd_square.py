"""APGD, APGD-T, Square and attacks in turn."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from assay.attacks.apgd import checkpoint_intervals
from assay.attacks.square import bump, square_sides
from assay.common.errors import UserError
from attacked import Asked, run_attack


def net_and_batch(count: int = 24) -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(2)
    net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 36, 10)).double().eval()
    images = torch.rand(count, 3, 8, 8, dtype=torch.float64)
    return net, images, net(images).argmax(1)


def test_checkpoints_are_those_of_the_paper() -> None:
    # p = 0.22, 0.41, 0.57, 0.70, 0.80, 0.87, 0.93, 0.99 of 100 iterations.
    at = [k for k, interval in enumerate(checkpoint_intervals(100)) if interval]
    assert at == [22, 41, 57, 70, 80, 87, 93, 99]
    assert [checkpoint_intervals(100)[k] for k in at] == [22, 19, 16, 13, 10, 7, 6, 6]


def test_apgd_climbs_to_the_corner_of_the_ball_on_a_linear_loss() -> None:
    weight = torch.tensor([[0.0, 0.0, 0.0], [1.0, -2.0, 0.5]], dtype=torch.float64)
    model = lambda x: x.flatten(1) @ weight.T - torch.tensor([0.0, 9.0])  # noqa: E731
    image = torch.full((1, 1, 1, 3), 0.5, dtype=torch.float64)
    result = run_attack("apgd", model, image, torch.tensor([0]), Asked(eps=0.1, steps=10), [0])
    assert result.images.flatten().tolist() == pytest.approx([0.6, 0.4, 0.6])


def test_apgd_halves_its_step_where_a_fixed_step_would_jump_over_the_peak() -> None:
    # A ridge at 0.5 + 0.013: fixed steps of 2 eps swing from side to side for ever.
    def model(pixels: Tensor) -> Tensor:
        height = -(pixels.flatten(1) - 0.513).abs().sum(1)
        return torch.stack([torch.full_like(height, 1.0), height], 1)

    image = torch.full((1, 1, 1, 2), 0.5, dtype=torch.float64)
    asked = Asked(eps=0.1, steps=100, loss="margin")
    found = run_attack("apgd", model, image, torch.tensor([0]), asked, [0]).images
    assert (found - 0.513).abs().max() < 2e-3


def test_apgd_breaks_at_least_what_pgd_breaks_with_the_same_budget() -> None:
    net, images, labels = net_and_batch(60)
    pgd = Asked(eps=0.02, step_size=0.002, steps=40)
    theirs = run_attack("pgd", net, images, labels, pgd, range(60)).success.sum()
    ours = run_attack("apgd", net, images, labels, Asked(eps=0.02, steps=40), range(60)).success.sum()
    assert ours >= theirs > 0


def test_apgd_t_aims_at_one_wrong_class_a_start_and_takes_any_mistake() -> None:
    net, images, labels = net_and_batch()
    asked = Asked(eps=0.05, steps=10, restarts=9, loss="dlr")
    result = run_attack("apgd_t", net, images, labels, asked, range(24))
    assert torch.equal(net(result.images).argmax(1) != labels, result.success)
    assert result.success.any()
    with pytest.raises(UserError, match="below the number of classes, 10"):
        run_attack("apgd_t", net, images, labels, replace(asked, restarts=10), range(24))
    with pytest.raises(UserError, match="has no targeted form"):
        run_attack("apgd_t", net, images, labels, asked, range(24), targets=(labels + 1) % 10)


def test_squares_shrink_as_in_the_paper() -> None:
    sides = square_sides(10000, 100, 100, "linf")
    assert (sides[0], sides[11], sides[51], sides[201], sides[9999]) == (89, 63, 45, 32, 4)
    assert all(side % 2 and side >= 3 for side in square_sides(500, 28, 28, "l2"))
    # In L1 a short search takes the first squares of a long one.
    assert square_sides(500, 28, 28, "l1") == square_sides(10000, 28, 28, "l1")[:500]


@pytest.mark.parametrize("side", [1, 2, 3, 6, 9])
def test_a_bump_has_length_one_and_two_signs(side: int) -> None:
    assert bump(side, torch.float64).norm().item() == pytest.approx(1)
    assert (bump(side, torch.float64)[side // 2 :] < 0).all()


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.1), ("l2", 1.5)])
def test_square_needs_no_gradient_and_finds_what_rounding_hides(norm: str, eps: float) -> None:
    net, images, labels = net_and_batch()
    rounded = lambda x: net((x * 16).round() / 16)  # noqa: E731
    labels = rounded(images).argmax(1)
    step = Asked(eps=eps, norm=norm, step_size=eps / 4, steps=10)
    hidden = run_attack("bim", rounded, images, labels, step, range(24))
    found = run_attack(
        "square",
        rounded,
        images,
        labels,
        Asked(eps=eps, norm=norm, steps=200, loss="margin"),
        range(24),
    )
    assert hidden.zero_gradient.all()
    assert not hidden.success.any()
    assert found.success.sum() >= 12
    assert not found.zero_gradient.any()


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.03), ("l2", 0.4), ("l1", 2.0)])
def test_squares_of_an_image_that_enters_late_are_those_of_one_that_was_there_at_first(
    norm: str, eps: float
) -> None:
    net, images, labels = net_and_batch()
    asked = Asked(eps=eps, norm=norm, steps=80, loss="margin")
    whole = run_attack("square", net, images, labels, asked, range(24))
    few = run_attack("square", net, images, labels, asked, range(24), batch_size=3)
    fell_on_the_way = whole.success & (whole.steps_used % 32 > 0)
    assert 4 < int(fell_on_the_way.sum()) < 20
    assert torch.equal(few.success, whole.success)
    assert torch.equal(few.steps_used, whole.steps_used)
    assert (few.images - whole.images).abs().max() < 1e-9
