"""Attacks against foolbox, torchattacks and their own passes: ratios of CPU time in one run, on one thread.

torchattacks is no dependency of the project; where it is installed it is measured too. On a slow machine take fewer
images: ASSAY_PERF_IMAGES (60 of Lite0), ASSAY_PERF_DIGITS (1,000 of the robust net) and of these
ASSAY_PERF_AUTOATTACK (60), in ASSAY_PERF_PAIRS (5).
"""

import csv
import gzip
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import foolbox
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from assay.attacks.curve import bisect
from assay.attacks.foolbox_backend import run_with_foolbox
from assay.attacks.images import AttackedImages
from assay.attacks.methods import attack_of
from assay.attacks.run import run_attack
from assay.models.zoo import load_model
from assay.tasks.adversarial.spec import AUTOATTACK as STANDARD
from assay.tasks.adversarial.task import TASK
from assay.tasks.base import RunContext
from attacked import Asked, run_on
from opened_jobs import JobRequest, open_job

pytestmark = pytest.mark.usefixtures("one_thread")
LITE_EPS = 4 / 255
LITE = {
    "pgd": Asked(eps=LITE_EPS, step_size=LITE_EPS / 30, steps=40),
    "bim": Asked(eps=LITE_EPS, step_size=LITE_EPS / 5, steps=10),
    "mim": Asked(eps=LITE_EPS, step_size=LITE_EPS / 10, steps=10),
}
ROBUST = Asked(eps=0.1, step_size=0.01, steps=40, restarts=3)
IMAGES = int(os.environ.get("ASSAY_PERF_IMAGES", "60"))
AUTOATTACK_IMAGES = int(os.environ.get("ASSAY_PERF_AUTOATTACK", "60"))
PAIRS = int(os.environ.get("ASSAY_PERF_PAIRS", "5"))
DIGITS = int(os.environ.get("ASSAY_PERF_DIGITS", "1000"))
PROVED = int(os.environ.get("ASSAY_PERF_PROVED", "200"))
PROOF_PAIRS = int(os.environ.get("ASSAY_PERF_PROOF_PAIRS", "1"))
AUTOATTACK = {
    "apgd": "{method: apgd, steps: 50}",
    "apgd_t": "{method: apgd_t, steps: 50, restarts: 9, loss: dlr}",
    "square": "{method: square, steps: 500, loss: margin}",
}


@pytest.fixture(scope="module")
def undefended(shared: Path) -> AttackedImages:
    """EfficientNet-Lite0 and NIPS-2017 images that it classifies as labelled."""
    model = load_model("efficientnet_lite0-direct")
    folder = shared / "data" / "nips2017_dev"
    with (folder / "labels.csv").open() as stream:
        rows = list(csv.DictReader(stream))[: IMAGES + IMAGES // 5]
    files = [np.asarray(Image.open(folder / row["file"]).convert("RGB")) for row in rows]
    images = torch.stack([model.prepare(pixels) for pixels in files])
    labels = torch.tensor([int(row["label"]) for row in rows])
    return correct(AttackedImages.of(model.module, images, labels, range(len(rows)), batch_size=2), IMAGES)


@pytest.fixture(scope="module")
def robust(shared: Path) -> AttackedImages:
    """The Wong-Kolter MNIST net and digits that it classifies as labelled."""
    model = load_model("wk_mnist", weights=shared / "data" / "nets" / "wk_mnist.safetensors")
    folder = shared / "data" / "mnist"
    pixels, labels = (
        np.frombuffer(
            gzip.decompress((folder / f"t10k-{part}-ubyte.gz").read_bytes()), np.uint8, offset=offset
        )
        for part, offset in (("images-idx3", 16), ("labels-idx1", 8))
    )
    some = DIGITS + DIGITS // 10
    images = torch.tensor(pixels.reshape(-1, 1, 28, 28)[:some], dtype=torch.float32) / 255
    classes = torch.tensor(labels[:some].astype(np.int64))
    return correct(AttackedImages.of(model.module, images, classes, range(some), batch_size=100), DIGITS)


def correct(job: AttackedImages, count: int) -> AttackedImages:
    """The first `count` images that are classified as labelled."""
    logits = torch.cat([job.model(batch) for batch in job.images.split(50)])
    rows = (logits.argmax(1) == job.labels).nonzero().squeeze(1)[:count]
    assert len(rows) == count
    return AttackedImages.of(
        job.model, job.images[rows], job.labels[rows], range(count), batch_size=job.batch_size
    )


def first(job: AttackedImages, count: int) -> AttackedImages:
    """Fewer of the images."""
    return job.select(torch.arange(count))


def cpu_s(work: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds that the work took, and what it returned."""
    begin = time.process_time()
    result = work()
    return time.process_time() - begin, result


def by_torchattacks(method: str, job: AttackedImages, settings: Asked) -> Tensor:
    """(N,) bool, broken by torchattacks' loops in batches of the same size; the test is skipped without it."""
    library = pytest.importorskip("torchattacks")
    step = {"eps": settings.eps, "alpha": settings.step_size, "steps": settings.steps}
    name = {"pgd": "PGD", "bim": "BIM", "mim": "MIFGSM"}[method]
    attack = getattr(library, name)(job.model, **step)
    broken = torch.zeros(len(job.images), dtype=torch.bool)
    for _ in range(settings.restarts or 1):
        for rows in torch.arange(len(job.images)).split(job.batch_size):
            found = attack(job.images[rows], job.labels[rows])
            broken[rows] |= job.model(found).argmax(1) != job.labels[rows]
    return broken


def by_foolbox(method: str, job: AttackedImages, settings: Asked) -> Tensor:
    """(N,) bool, broken by foolbox as its users call it, every restart over all images."""
    attack = {
        "pgd": foolbox.attacks.LinfPGD,
        "bim": foolbox.attacks.LinfBasicIterativeAttack,
        "mim": foolbox.attacks.MIFGSM,
    }[method](abs_stepsize=settings.step_size, steps=settings.steps)
    wrapped = foolbox.PyTorchModel(job.model, bounds=(0, 1))
    broken = torch.zeros(len(job.images), dtype=torch.bool)
    for _ in range(settings.restarts or 1):
        for rows in torch.arange(len(job.images)).split(job.batch_size):
            broken[rows] |= attack(wrapped, job.images[rows], job.labels[rows], epsilons=settings.eps)[2]
    return broken


LIBRARIES = {"foolbox": by_foolbox, "torchattacks": by_torchattacks}


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(("method", "at_least"), [("pgd", 6.0), ("bim", 4.0), ("mim", 4.0)])
def test_undefended_net(
    method: str, at_least: float, library: str, undefended: AttackedImages, benchmark: Any
) -> None:
    job = undefended
    # Each at its best batch: the libraries gain a little from four, the pool saves whole passes in two.
    theirs_s, theirs = cpu_s(lambda: LIBRARIES[library](method, replace(job, batch_size=4), LITE[method]))
    ours_s, ours = benchmark.pedantic(lambda: cpu_s(lambda: run_on(method, job, LITE[method])), rounds=1)
    benchmark.extra_info["theirs_over_ours"] = theirs_s / ours_s
    print(f"\nLite0 {method}: {library} {theirs_s:.1f} s, here {ours_s:.1f} s, ratio {theirs_s / ours_s:.1f}")
    assert ours.success.sum() >= theirs.sum()
    assert theirs_s / ours_s >= at_least


@pytest.mark.parametrize("library", LIBRARIES)
def test_robust_net(library: str, robust: AttackedImages, benchmark: Any) -> None:
    pytest.importorskip(library)

    def theirs() -> Tensor:
        return LIBRARIES[library]("pgd", replace(robust, batch_size=1000), ROBUST)

    def pair() -> tuple[tuple[float, Tensor], tuple[float, Any]]:
        return cpu_s(theirs), cpu_s(lambda: run_on("pgd", robust, ROBUST))

    pairs = benchmark.pedantic(lambda: [pair() for _ in range(PAIRS)], rounds=1)
    ratios = sorted(one[0] / other[0] for one, other in pairs)
    fell, ours = pairs[0][0][1], pairs[0][1][1]
    benchmark.extra_info["theirs_over_ours"] = ratios[PAIRS // 2]
    print(f"\nWK MNIST: {library} over here {[f'{ratio:.2f}' for ratio in ratios]}, in turn")
    print(f"broken: {library} {int(fell.sum())}, here {int(ours.success.sum())}")
    assert ours.success.sum() >= fell.sum()
    assert ratios[PAIRS // 2] >= 1


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.1), ("l2", 1.4)])
def test_fab_against_its_authors_code(norm: str, eps: float, robust: AttackedImages, benchmark: Any) -> None:
    """FAB-T at equal budgets, most images standing, as they do where the field's hours go."""
    library = pytest.importorskip("pyautoattack.fab_pt")
    job = first(robust, 100)
    asked = Asked(eps=eps, norm=norm, steps=50, restarts=3, loss="margin")
    attack = library.FABAttack_PT(
        job.model,
        norm={"linf": "Linf", "l2": "L2"}[norm],
        eps=eps,
        n_iter=50,
        targeted=True,
        n_target_classes=3,
    )

    def pairs() -> list[tuple[tuple[float, Tensor], tuple[float, Any]]]:
        return [
            (
                cpu_s(lambda: attack.perturb(job.images, job.labels)),
                cpu_s(lambda: run_on("fab_t", job, asked)),
            )
            for _ in range(5)
        ]

    found = benchmark.pedantic(pairs, rounds=1)
    ratio = float(np.median([theirs[0] / ours[0] for theirs, ours in found]))
    fell = job.model(found[0][0][1]).argmax(1) != job.labels
    ours = found[0][1][1].success
    benchmark.extra_info["theirs_over_ours"] = ratio
    print(
        f"\nFAB-T {norm} {eps}: theirs over ours {ratio:.2f}; broken: {int(fell.sum())}, here {int(ours.sum())}"
    )
    assert not (fell & ~ours).any()
    assert ratio >= 1


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


OVERHEAD = {
    "undefended-pgd": (LITE["pgd"], 1.08),
    "robust-pgd": (replace(ROBUST, restarts=1), 1.15),
    "robust-apgd": (Asked(eps=0.1, steps=100), 1.2),
    "robust-apgd_t": (Asked(eps=0.1, steps=100, restarts=2, loss="dlr"), 1.3),
    "robust-square": (Asked(eps=0.1, steps=1000, loss="margin"), 1.4),
}
"""What is asked, and the most that it may take of the time of its bare passes.

On robust nets 1.05 is aimed at. Measured on two cores that other work shares, least of five over least of five: PGD
1.08 to 1.13, APGD 1.10 and 1.12, APGD-T 1.15, Square 1.27. A pass of a hundred digits takes 2 to 8 ms; the rest is
dozens of small operations per step.
"""


@pytest.mark.parametrize("case", OVERHEAD)
def test_overhead_over_the_bare_passes(case: str, request: pytest.FixtureRequest, benchmark: Any) -> None:
    net, method = case.split("-")
    job = first(request.getfixturevalue(net), 20 if net == "undefended" else 200)
    settings, at_most = OVERHEAD[case]
    recorder = Recorder(job.model)
    run_on(method, replace(job, model=recorder), settings)

    def ratio() -> float:
        rounds = [
            (
                cpu_s(lambda: run_on(method, job, settings))[0],
                cpu_s(lambda: bare_passes(job.model, recorder.calls))[0],
            )
            for _ in range(5)
        ]
        return min(ours for ours, _ in rounds) / min(bare for _, bare in rounds)

    found = benchmark.pedantic(ratio, rounds=1)
    benchmark.extra_info["over_bare_passes"] = found
    print(f"\n{case}: {found:.3f} of the bare passes' time")
    assert found <= at_most


def test_autoattack_as_a_whole_against_its_authors_code(robust: AttackedImages, benchmark: Any) -> None:
    """The standard list with its whole budgets, on the same images in batches of the same size, in turn."""
    original = pytest.importorskip("pyautoattack").AutoAttack
    job = first(robust, AUTOATTACK_IMAGES)

    def theirs() -> Tensor:
        attack = original(job.model, norm="Linf", eps=0.1, seed=0)
        found, _ = attack.run_standard_evaluation(job.images, job.labels, batch_size=job.batch_size)
        return job.model(found).argmax(1) != job.labels

    def ours() -> Tensor:
        stands = torch.arange(len(job))
        for one in STANDARD["standard"]:
            stands = stands[~run_attack(attack_of(**one), job.select(stands), Fraction(1, 10)).success]
        return torch.ones(len(job), dtype=torch.bool).index_fill(0, stands, False)

    pairs = benchmark.pedantic(lambda: [(cpu_s(theirs), cpu_s(ours)) for _ in range(PAIRS)], rounds=1)
    ratio = float(np.median([one[0] / other[0] for one, other in pairs]))
    fell, fell_here = pairs[0][0][1], pairs[0][1][1]
    benchmark.extra_info["theirs_over_ours"] = ratio
    print(
        f"\nAutoAttack: theirs over ours {ratio:.2f}; broken: {int(fell.sum())}, here {int(fell_here.sum())}"
    )
    assert not (fell & ~fell_here).any()
    # The aim is 1 at least; .95 was measured on 20 images, where Square's small operations weigh most.
    assert ratio >= 0.9


@pytest.mark.parametrize("net", ["undefended", "robust"])
def test_a_whole_curve_by_bisection(net: str, request: pytest.FixtureRequest, benchmark: Any) -> None:
    """Eight radii: 0, which is the clean pass, and the seven below."""
    job = first(request.getfixturevalue(net), 20 if net == "undefended" else 200)
    one = LITE["pgd"] if net == "undefended" else replace(ROBUST, restarts=1)
    radii = [one.eps * share for share in (1 / 8, 1 / 4, 3 / 8, 1 / 2, 3 / 4, 1, 2)]
    attack = replace(one, step_size=f"{one.step_size / one.eps} eps").attack("pgd")
    singles = [cpu_s(lambda eps=eps: run_attack(attack, job, eps))[0] for eps in radii]
    whole_s, (level, _) = benchmark.pedantic(lambda: cpu_s(lambda: bisect(attack, job, radii)), rounds=1)
    print(f"\n{net}: whole curve {whole_s:.1f} s, each eps alone {[round(single, 1) for single in singles]}")
    print(f"images at each level {level.bincount(minlength=8).tolist()}")
    print(
        f"ratio to the costliest eps {whole_s / max(singles):.2f}, to all of them {whole_s / sum(singles):.2f}"
    )
    # Radii differ in cost by how soon images fall: near 0 every step is taken.
    assert whole_s / max(singles) <= 3.2


def test_autoattack_protocol_costs_less_than_its_parts(shared: Path, tmp_path: Path, benchmark: Any) -> None:
    """The task's own way: the list in turn, and each attack alone on every image."""

    def seconds_an_image(name: str, attacks: list[str], in_turn: bool) -> tuple[float, Any]:
        spec = tmp_path / f"{name}.yaml"
        spec.write_text(
            "schema: 1\nfamily: adversarial\ntitle: t\ndata: mnist-test\neps: [1/10]\nprobe_queries: 0\nsheets: 0\n"
            f"chunk_units: 50\nin_turn: {str(in_turn).lower()}\nattacks: [{', '.join(attacks)}]\n"
        )
        weights = str(shared / "data" / "nets" / "wk_mnist.safetensors")
        request = JobRequest("wk_mnist", str(spec), weights=weights, data_roots=(str(shared / "data"),))
        job = open_job(request)
        context = RunContext(job.key, batch_size=50)
        passed, records = cpu_s(
            lambda: list(TASK.run(job.spec.spec, job.model, job.data, job.chunk(0), context))
        )
        return passed / 50, records

    parts = {name: seconds_an_image(name, [one], False)[0] for name, one in AUTOATTACK.items()}
    whole, records = benchmark.pedantic(
        lambda: seconds_an_image("all", list(AUTOATTACK.values()), True), rounds=1
    )
    shares = {name: round(part, 3) for name, part in parts.items()}
    print(
        f"\nAutoAttack less FAB: {whole:.3f} s an image, each alone {shares}, their sum {sum(parts.values()):.3f}"
    )
    fallen = [sum(not r.values["attacks"][name]["1/10"]["correct"] for r in records) for name in AUTOATTACK]
    print(f"misclassified of 50 after each: {fallen}")
    assert whole <= 1.1 * sum(parts.values())


def test_autoattack_with_proofs_first(shared: Path, tmp_path: Path, benchmark: Any) -> None:
    """AutoAttack on a net that most images provably withstand: with proofs first, and without."""

    def run_s(lines: str) -> tuple[float, Any]:
        spec = tmp_path / "spec.yaml"
        spec.write_text(
            "schema: 1\nfamily: adversarial\ntitle: t\ndata: mnist-test\neps: [1/10]\nprotocol: autoattack\n"
            f"probe_queries: 0\nsheets: 0\nchunk_units: {PROVED}\n{lines}"
        )
        weights = str(shared / "data" / "nets" / "wk_mnist.safetensors")
        job = open_job(
            JobRequest(
                "wk_mnist", str(spec), weights=weights, limit=PROVED, data_roots=(str(shared / "data"),)
            )
        )
        context = RunContext(job.key, batch_size=100)
        return cpu_s(lambda: list(TASK.run(job.spec.spec, job.model, job.data, job.chunk(0), context)))

    def pairs() -> list[tuple[tuple[float, Any], tuple[float, Any]]]:
        return [(run_s("proofs: first\nbranches: 200\n"), run_s("")) for _ in range(PROOF_PAIRS)]

    found = benchmark.pedantic(pairs, rounds=1)
    ratios = sorted(without / first for (first, _), (without, _) in found)
    benchmark.extra_info["times_as_fast"] = ratios[len(ratios) // 2]
    print(f"\nproofs first, {PROVED} images: {[f'{ratio:.1f}' for ratio in ratios]} times as fast")
    # The list's steps cost a fixed time however few images are left: one that stays undecided costs as much as all.
    assert ratios[len(ratios) // 2] >= 8


def test_outcomes_image_by_image_against_foolbox_from_the_same_starts(robust: AttackedImages) -> None:
    theirs = run_with_foolbox(ROBUST.attack("pgd"), robust, ROBUST.eps)
    ours = run_on("pgd", robust, ROBUST)
    print(f"\nbroken: foolbox {int(theirs.success.sum())}, here {int(ours.success.sum())} of 1,000")
    assert (ours.success | ~theirs.success).all()
