"""FAB: ways onto a hyperplane that a solver agrees with, nearest images of linear models, and what falls."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog, minimize
from torch import Tensor

from assay.attacks.closed_form import linear_worst_margin
from assay.attacks.hyperplane import move_onto
from assay.attacks.images import AttackedImages, AttackResult
from assay.attacks.nearest import nearest
from assay.common.balls import BALLS
from assay.common.errors import UserError
from attacked import Asked, run_attack, run_on
from digits_models import linear_net

NORMS = ("linf", "l2", "l1")
ASKED = {
    "fab": Asked(eps=0.1, steps=20),
    "fab_t": Asked(eps=0.1, steps=20, restarts=9),
}


def nearest_on(method: str, images: AttackedImages, asked: Asked) -> AttackResult:
    return nearest(asked.attack(method), asked.on(images), asked.eps)


def problems(seed: int, count: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    """Points, slopes and rises that the box allows; some slopes are 0, some pixels at the edge of the box."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.rand(*shape, dtype=torch.float64, generator=generator)  # noqa: E731
    points = (draw(count, 1, 2, 4) * 1.4 - 0.2).clamp(0, 1)
    slopes = (draw(count, 1, 2, 4) - 0.5) * (draw(count, 1, 2, 4) > 0.2)
    somewhere = draw(count, 1, 2, 4)
    return points, slopes, (slopes * (somewhere - points)).flatten(1).sum(1)


def shortest(point: np.ndarray, slope: np.ndarray, rise: float, norm: str) -> float:
    """The length of the shortest move by a general solver."""
    bounds = list(zip(-point, 1 - point, strict=True))
    if norm == "linf":
        each = np.vstack([np.eye(len(point)), -np.eye(len(point))])
        found = linprog(
            [0.0] * len(point) + [1.0],
            A_ub=np.hstack([each, -np.ones((2 * len(point), 1))]),
            b_ub=np.zeros(2 * len(point)),
            A_eq=[[*slope, 0.0]],
            b_eq=[rise],
            bounds=[*bounds, (0, None)],
        )
        return float(found.fun)
    if norm == "l1":  # each move as the difference of two that are not negative
        found = linprog(
            np.ones(2 * len(point)),
            A_eq=[[*slope, *-slope]],
            b_eq=[rise],
            bounds=[*zip(np.zeros_like(point), 1 - point, strict=True), *zip(0 * point, point, strict=True)],
        )
        return float(found.fun)
    on_it = {"type": "eq", "fun": lambda move: slope @ move - rise}
    start = np.zeros_like(point)
    found = minimize(lambda move: move @ move, start, bounds=bounds, constraints=on_it, method="SLSQP")
    return float(np.sqrt(found.fun))


@pytest.mark.parametrize("norm", NORMS)
@given(seed=st.integers(0, 10**6))
@settings(max_examples=15)
def test_the_move_onto_a_hyperplane_is_as_short_as_a_solver_s(norm: str, seed: int) -> None:
    points, slopes, rise = problems(seed)
    moves = move_onto(points, slopes, rise, norm)
    assert torch.allclose((slopes * moves).flatten(1).sum(1), rise, atol=1e-12)
    assert (points + moves).min() >= -1e-12
    assert (points + moves).max() <= 1 + 1e-12
    lengths = BALLS[norm].length(moves)
    for row in range(len(points)):
        flat = points[row].flatten().numpy(), slopes[row].flatten().numpy()
        assert lengths[row].item() == pytest.approx(shortest(*flat, rise[row].item(), norm), abs=1e-5)


@pytest.mark.parametrize("norm", NORMS)
def test_what_the_box_cannot_reach_ends_in_its_corner(norm: str) -> None:
    points, slopes, _ = problems(3)
    far = torch.full((len(points),), 100.0, dtype=torch.float64)
    corner = torch.where(slopes > 0, 1.0, torch.where(slopes < 0, 0.0, points))
    assert torch.allclose(points + move_onto(points, slopes, far, norm), corner)


@pytest.mark.parametrize("norm", NORMS)
def test_without_a_slope_nothing_moves(norm: str) -> None:
    points, slopes, rise = problems(4)
    assert not move_onto(points, torch.zeros_like(slopes), rise + 1, norm).any()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_the_scale_of_the_slopes_plays_no_part(norm: str, scale: float) -> None:
    points, slopes, rise = (values.float() for values in problems(5))
    plain = move_onto(points, slopes, rise, norm)
    assert torch.allclose(move_onto(points, slopes * scale, rise * scale, norm), plain, atol=1e-6)


@pytest.mark.parametrize("norm", NORMS)
def test_a_move_does_not_depend_on_its_batch(norm: str) -> None:
    points, slopes, rise = problems(6, count=30)
    whole = move_onto(points, slopes, rise, norm)
    alone = [move_onto(points[[row]], slopes[[row]], rise[[row]], norm) for row in range(30)]
    assert torch.allclose(torch.cat(alone), whole, atol=1e-15)


def digits(count: int = 40) -> tuple[AttackedImages, Tensor, Tensor]:
    """A trained linear model on digits that it answers rightly, with its weight and bias."""
    from sklearn.datasets import load_digits

    pixels, labels = (torch.tensor(part) for part in load_digits(return_X_y=True))
    images = pixels[1000 : 1000 + count].view(-1, 1, 8, 8).double() / 16
    labels, net = labels[1000 : 1000 + count], linear_net().double()
    right = net(images).argmax(1) == labels
    images, labels = images[right], labels[right]
    job = AttackedImages.of(net, images, labels, range(len(images)))
    return job, net[1].weight.data, net[1].bias.data


def distances(job: AttackedImages, weight: Tensor, bias: Tensor, norm: str) -> Tensor:
    """Each image's exact distance from the nearest wrong class within the box, by the hyperplanes' own formula."""
    if norm != "l2":
        low = torch.zeros(len(job.images), dtype=torch.float64)
        high = torch.full_like(low, 1 if norm == "linf" else 64)
        for _ in range(45):
            middle = (low + high) / 2
            falls = torch.stack(
                [
                    linear_worst_margin(weight, bias, image[None], label[None], radius.item(), norm)[0] <= 0
                    for image, label, radius in zip(job.images, job.labels, middle, strict=True)
                ]
            )
            low, high = torch.where(falls, low, middle), torch.where(falls, middle, high)
        return high
    lengths = []
    for image, label in zip(job.images.flatten(1).numpy(), job.labels.tolist(), strict=True):
        slopes, gaps = (weight - weight[label]).numpy(), (bias - bias[label]).numpy()
        rises = -(slopes @ image + gaps)
        others = [one for one in range(10) if one != label]
        lengths.append(min(_length_by_bisection(image, slopes[one], rises[one]) for one in others))
    return torch.tensor(lengths, dtype=torch.float64)


def _length_by_bisection(point: np.ndarray, slope: np.ndarray, rise: float) -> float:
    """The shortest L2 move: x + t w clipped to the box, t by bisection (its optimality conditions)."""
    low, high = 0.0, 1e4
    for _ in range(80):
        middle = (low + high) / 2
        reached = slope @ (np.clip(point + middle * slope, 0, 1) - point)
        low, high = (middle, high) if reached < rise else (low, middle)
    if slope @ (np.clip(point + high * slope, 0, 1) - point) < rise - 1e-9:
        return np.inf
    return float(np.linalg.norm(np.clip(point + high * slope, 0, 1) - point))


@pytest.mark.parametrize("norm", NORMS)
def test_the_nearest_image_of_a_linear_model_is_the_exact_one(norm: str) -> None:
    job, weight, bias = digits()
    found = nearest_on("fab_t", job, replace(ASKED["fab_t"], norm=norm))
    lengths, exact = BALLS[norm].length(found.images - job.images), distances(job, weight, bias, norm)
    assert found.success.all()
    assert torch.equal(job.model(found.images).argmax(1) != job.labels, found.success)
    assert (lengths >= exact - 1e-9).all()
    assert (lengths <= exact * 1.005).all()


@pytest.mark.parametrize("norm", NORMS)
def test_all_boundaries_at_once_lead_to_the_same_images(norm: str) -> None:
    job, weight, bias = digits()
    found = nearest_on("fab", job, replace(ASKED["fab"], norm=norm))
    ratio = BALLS[norm].length(found.images - job.images) / distances(job, weight, bias, norm)
    # Which boundary is nearest is judged without the box, so a few images are led to another.
    assert ratio.median() < 1.005
    assert ratio.max() < 1.3


@pytest.mark.parametrize("method", ["fab", "fab_t"])
@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.06), ("l2", 0.35), ("l1", 1.5)])
def test_what_falls_at_a_radius_is_what_lies_nearer(method: str, norm: str, eps: float) -> None:
    job, weight, bias = digits(100)
    fell = run_on(method, job, replace(ASKED[method], norm=norm, eps=eps)).success
    exact = distances(job, weight, bias, norm)
    assert not fell[exact > eps].any()
    assert 10 < int(fell.sum()) < len(fell) - 10
    assert (fell == (exact < eps)).float().mean() > (0.98 if method == "fab_t" else 0.95)


def test_an_image_that_falls_early_costs_fewer_passes() -> None:
    job, _, _ = digits()
    passes: list[int] = []

    def counted(pixels: Tensor) -> Tensor:
        passes.append(len(pixels))
        return job.model(pixels)

    asked = replace(ASKED["fab_t"], restarts=1)
    run_on("fab_t", replace(job, model=counted), replace(asked, eps=0.3))
    early = sum(passes)
    passes.clear()
    run_on("fab_t", replace(job, model=counted), replace(asked, eps=0.001))
    assert early < sum(passes) / 4


def test_a_restart_begins_elsewhere_and_never_ends_farther() -> None:
    job, _, _ = digits()
    torch.manual_seed(0)
    bent = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(64, 24), torch.nn.ReLU(), torch.nn.Linear(24, 10)
    )
    optimiser = torch.optim.Adam(bent.double().parameters(), lr=0.01)
    for _ in range(100):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(bent(job.images), job.labels).backward()
        optimiser.step()
    job, asked = replace(job, model=bent), replace(ASKED["fab"], steps=10)
    once, thrice = nearest_on("fab", job, asked), nearest_on("fab", job, replace(asked, restarts=3))
    lengths = [BALLS["linf"].length(found.images - job.images) for found in (once, thrice)]
    assert (lengths[1] <= lengths[0] + 1e-12).all()
    assert (lengths[1] < lengths[0] - 1e-9).any()
    assert torch.equal(thrice.steps_used, torch.full((len(job.images),), 30))


@pytest.mark.parametrize("method", ["fab", "fab_t"])
@pytest.mark.parametrize("scale", [1e-4, 1e4])
def test_the_scale_of_the_logits_plays_no_part(method: str, scale: float) -> None:
    job, _, _ = digits()
    job = replace(job, images=job.images.float(), model=job.model.float())
    scaled = replace(job, model=lambda pixels: scale * job.model(pixels))
    plain, other = (nearest_on(method, one, ASKED[method]) for one in (job, scaled))
    lengths = [BALLS["linf"].length(found.images - job.images) for found in (plain, other)]
    assert torch.allclose(lengths[0], lengths[1], rtol=2e-2)
    assert not other.zero_gradient.any()


def test_a_misclassified_image_is_its_own_nearest() -> None:
    job, _, _ = digits()
    wrong = replace(job, labels=(job.labels + 1) % 10)
    found = nearest_on("fab_t", wrong, replace(ASKED["fab_t"], steps=3))
    assert found.success.all()
    assert torch.equal(found.images, job.images)


def test_a_model_without_slope_is_left_where_it_is_and_reported() -> None:
    images = torch.rand(3, 1, 4, 4)
    flat = lambda pixels: torch.tensor([[1.0, 0.0, 0.0]]).expand(len(pixels), 3)  # noqa: E731
    result = run_attack("fab", flat, images, torch.zeros(3, dtype=torch.int64), ASKED["fab"], range(3))
    assert torch.equal(result.images, images)
    assert result.zero_gradient.all()
    assert not result.success.any()


def test_what_cannot_be_honoured_is_refused() -> None:
    job, _, _ = digits()
    with pytest.raises(UserError, match="choose fab or fab_t"):
        nearest_on("pgd", job, Asked(eps=0.1, step_size=0.1, steps=1))
    with pytest.raises(UserError, match="top_k must be 1"):
        run_on("fab_t", job, replace(ASKED["fab_t"], top_k=5))
    with pytest.raises(UserError, match="should be 'margin'"):
        run_on("fab_t", job, replace(ASKED["fab_t"], loss="dlr"))
    with pytest.raises(UserError, match="below the number of classes, 10"):
        nearest_on("fab_t", job, replace(ASKED["fab_t"], restarts=10))
