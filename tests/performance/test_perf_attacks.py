"""Attacks against foolbox, torchattacks and their own passes: ratios of CPU time in one run, on one thread.

torchattacks is no dependency of the project; where it is installed it is measured too.
"""

import csv
import gzip
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import foolbox
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from assay.attacks.autoattack import run_in_turn, standard_attacks
from assay.attacks.curve import bisect
from assay.attacks.foolbox_backend import run_with_foolbox
from assay.attacks.run import Job, run_job
from assay.attacks.settings import AttackSettings
from assay.models.zoo import load_model

LITE_EPS = 4 / 255
LITE = {
    "pgd": AttackSettings(eps=LITE_EPS, step_size=LITE_EPS / 30, steps=40),
    "bim": AttackSettings(eps=LITE_EPS, step_size=LITE_EPS / 5, steps=10),
    "mim": AttackSettings(eps=LITE_EPS, step_size=LITE_EPS / 10, steps=10),
}
ROBUST = AttackSettings(eps=0.1, step_size=0.01, steps=40, restarts=3)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def undefended(shared: Path) -> Job:
    """EfficientNet-Lite0 and 60 NIPS-2017 images that it classifies as labelled."""
    model = load_model("efficientnet_lite0-direct")
    folder = shared / "data" / "nips2017_dev"
    with (folder / "labels.csv").open() as stream:
        rows = list(csv.DictReader(stream))[:72]
    files = [np.asarray(Image.open(folder / row["file"]).convert("RGB")) for row in rows]
    images = torch.stack([model.prepare(pixels) for pixels in files])
    labels = torch.tensor([int(row["label"]) for row in rows])
    return correct(Job("pgd", model.module, images, labels, range(len(rows)), batch_size=2), 60)


@pytest.fixture(scope="module")
def robust(shared: Path) -> Job:
    """The Wong-Kolter MNIST net and 1,000 digits that it classifies as labelled."""
    model = load_model("wk_mnist", weights=shared / "data" / "nets" / "wk_mnist.safetensors")
    folder = shared / "data" / "mnist"
    pixels, labels = (
        np.frombuffer(
            gzip.decompress((folder / f"t10k-{part}-ubyte.gz").read_bytes()), np.uint8, offset=offset
        )
        for part, offset in (("images-idx3", 16), ("labels-idx1", 8))
    )
    images = torch.tensor(pixels.reshape(-1, 1, 28, 28)[:1100], dtype=torch.float32) / 255
    job = Job(
        "pgd", model.module, images, torch.tensor(labels[:1100].astype(np.int64)), range(1100), batch_size=100
    )
    return correct(job, 1000)


def correct(job: Job, count: int) -> Job:
    """The job of the first `count` images that are classified as labelled."""
    logits = torch.cat([job.model(batch) for batch in job.images.split(50)])
    rows = (logits.argmax(1) == job.labels).nonzero().squeeze(1)[:count]
    assert len(rows) == count
    return replace(job, images=job.images[rows], labels=job.labels[rows], seeds=range(count))


def first(job: Job, count: int) -> Job:
    """The same job on fewer images."""
    return replace(job, images=job.images[:count], labels=job.labels[:count], seeds=job.seeds[:count])


def cpu_s(work: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds that the work took, and what it returned."""
    begin = time.process_time()
    result = work()
    return time.process_time() - begin, result


def by_torchattacks(job: Job, settings: AttackSettings) -> Tensor:
    """(N,) bool, broken by torchattacks' loops in batches of the same size; the test is skipped without it."""
    library = pytest.importorskip("torchattacks")
    step = {"eps": settings.eps, "alpha": settings.step_size, "steps": settings.steps}
    name = {"pgd": "PGD", "bim": "BIM", "mim": "MIFGSM"}[job.method]
    attack = getattr(library, name)(job.model, **step)
    broken = torch.zeros(len(job.images), dtype=torch.bool)
    for _ in range(settings.restarts):
        for rows in torch.arange(len(job.images)).split(job.batch_size):
            found = attack(job.images[rows], job.labels[rows])
            broken[rows] |= job.model(found).argmax(1) != job.labels[rows]
    return broken


def by_foolbox(job: Job, settings: AttackSettings) -> Tensor:
    """(N,) bool, broken by foolbox as its users call it, every restart over all images."""
    attack = {
        "pgd": foolbox.attacks.LinfPGD,
        "bim": foolbox.attacks.LinfBasicIterativeAttack,
        "mim": foolbox.attacks.MIFGSM,
    }[job.method](abs_stepsize=settings.step_size, steps=settings.steps)
    wrapped = foolbox.PyTorchModel(job.model, bounds=(0, 1))
    broken = torch.zeros(len(job.images), dtype=torch.bool)
    for _ in range(settings.restarts):
        for rows in torch.arange(len(job.images)).split(job.batch_size):
            broken[rows] |= attack(wrapped, job.images[rows], job.labels[rows], epsilons=settings.eps)[2]
    return broken


LIBRARIES = {"foolbox": by_foolbox, "torchattacks": by_torchattacks}


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(("method", "at_least"), [("pgd", 6.0), ("bim", 4.0), ("mim", 4.0)])
def test_undefended_net(method: str, at_least: float, library: str, undefended: Job, benchmark: Any) -> None:
    job = replace(undefended, method=method)
    # Each at its best batch: the libraries gain a little from four, the pool saves whole passes in two.
    theirs_s, theirs = cpu_s(lambda: LIBRARIES[library](replace(job, batch_size=4), LITE[method]))
    ours_s, ours = benchmark.pedantic(lambda: cpu_s(lambda: run_job(job, LITE[method])), rounds=1)
    print(f"\nLite0 {method}: {library} {theirs_s:.1f} s, here {ours_s:.1f} s, ratio {theirs_s / ours_s:.1f}")
    assert ours.success.sum() >= theirs.sum()
    assert theirs_s / ours_s >= at_least


@pytest.mark.parametrize("library", LIBRARIES)
def test_robust_net(library: str, robust: Job, benchmark: Any) -> None:
    theirs_s, theirs = cpu_s(lambda: LIBRARIES[library](replace(robust, batch_size=1000), ROBUST))
    ours_s, ours = benchmark.pedantic(lambda: cpu_s(lambda: run_job(robust, ROBUST)), rounds=1)
    print(f"\nWK MNIST: {library} {theirs_s:.1f} s, here {ours_s:.1f} s, ratio {theirs_s / ours_s:.2f}")
    print(f"broken: {library} {int(theirs.sum())}, here {int(ours.success.sum())}")
    assert ours.success.sum() >= theirs.sum()
    assert theirs_s / ours_s >= 1


@dataclass
class Recorder:
    """Passes calls on and keeps what they were called with."""

    model: Any
    calls: list[tuple[Tensor, bool]] = field(default_factory=list)

    def __call__(self, pixels: Tensor) -> Tensor:
        self.calls.append((pixels.detach().clone(), torch.is_grad_enabled()))
        return self.model(pixels)


def bare_passes(model: Any, calls: list[tuple[Tensor, bool]]) -> None:
    """Nothing but the passes that an attack needs, on the images that it asked about."""
    for pixels, with_gradient in calls:
        if with_gradient:
            points = pixels.requires_grad_()
            torch.autograd.grad(model(points).logsumexp(1).sum(), points)
        else:
            with torch.no_grad():
                model(pixels)


@pytest.mark.parametrize("net", ["undefended", "robust"])
def test_overhead_over_the_bare_passes(net: str, request: pytest.FixtureRequest, benchmark: Any) -> None:
    job = first(request.getfixturevalue(net), 20 if net == "undefended" else 200)
    settings = LITE["pgd"] if net == "undefended" else replace(ROBUST, restarts=1)
    recorder = Recorder(job.model)
    run_job(replace(job, model=recorder), settings)

    def ratio() -> float:
        rounds = [
            (
                cpu_s(lambda: run_job(job, settings))[0],
                cpu_s(lambda: bare_passes(job.model, recorder.calls))[0],
            )
            for _ in range(5)
        ]
        return min(ours for ours, _ in rounds) / min(bare for _, bare in rounds)

    found = benchmark.pedantic(ratio, rounds=1)
    print(f"\n{net}: {found:.3f} of the bare passes' time")
    assert found <= 1.08


@pytest.mark.parametrize("net", ["undefended", "robust"])
def test_a_whole_curve_by_bisection(net: str, request: pytest.FixtureRequest, benchmark: Any) -> None:
    """Eight radii: 0, which is the clean pass, and the seven below."""
    job = first(request.getfixturevalue(net), 20 if net == "undefended" else 200)
    one = LITE["pgd"] if net == "undefended" else replace(ROBUST, restarts=1)
    radii = [one.eps * share for share in (1 / 8, 1 / 4, 3 / 8, 1 / 2, 3 / 4, 1, 2)]
    curve = [replace(one, eps=eps, step_size=one.step_size * eps / one.eps) for eps in radii]
    singles = [cpu_s(lambda level=level: run_job(job, level))[0] for level in curve]
    whole_s, found = benchmark.pedantic(lambda: cpu_s(lambda: bisect(job, curve)), rounds=1)
    print(f"\n{net}: whole curve {whole_s:.1f} s, each eps alone {[round(single, 1) for single in singles]}")
    print(f"images at each level {found.level.bincount(minlength=8).tolist()}")
    print(
        f"ratio to the costliest eps {whole_s / max(singles):.2f}, to all of them {whole_s / sum(singles):.2f}"
    )
    # Radii differ in cost by how soon images fall: near 0 every step is taken.
    assert whole_s / max(singles) <= 3.2


def test_autoattack_protocol_costs_less_than_its_parts(robust: Job, benchmark: Any) -> None:
    job = first(robust, 50)
    attacks = standard_attacks(0.1, "linf", steps=50, queries=500)
    parts = [cpu_s(lambda a=a: run_job(replace(job, method=a[0]), a[1]))[0] for a in attacks]

    def together() -> Any:
        return run_in_turn(attacks, job.model, job.images, job.labels, job.seeds, batch_size=50)

    whole, result = benchmark.pedantic(lambda: cpu_s(together), rounds=1)
    print(
        f"\nAutoAttack less FAB: {whole / 50:.3f} s an image, parts {[round(part / 50, 3) for part in parts]}"
    )
    print(f"broken by attack: {[int((result.broken_by == k).sum()) for k in range(len(attacks))]}")
    assert whole <= 1.1 * sum(parts)


def test_outcomes_image_by_image_against_foolbox_from_the_same_starts(robust: Job) -> None:
    theirs = run_with_foolbox(robust, replace(ROBUST, early_stop=False))
    ours = run_job(robust, ROBUST)
    print(f"\nbroken: foolbox {int(theirs.success.sum())}, here {int(ours.success.sum())} of 1,000")
    assert (ours.success | ~theirs.success).all()
