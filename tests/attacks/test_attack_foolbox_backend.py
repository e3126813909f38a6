"""The same settings by foolbox's loops: the same iterates, hence the same outcomes."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from assay.attacks.foolbox_backend import check_foolbox, run_named, run_with_foolbox
from assay.attacks.images import AttackedImages, AttackResult
from assay.attacks.methods import attack_of
from assay.attacks.probe import black_box_probe, retry_blind
from assay.attacks.settings import AttackSettings
from assay.common.errors import UserError
from attacked import Asked, run_on


def some_images(count: int = 20) -> AttackedImages:
    torch.manual_seed(4)
    net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 36, 10)).double().eval()
    images = torch.rand(count, 3, 8, 8, dtype=torch.float64)
    return AttackedImages.of(net, images, net(images).argmax(1), range(count), batch_size=8)


def named(method: str, **options: object) -> AttackSettings:
    return attack_of(method, backend="foolbox", options=options)


def by_foolbox(method: str, images: AttackedImages, asked: Asked) -> AttackResult:
    return run_with_foolbox(asked.attack(method), asked.on(images), asked.eps)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("momentum_norm", ["l1", "l2"])
@pytest.mark.parametrize("method", ["fgsm", "bim", "pgd", "mim"])
def test_foolbox_finds_the_same_images(method: str, norm: str, momentum_norm: str) -> None:
    eps = 0.02 if norm == "linf" else 0.3
    steps = {"step_size": eps / 4, "steps": 8, "restarts": 2 if method == "pgd" else 1}
    asked = Asked(eps=eps, norm=norm, early_stop=False)
    asked = asked if method == "fgsm" else replace(asked, **steps)
    asked = replace(asked, momentum_norm=momentum_norm) if method == "mim" else asked
    ours, theirs = run_on(method, some_images(), asked), by_foolbox(method, some_images(), asked)
    assert (ours.images - theirs.images).abs().max() < 1e-6
    assert torch.equal(ours.success, theirs.success)
    assert torch.equal(ours.steps_used, theirs.steps_used)
    assert 0 < int(ours.success.sum()) < 20
    stopped = run_on(method, some_images(), replace(asked, early_stop=True))
    assert (stopped.success | ~theirs.success).all()


def test_targeted_runs_agree_too() -> None:
    job = some_images()
    job = replace(job, targets=(job.labels + 4) % 10)
    asked = Asked(eps=0.06, step_size=0.01, steps=10, early_stop=False)
    ours, theirs = run_on("bim", job, asked), by_foolbox("bim", job, asked)
    assert (ours.images - theirs.images).abs().max() < 1e-6
    assert torch.equal(ours.success, theirs.success)


def test_deepfool_finds_the_distance_to_the_boundary_of_a_linear_model() -> None:
    weight = torch.randn(2, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    images = 0.4 + 0.2 * torch.rand(10, 1, 3, 4, dtype=torch.float64)
    model = lambda x: 0.1 * x.flatten(1) @ weight.T - 0.05 * weight.sum(1)  # noqa: E731
    logits = model(images)
    job = AttackedImages.of(model, images, logits.argmax(1), range(10))
    found, fell = run_named(named("L2DeepFoolAttack", overshoot=0.0001), job)
    exact = (logits[:, 0] - logits[:, 1]).abs() / (0.1 * (weight[0] - weight[1]).norm())
    assert fell.all()
    assert torch.allclose((found - images).flatten(1).norm(dim=1), exact, atol=3e-4)


def test_what_foolbox_cannot_do_is_refused() -> None:
    with pytest.raises(UserError, match="runs bim, fgsm, mim, pgd only"):
        check_foolbox(attack_of("apgd", steps=5), "linf", 1)
    with pytest.raises(UserError, match="choose backend assay"):
        attack_of("apgd", steps=5, backend="foolbox")
    with pytest.raises(UserError, match="cross_entropy and judges top 1"):
        check_foolbox(attack_of("bim", steps=5, step_size=0.02, loss="margin"), "linf", 1)
    with pytest.raises(UserError, match="did you mean L2DeepFoolAttack"):
        run_named(named("L2DeepFool"), some_images())
    with pytest.raises(UserError, match="does not take these options"):
        run_named(named("L2DeepFoolAttack", depth=3), some_images())
    with pytest.raises(UserError, match=r"steps: Input should be a valid integer \(got 'many'\)"):
        check_foolbox(named("L2DeepFoolAttack", steps="many"), "l2", 1)
    check_foolbox(named("L2DeepFoolAttack", steps=3, overshoot=1, loss="logits", candidates=None), "l2", 1)
    aimed = some_images()
    with pytest.raises(UserError, match="unsupported criterion; choose another"):
        run_named(named("LinfFastGradientAttack"), replace(aimed, targets=(aimed.labels + 1) % 10), 0.1)
    with pytest.raises(UserError, match="give eps"):
        run_named(named("LinfPGD"), some_images())


def test_blind_images_are_attacked_again_on_the_margin_and_stay_marked() -> None:
    job = some_images()
    net = job.model.float()
    steep = replace(job, model=lambda x: net(x) * 1e5, images=job.images.float())
    asked = Asked(eps=0.05, step_size=0.01, steps=10)
    first = run_on("pgd", steep, asked)
    mended = retry_blind(asked.attack("pgd"), steep, 0.05, first)
    assert (first.zero_gradient & ~first.success).sum() > 10
    assert mended.success.sum() > first.success.sum()
    assert torch.equal(mended.retried, first.zero_gradient & ~first.success)
    assert not mended.zero_gradient[mended.retried].any()
    assert (mended.steps_used >= first.steps_used).all()
    margin = replace(asked, loss="margin").attack("pgd")
    assert not retry_blind(margin, steep, 0.05, first).retried.any()


def test_the_probe_breaks_what_a_shattered_gradient_hides() -> None:
    job = some_images()
    net = job.model
    rounded = replace(job, model=lambda x: net((x * 16).round() / 16))
    rounded = replace(rounded, labels=rounded.model(job.images).argmax(1))
    assert not run_on("bim", rounded, Asked(eps=0.1, step_size=0.02, steps=10)).success.any()
    assert black_box_probe(rounded, 0.1).success.sum() > 5
