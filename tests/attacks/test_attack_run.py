"""What holds for every attack: the ball and the box, seeds, restarts, and refusals."""

from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from assay.attacks.images import AttackedImages
from assay.attacks.implementation import implementation_of
from assay.attacks.methods import METHODS, FoolboxAttack, attack_of
from assay.attacks.observe import NonFiniteLogitsError
from assay.attacks.run import least_likely_targets
from assay.attacks.settings import AttackSettings
from assay.common.balls import BALLS
from assay.common.errors import UserError
from attacked import Asked, run_attack

NORMS = ("linf", "l2")
CASES = [(name, norm) for name in METHODS for norm in NORMS]


def asked_of(name: str, norm: str, eps: float, steps: int = 6) -> Asked:
    method = METHODS[name]
    return Asked(
        eps=eps,
        norm=norm,
        step_size=eps / 3 if "step_size" in method.usual else None,
        steps=None if method.single_step else steps if method.uses_gradient else 12 * steps,
    )


def net_and_batch(count: int = 12) -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(1)
    net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 36, 10)).double().eval()
    images = torch.rand(count, 3, 8, 8, dtype=torch.float64)
    return net, images, net(images).argmax(1)


def test_every_declared_method_is_implemented() -> None:
    for name, method in METHODS.items():
        assert method.title
        implementation_of(attack_of(name, **method.usual))


@pytest.mark.parametrize(("name", "norm"), CASES)
def test_perturbation_stays_in_ball_and_box_and_success_is_what_the_model_says(name: str, norm: str) -> None:
    net, images, labels = net_and_batch()
    eps = 0.08 if norm == "linf" else 1.0
    result = run_attack(name, net, images, labels, asked_of(name, norm, eps), range(12))
    assert (BALLS[norm].length(result.images - images) <= eps + 1e-6).all()
    assert result.images.min() >= 0
    assert result.images.max() <= 1
    assert torch.equal(net(result.images).argmax(1) != labels, result.success)
    assert result.success.any()


@pytest.mark.parametrize(("name", "norm"), CASES)
def test_eps_zero_returns_the_image_and_the_clean_verdict(name: str, norm: str) -> None:
    net, images, labels = net_and_batch()
    labels[:4] = (labels[:4] + 1) % 10
    result = run_attack(name, net, images, labels, asked_of(name, norm, 0.0), range(12))
    assert torch.equal(result.images, images)
    assert torch.equal(result.success, torch.arange(12) < 4)


@pytest.mark.parametrize(("name", "norm"), CASES)
@pytest.mark.parametrize("batch_size", [1, 5, 12])
def test_outcome_of_an_image_does_not_depend_on_its_batch(name: str, norm: str, batch_size: int) -> None:
    net, images, labels = net_and_batch()
    asked = asked_of(name, norm, 0.02 if norm == "linf" else 0.25)
    whole = run_attack(name, net, images, labels, asked, range(12))
    order = torch.tensor([7, 2, 11, 0, 5, 9, 1])
    part = run_attack(name, net, images[order], labels[order], asked, order.tolist(), batch_size=batch_size)
    assert (part.images - whole.images[order]).abs().max() < 1e-9
    assert torch.equal(part.success, whole.success[order])
    assert torch.equal(part.steps_used, whole.steps_used[order])


@pytest.mark.parametrize("norm", NORMS)
@given(seed=st.integers(-(2**63), 2**64 - 1), eps=st.floats(0, 0.5))
@settings(max_examples=30, deadline=None)
def test_random_start_lies_in_the_ball_and_box(norm: str, seed: int, eps: float) -> None:
    images = torch.rand(1, 1, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    model = lambda x: torch.stack([x.sum((1, 2, 3)) * 0, x.sum((1, 2, 3)) * 0 - 1], 1)  # noqa: E731
    asked = Asked(eps=eps, norm=norm, step_size=max(eps, 1e-9), steps=1)
    start = run_attack("pgd", model, images, torch.tensor([0]), asked, [seed]).images
    assert BALLS[norm].length(start - images).item() <= eps + 1e-9
    assert 0 <= start.min() <= start.max() <= 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_balls_of_one_radius_are_projected_to_the_bits_that_others_get(dtype: torch.dtype) -> None:
    draw = torch.Generator().manual_seed(3)
    images = torch.rand(40, 3, 8, 8, dtype=dtype, generator=draw).mul_(1.2).sub_(0.1).clamp_(0, 1)
    points = torch.rand(images.shape, dtype=dtype, generator=draw).mul_(3).sub_(1)
    attack, radii = attack_of("pgd", **METHODS["pgd"].usual), [Fraction(1, 10), Fraction(3, 7), Fraction(0)]
    many = AttackedImages.of(nn.Identity(), images, torch.zeros(40, dtype=torch.int64), range(40))
    for level in range(3):
        one = many.within(attack, radii[level:])
        assert one.same_eps == float(radii[level])
        assert torch.equal(
            one.project_(points.clone()), BALLS["linf"].project_(points.clone(), images, one.eps)
        )
    mixed = many.within(attack, radii, torch.arange(40) % 3)
    assert mixed.same_eps is None
    assert torch.equal(
        mixed.project_(points.clone()), BALLS["linf"].project_(points.clone(), images, mixed.eps)
    )


def test_restarts_are_made_only_for_images_that_stand_and_differ() -> None:
    net, images, labels = net_and_batch()
    seen: list[int] = []

    def counting(pixels: Tensor) -> Tensor:
        seen.append(len(pixels))
        return net(pixels)

    once = asked_of("pgd", "linf", 0.012)
    first = run_attack("pgd", counting, images, labels, once, range(12))
    passes_of_one = sum(seen)
    seen.clear()
    thrice = run_attack("pgd", counting, images, labels, replace(once, restarts=3), range(12))
    standing = int((~first.success).sum())
    assert 0 < standing < 12
    assert sum(seen) <= passes_of_one + 2 * standing * (once.steps + 1)
    assert (thrice.success | ~first.success).all()
    assert torch.equal(thrice.images[first.success], first.images[first.success])
    assert torch.equal(thrice.steps_used[~thrice.success], torch.full((int((~thrice.success).sum()),), 18))


def test_fallen_images_leave_the_batch_and_waiting_ones_take_their_place() -> None:
    net, images, labels = net_and_batch()
    sizes: list[int] = []

    def counting(pixels: Tensor) -> Tensor:
        sizes.append(len(pixels))
        return net(pixels)

    result = run_attack(
        "bim", counting, images, labels, asked_of("bim", "linf", 0.1), range(12), batch_size=4
    )
    assert result.success.sum() > 6
    assert max(sizes) == 4
    assert sum(sizes) == int((result.steps_used + 1).sum())


def test_averaging_over_draws_climbs_what_a_random_network_does_on_average() -> None:
    net, images, labels = net_and_batch()
    noise = torch.Generator().manual_seed(3)

    def random(pixels: Tensor) -> Tensor:
        shake = 2 * torch.randn(len(pixels), 1, generator=noise, dtype=pixels.dtype)
        return net(pixels) + shake * net(1 - pixels)

    asked = replace(asked_of("bim", "linf", 0.03, steps=10), early_stop=False)
    plain = run_attack("bim", net, images, labels, asked, range(12)).images
    apart = []
    for draws in (1, 50):
        found = run_attack("bim", random, images, labels, replace(asked, draws=draws), range(12)).images
        apart.append((found - plain).abs().mean())
    assert apart[1] < apart[0] / 2
    same = run_attack("bim", net, images, labels, replace(asked, draws=5), range(12)).images
    assert torch.allclose(same, plain)


def test_parameters_get_no_gradients() -> None:
    net, images, labels = net_and_batch()
    run_attack("pgd", net, images, labels, asked_of("pgd", "linf", 0.02), range(12))
    assert all(parameter.grad is None for parameter in net.parameters())


@pytest.mark.parametrize("top_k", [1, 5])
def test_targeted_and_top_k_success_is_judged_by_rank(top_k: int) -> None:
    net, images, labels = net_and_batch()
    asked = replace(asked_of("pgd", "linf", 0.3, steps=20), top_k=top_k, loss="margin")
    targets = least_likely_targets(net, images, labels)
    assert torch.equal(targets, net(images).argmin(1))
    aimed = run_attack("pgd", net, images, labels, asked, range(12), targets=targets)
    ranks = net(aimed.images).argsort(1, descending=True)[:, :top_k]
    assert torch.equal((ranks == targets[:, None]).any(1), aimed.success)
    assert aimed.success.any()
    free = run_attack("pgd", net, images, labels, asked, range(12))
    ranks = net(free.images).argsort(1, descending=True)[:, :top_k]
    assert torch.equal(~(ranks == labels[:, None]).any(1), free.success)
    assert free.success.any()


def test_saturated_softmax_is_reported_as_zero_gradient_and_the_margin_sees_through_it() -> None:
    net, images, labels = net_and_batch()
    steep = lambda x: net.float()(x) * 1e5  # noqa: E731
    asked = asked_of("pgd", "linf", 0.05)
    blind = run_attack("pgd", steep, images.float(), labels, asked, range(12))
    seeing = run_attack("pgd", steep, images.float(), labels, replace(asked, loss="margin"), range(12))
    assert (blind.zero_gradient & ~blind.success).any()
    assert not seeing.zero_gradient.any()
    assert seeing.success.sum() > blind.success.sum()


@pytest.mark.parametrize(
    "flat", [lambda x: x.new_tensor([[2.0, 1.0]]).expand(len(x), 2), lambda x: x.round().flatten(1)]
)
def test_a_model_without_slope_is_reported(flat: object) -> None:
    images = torch.full((3, 1, 1, 2), 0.2)
    images[:, :, :, 0] = 0.9
    asked = Asked(eps=0.1, step_size=0.05, steps=3)
    result = run_attack("bim", flat, images, torch.zeros(3, dtype=torch.int64), asked, range(3))
    assert result.zero_gradient.all()
    assert not result.success.any()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_non_finite_logits_name_the_images(bad: float) -> None:
    net, images, labels = net_and_batch()

    def broken(pixels: Tensor) -> Tensor:
        logits = net(pixels).clone()
        logits[pixels[:, 0, 0, 0] > 0.999, 2] = bad
        return logits

    images[[3, 8], 0, 0, 0] = 1.0
    with pytest.raises(NonFiniteLogitsError, match="position 3, 8") as caught:
        run_attack("bim", broken, images, labels, asked_of("bim", "linf", 0.0), range(12))
    assert caught.value.positions == (3, 8)


STEP = {"steps": 1, "step_size": 0.05}


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("bim", {**STEP, "step_size": 0.0}, "a step size must be greater than 0"),
        ("bim", {"steps": 1}, "key `bim.step_size` is missing"),
        ("bim", {**STEP, "steps": 0}, "`bim.steps`: .* greater than or equal to 1"),
        ("bim", {**STEP, "restarts": 2}, "bim starts at the image itself, so restarts must be 1"),
        ("pgd", {**STEP, "restarts": 0}, "`pgd.restarts`: .* greater than or equal to 1"),
        ("fgsm", {"steps": 3}, "fgsm takes one step"),
        ("fgsm", {"step_size": 0.1}, "fgsm chooses its own step_size; leave it out"),
        ("bim", {**STEP, "loss": "hinge"}, "'cross_entropy', 'margin' or 'dlr'"),
        ("square", {"steps": 9, "loss": "dlr"}, "'cross_entropy' or 'margin'"),
        ("mim", {**STEP, "momentum": -1.0}, "`mim.momentum`: .* greater than or equal to 0"),
        ("bim", {**STEP, "momentum": 0.5}, "bim has no momentum; .* or use mim"),
        ("bim", {**STEP, "draws": 0}, "`bim.draws`: .* greater than or equal to 1"),
        ("bim", {**STEP, "options": {"a": 1}}, "bim takes no `options`"),
        ("fab", {"steps": 9, "draws": 20}, "draws must be 1"),
        ("apgd_t", {"steps": 9, "targeted": "least_likely"}, "apgd_t has no targeted form"),
        ("pdg", {}, "did you mean pgd"),
        ("bim", {**STEP, "stepz": 1}, "unknown key `bim.stepz`"),
        ("LinfPGD", {"backend": "foolbox", "loss": "dlr"}, "LinfPGD is foolbox's own attack"),
    ],
)
def test_parameters_that_a_method_cannot_honour_are_refused(
    name: str, parameters: dict, message: str
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        attack_of(name, **parameters)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("bim", {"eps": -0.1}, "eps must be"),
        ("bim", {"eps": float("nan")}, "eps must be a finite number"),
        ("bim", {"eps": float("inf")}, "eps must be a finite number"),
        ("bim", {"eps": 4.0}, "eps is in units"),
        ("bim", {"norm": "l7"}, "choose l1, l2 or linf"),
        ("bim", {"top_k": 0}, "top_k must be at least 1"),
        ("fab", {"step_size": None, "top_k": 5}, "top_k must be 1"),
    ],
)
def test_balls_and_rules_that_a_method_cannot_honour_are_refused(
    name: str, changes: dict, message: str
) -> None:
    net, images, labels = net_and_batch()
    asked = replace(Asked(eps=0.1, step_size=0.05, steps=2), **changes)
    with pytest.raises(UserError, match=message):
        run_attack(name, net, images, labels, asked, range(12))


def test_every_method_has_the_same_fields_for_what_is_stored_has_them_all() -> None:
    for method in [*METHODS.values(), FoolboxAttack]:
        assert list(method.model_fields) == list(AttackSettings.model_fields)


def test_inputs_that_do_not_fit_are_refused() -> None:
    net, images, labels = net_and_batch()
    asked = asked_of("bim", "linf", 0.1)
    with pytest.raises(UserError, match="in \\[0, 1\\]"):
        run_attack("bim", net, images * 255, labels, asked, range(12))
    with pytest.raises(UserError, match="position 0 is its own label"):
        run_attack("bim", net, images, labels, asked, range(12), targets=labels)
    with pytest.raises(UserError, match="seeds: expected one per image"):
        run_attack("bim", net, images, labels, asked, range(11))
    with pytest.raises(UserError, match="expected logits"):
        run_attack("bim", lambda x: x, images, labels, asked, range(12))


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        ("pgd", {"step_size": 0.004, "steps": 6, "restarts": 3}),
        ("apgd", {"steps": 6, "draws": 2}),
        ("apgd_t", {"steps": 6, "restarts": 3, "loss": "margin"}),
        ("square", {"steps": 20, "loss": "margin"}),
        ("fab", {"steps": 6, "restarts": 2, "loss": "margin"}),
        ("fab_t", {"steps": 6, "restarts": 3, "loss": "margin"}),
    ],
)
def test_passes_are_those_of_an_image_alone_however_it_is_batched(
    method: str, parameters: dict[str, Any]
) -> None:
    net, images, labels = net_and_batch()
    asked = Asked(eps=0.02, **parameters)
    many = run_attack(method, net, images, labels, asked, range(12), batch_size=5)
    forwards: list[int] = []

    def counting(pixels: Tensor) -> Tensor:
        forwards.append(len(pixels))
        return net(pixels)

    for row in range(12):
        forwards.clear()
        one = run_attack(method, counting, images[row : row + 1], labels[row : row + 1], asked, [row])
        assert torch.equal(one.passes[0], many.passes[row])
        assert int(one.passes[0, 0]) == sum(forwards)
    gradients = many.passes[:, 1]
    per_look = {"apgd": 2, "fab": 10, "square": 0}.get(method, 1)
    assert torch.equal(gradients, many.steps_used * per_look)
