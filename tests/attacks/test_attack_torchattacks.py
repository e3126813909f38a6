"""PGD against torchattacks' at equal budgets, image by image; skipped where torchattacks is not importable."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from assay.attacks.images import AttackedImages
from attacked import Asked, run_on

torchattacks = pytest.importorskip(
    "torchattacks", reason="torchattacks is no dependency; install it to compare"
)
EPS = 0.04
ASKED = Asked(eps=EPS, step_size=EPS / 4, steps=10)


@pytest.fixture(scope="module")
def job() -> AttackedImages:
    torch.manual_seed(4)
    net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 36, 10)).eval()
    images = torch.rand(200, 3, 8, 8)
    return AttackedImages.of(net, images, net(images).argmax(1), range(200), batch_size=50)


def theirs(job: AttackedImages, random_start: bool) -> torch.Tensor:
    attack = torchattacks.PGD(
        job.model, eps=EPS, alpha=ASKED.step_size, steps=ASKED.steps, random_start=random_start
    )
    found: torch.Tensor = attack(job.images, job.labels)
    return found


def test_from_the_same_start_the_iterates_are_the_same(job: AttackedImages) -> None:
    ours = run_on("bim", job, replace(ASKED, early_stop=False))
    found = theirs(job, random_start=False)
    # Where a gradient is zero to rounding, its sign is noise.
    same = ((ours.images - found).flatten(1).abs().amax(1) < 1e-6).float().mean()
    assert same > 0.98
    fell = job.model(found).argmax(1) != job.labels
    assert (ours.success == fell).float().mean() > 0.98
    assert 20 < int(fell.sum()) < 180


def test_every_image_that_falls_there_falls_here(job: AttackedImages) -> None:
    fell = job.model(theirs(job, random_start=False)).argmax(1) != job.labels
    ours = run_on("bim", job, ASKED).success
    assert not (fell & ~ours).any()


def test_from_random_starts_at_least_as_many_fall(job: AttackedImages) -> None:
    torch.manual_seed(0)
    fell = job.model(theirs(job, random_start=True)).argmax(1) != job.labels
    assert run_on("pgd", job, ASKED).success.sum() >= fell.sum()
