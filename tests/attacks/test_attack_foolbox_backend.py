"""The same settings by foolbox's loops: the same iterates, hence the same outcomes."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from assay.attacks.foolbox_backend import check_foolbox_settings, check_named, run_named, run_with_foolbox
from assay.attacks.probe import black_box_probe, retry_blind
from assay.attacks.run import AttackJob, run_job
from assay.attacks.settings import AttackSettings
from assay.common.errors import UserError


def job_of(method: str, count: int = 20) -> AttackJob:
    torch.manual_seed(4)
    net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 36, 10)).double().eval()
    images = torch.rand(count, 3, 8, 8, dtype=torch.float64)
    return AttackJob(method, net, images, net(images).argmax(1), range(count), batch_size=8)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("momentum_norm", ["l1", "l2"])
@pytest.mark.parametrize("method", ["fgsm", "bim", "pgd", "mim"])
def test_foolbox_finds_the_same_images(method: str, norm: str, momentum_norm: str) -> None:
    eps = 0.02 if norm == "linf" else 0.3
    steps = {"step_size": eps / 4, "steps": 8, "restarts": 2 if method == "pgd" else 1}
    asked = AttackSettings(eps=eps, norm=norm, momentum_norm=momentum_norm, early_stop=False)
    asked = asked if method == "fgsm" else replace(asked, **steps)
    ours, theirs = run_job(job_of(method), asked), run_with_foolbox(job_of(method), asked)
    assert (ours.images - theirs.images).abs().max() < 1e-6
    assert torch.equal(ours.success, theirs.success)
    assert torch.equal(ours.steps_used, theirs.steps_used)
    assert 0 < int(ours.success.sum()) < 20
    stopped = run_job(job_of(method), replace(asked, early_stop=True))
    assert (stopped.success | ~theirs.success).all()


def test_targeted_runs_agree_too() -> None:
    job = job_of("bim")
    job = replace(job, targets=(job.labels + 4) % 10)
    asked = AttackSettings(eps=0.06, step_size=0.01, steps=10, early_stop=False)
    ours, theirs = run_job(job, asked), run_with_foolbox(job, asked)
    assert (ours.images - theirs.images).abs().max() < 1e-6
    assert torch.equal(ours.success, theirs.success)


def test_deepfool_finds_the_distance_to_the_boundary_of_a_linear_model() -> None:
    weight = torch.randn(2, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    images = 0.4 + 0.2 * torch.rand(10, 1, 3, 4, dtype=torch.float64)
    model = lambda x: 0.1 * x.flatten(1) @ weight.T - 0.05 * weight.sum(1)  # noqa: E731
    logits = model(images)
    job = AttackJob("bim", model, images, logits.argmax(1), range(10))
    found, fell = run_named("L2DeepFoolAttack", {"overshoot": 0.0001}, job)
    exact = (logits[:, 0] - logits[:, 1]).abs() / (0.1 * (weight[0] - weight[1]).norm())
    assert fell.all()
    assert torch.allclose((found - images).flatten(1).norm(dim=1), exact, atol=3e-4)


def test_what_foolbox_cannot_do_is_refused() -> None:
    asked = AttackSettings(eps=0.1, step_size=0.02)
    with pytest.raises(UserError, match="runs bim, fgsm, mim, pgd only"):
        check_foolbox_settings("apgd", replace(asked, step_size=None))
    with pytest.raises(UserError, match="cross_entropy and judges top 1"):
        check_foolbox_settings("bim", replace(asked, loss="margin"))
    with pytest.raises(UserError, match="did you mean L2DeepFoolAttack"):
        run_named("L2DeepFool", {}, job_of("bim"))
    with pytest.raises(UserError, match="does not take these options"):
        run_named("L2DeepFoolAttack", {"depth": 3}, job_of("bim"))
    with pytest.raises(UserError, match=r"steps: Input should be a valid integer \(got 'many'\)"):
        check_named("L2DeepFoolAttack", {"steps": "many"}, "l2")
    check_named("L2DeepFoolAttack", {"steps": 3, "overshoot": 1, "loss": "logits", "candidates": None}, "l2")
    aimed = job_of("bim")
    with pytest.raises(UserError, match="unsupported criterion; choose another"):
        run_named("LinfFastGradientAttack", {}, replace(aimed, targets=(aimed.labels + 1) % 10), 0.1)
    with pytest.raises(UserError, match="give eps"):
        run_named("LinfPGD", {}, job_of("bim"))


def test_blind_images_are_attacked_again_on_the_margin_and_stay_marked() -> None:
    job = job_of("pgd")
    net = job.model.float()
    steep = replace(job, model=lambda x: net(x) * 1e5, images=job.images.float())
    asked = AttackSettings(eps=0.05, step_size=0.01, steps=10)
    first = run_job(steep, asked)
    mended, retried = retry_blind(steep, asked, first)
    assert (first.zero_gradient & ~first.success).sum() > 10
    assert mended.success.sum() > first.success.sum()
    assert torch.equal(retried, first.zero_gradient & ~first.success)
    assert not mended.zero_gradient[retried].any()
    assert (mended.steps_used >= first.steps_used).all()
    assert not retry_blind(steep, replace(asked, loss="margin"), first)[1].any()


def test_the_probe_breaks_what_a_shattered_gradient_hides() -> None:
    job = job_of("bim")
    net = job.model
    rounded = replace(job, model=lambda x: net((x * 16).round() / 16))
    rounded = replace(rounded, labels=rounded.model(job.images).argmax(1))
    assert not run_job(rounded, AttackSettings(eps=0.1, step_size=0.02, steps=10)).success.any()
    assert black_box_probe(rounded, 0.1, "linf").success.sum() > 5
