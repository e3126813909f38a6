"""Whole accuracy-eps curves: fewer attacks, the same answers."""

from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from assay.attacks import curve
from assay.attacks.closed_form import linear_worst_margin
from assay.attacks.curve import bisect
from assay.attacks.images import AttackedImages, AttackResult
from assay.attacks.methods import attack_of
from assay.attacks.run import run_starts
from assay.attacks.settings import AttackSettings
from assay.common.errors import UserError

EPS = (0.004, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2)
BIM = attack_of("bim", steps=4, step_size="1/2 eps")


def linear_job(seed: int = 0, count: int = 64) -> tuple[AttackedImages, Tensor]:
    """A two-class linear model and, for each image, the exact index of the smallest eps at which it falls."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(2, 12, dtype=torch.float64, generator=generator)
    images = torch.rand(count, 1, 3, 4, dtype=torch.float64, generator=generator)
    labels = (images.flatten(1) @ weight.T).argmax(1)
    margins = [
        linear_worst_margin(weight, torch.zeros(2, dtype=torch.float64), images, labels, eps, "linf")
        for eps in EPS
    ]
    exact = (torch.stack(margins) > 0).sum(0)
    return AttackedImages.of(lambda x: x.flatten(1) @ weight.T, images, labels, range(count)), exact


@pytest.fixture
def attacks_met(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The positions of the images of every attack that a search makes."""
    met: list[int] = []

    def counted(attack: AttackSettings, images: AttackedImages) -> AttackResult:
        met.extend(images.position.tolist())
        return run_starts(attack, images)

    monkeypatch.setattr(curve, "run_starts", counted)
    return met


@given(st.integers(0, 10**6))
@settings(max_examples=6, deadline=None)
def test_bisect_finds_each_image_s_smallest_eps(seed: int) -> None:
    job, exact = linear_job(seed)
    level, found = bisect(BIM, job, EPS)
    assert torch.equal(level, exact)
    assert torch.equal(found.success, level < len(EPS))
    away = (found.images - job.images).flatten(1).abs().amax(1)
    radii = torch.tensor([*EPS, 0.0], dtype=torch.float64)[level]
    assert (away <= radii + 1e-9).all()
    assert torch.equal(job.model(found.images).argmax(1) != job.labels, found.success)


@pytest.mark.parametrize(("radii", "most"), [(7, 3), (8, 4)])
def test_a_search_takes_the_logarithm_of_its_radii(attacks_met: list[int], radii: int, most: int) -> None:
    job, exact = linear_job()
    level, _ = bisect(BIM, job, EPS[-radii:])
    assert torch.equal(level, (exact - len(EPS) + radii).clamp_min(0))
    assert max(Counter(attacks_met).values()) == most


def test_radii_must_ascend_and_fit() -> None:
    job, _ = linear_job()
    with pytest.raises(UserError, match="each above the last"):
        bisect(BIM, job, EPS[::-1])
    with pytest.raises(UserError, match="at least one"):
        bisect(BIM, job, [])
    with pytest.raises(UserError, match="write 4/255"):
        bisect(BIM, job, [0.5, 4.0])
