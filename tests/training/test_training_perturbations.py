"""What is done to images: hand-worked cases, laws, and agreement with the attacks."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from assay.common.balls import BALLS
from assay.common.randomness import as_seeds, derive
from assay.training import perturbations as p
from attacked import Asked, run_attack

CPU = torch.device("cpu")


def chance(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def a_network() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 16, 5)).eval()


@pytest.mark.parametrize(("method", "steps"), [("bim", 1), ("bim", 5), ("pgd", 5)])
def test_climbing_the_cross_entropy_is_the_attack_byte_for_byte(method, steps):
    net, images, labels = a_network(), torch.rand(6, 2, 6, 6), torch.arange(6) % 5
    eps, step = 0.1, 0.03
    settings = Asked(eps=eps, step_size=step, steps=steps, early_stop=False)
    attacked = run_attack(method, net, images, labels, settings, range(6)).images
    seeds = derive(as_seeds(range(6), CPU), 0)  # an attack's first start has a seed of its own
    radii = torch.full((6,), eps, dtype=torch.float64)
    start = images if method == "bim" else BALLS["linf"].random_start(images, radii, seeds)
    ours = p.climb(
        lambda points: nn.functional.cross_entropy(net(points), labels, reduction="none"),
        start, images, eps, step, steps,
    )  # fmt: skip
    assert torch.equal(ours, attacked)


def test_one_step_up_a_linear_loss_by_hand():
    images = torch.tensor([0.5, 0.98, 0.5]).reshape(1, 1, 1, 3)
    slope = torch.tensor([2.0, 1.0, -3.0]).reshape(1, 1, 1, 3)
    found = p.climb(lambda points: (points * slope).flatten(1).sum(1), images, images, 0.1, 0.1, 1)
    assert found.flatten().tolist() == pytest.approx([0.6, 1.0, 0.4])


@given(st.integers(0, 2**31), st.floats(0, 0.5), st.integers(1, 4))
def test_what_is_climbed_stays_in_the_ball_and_the_box(seed, eps, steps):
    images = torch.rand(2, 1, 3, 3, generator=torch.Generator().manual_seed(seed))
    start = p.uniform_noise(images, eps, chance(seed))
    found = p.climb(lambda points: points.square().flatten(1).sum(1), start, images, eps, 0.4 * eps, steps)
    assert (found - images).abs().max() <= eps + 1e-6
    assert found.min() >= 0
    assert found.max() <= 1


def test_delta_is_the_sign_of_chance_or_minus_the_saliency():
    signs = torch.tensor([1.0, -1, 1, -1]).reshape(1, 1, 2, 2)
    salient = torch.tensor([[[1, 1], [-1, -1]]])
    from_noise = torch.tensor([True, True, False, False]).reshape(1, 1, 2, 2)
    assert p.blended(signs, salient, from_noise).flatten().tolist() == [1, -1, 1, 1]


def test_where_no_saliency_is_known_delta_stays_chance():
    signs = torch.tensor([1.0, -1, 1, -1]).reshape(1, 1, 2, 2)
    unknown, never = torch.zeros(1, 2, 2, dtype=torch.int8), torch.zeros(1, 1, 2, 2, dtype=torch.bool)
    assert torch.equal(p.blended(signs, unknown, never), signs)


def test_one_map_serves_all_channels_and_a_map_a_channel_keeps_its_own():
    images = torch.zeros(1, 3, 2, 2)
    one = torch.tensor([[[1, -1], [1, -1]]])
    assert torch.equal(
        p.salient_perturbation(images, one, 0.0, chance()), -one[:, None].expand(1, 3, 2, 2).float()
    )
    three = torch.tensor([1, -1, 1]).reshape(1, 3, 1, 1).expand(1, 3, 2, 2)
    assert torch.equal(p.salient_perturbation(images, three, 0.0, chance()), -three.float())


def test_with_probability_alpha_to_the_t_a_pixel_is_noise():
    """Where the saliency says -1, delta is +1 unless noise says -1: with probability share / 2."""
    images, salient = torch.zeros(4, 1, 100, 100), -torch.ones(4, 100, 100, dtype=torch.int8)
    for share in (0.0, 0.3, 1.0):
        delta = p.salient_perturbation(images, salient, share, chance())
        assert set(delta.unique().tolist()) <= {-1.0, 1.0}
        assert (delta == -1).double().mean().item() == pytest.approx(share / 2, abs=0.01)


def test_a_perturbation_is_drawn_from_its_generator_alone():
    images, salient = torch.zeros(3, 1, 4, 4), torch.ones(3, 4, 4)
    first, again, other = (p.salient_perturbation(images, salient, 0.5, chance(seed)) for seed in (5, 5, 6))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_perturbed_images_are_clipped():
    images = torch.tensor([0.05, 0.5, 0.95]).reshape(1, 1, 1, 3)
    delta = torch.tensor([-1.0, 1.0, 1.0]).reshape(1, 1, 1, 3)
    assert p.perturbed(images, delta, 0.1).flatten().tolist() == pytest.approx([0.0, 0.6, 1.0])


@pytest.mark.parametrize(
    ("threshold", "expected"),
    [("zero", [1, 1, -1, 1]), ("mean", [1, -1, -1, 1]), ("median", [1, -1, -1, 1])],
)
def test_signs_of_a_map_by_each_threshold(threshold, expected):
    maps = torch.tensor([[[2.0, 0.5], [-1.0, 6.0]]])  # mean 1.875, (lower) median 0.5
    assert p.signs_of(maps, threshold).flatten().tolist() == expected


def test_the_half_of_the_pixels_with_the_lowest_gradient_is_replaced_from_the_image_s_own_range():
    images = torch.tensor([[0.2, 0.4, 0.6, 0.8], [0.5, 0.5, 0.5, 0.5]]).reshape(2, 1, 2, 2)
    gradient = torch.tensor([[-9.0, 0.1, 3.0, -0.2], [1.0, 0.0, 0.0, 0.0]]).reshape(2, 1, 2, 2)
    found = p.masked(images, gradient, 0.5, chance()).flatten(1)
    assert found[0, [0, 2]].tolist() == images.flatten(1)[0, [0, 2]].tolist()
    assert all(0.2 <= value <= 0.8 for value in found[0, [1, 3]].tolist())
    assert (found[0, [1, 3]] != images.flatten(1)[0, [1, 3]]).all()
    assert torch.equal(found[1], images.flatten(1)[1])  # a flat image has but one value to draw


def test_a_pixel_is_replaced_in_all_its_channels_by_the_sum_of_their_magnitudes():
    images = torch.rand(1, 3, 1, 2)
    gradient = torch.tensor(
        [[[[1.0, 0.0]], [[-1.0, 0.0]], [[1.0, 2.5]]]]
    )  # 3 against 2.5, plain sums 1 and 2.5
    found = p.masked(images, gradient, 0.5, chance())
    assert torch.equal(found[..., 0], images[..., 0])
    assert (found[..., 1] != images[..., 1]).all()


@given(st.floats(0, 1), st.integers(0, 2**31))
def test_exactly_the_share_is_replaced_even_where_gradients_are_equal(share, seed):
    images = torch.rand(2, 1, 4, 4, generator=torch.Generator().manual_seed(seed))
    found = p.masked(images, torch.zeros(2, 1, 4, 4), share, chance())
    assert ((found != images).flatten(1).sum(1) == int(share * 16)).all()


def test_the_nudge_is_small_and_inside_the_ball():
    images = torch.full((1, 1, 50, 50), 0.5)
    found = p.nudged(images, 0.0015, chance()) - images
    assert 0 < found.abs().max() <= 0.0015 + 1e-7
    assert p.nudged(images, 1.0, chance()).std().item() == pytest.approx(0.001, rel=0.1)
