"""Set AutoAttack here beside other programs' AutoAttack, image by image, on one network, in one run.

    python scripts/compare_autoattack.py MODEL DATA EPS [--images 200] [--norm linf] [--weights FILE] [--data-root DIR]
        [--beside torchattacks] [--out TABLE.csv]

Beside stand, where they are installed, ``authors`` (the code of AutoAttack's authors, package pyautoattack) and
``torchattacks`` (as it comes: its gradient attacks take 10 steps; ``torchattacks100`` takes the authors' 100). The
table has one row per image: which attack of which program broke it. An image that another program breaks and the list
here does not is looked at once more, alone: is the other's image really inside, and really misclassified?
Exit code 1: such an image is left.
"""

import argparse
import csv
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import torch
from tabulate import tabulate
from torch import Tensor, nn

from assay.attacks.images import AttackedImages
from assay.attacks.run import run_attack
from assay.attacks.settings import Norm
from assay.common.balls import BALLS
from assay.data.dataset import open_dataset
from assay.data.manifest import load_manifest
from assay.models.check import looks_like_probabilities
from assay.models.zoo import load_model
from assay.tasks.adversarial.spec import autoattack

BATCH = 100
THEIR_NORMS: dict[Norm, str] = {"linf": "Linf", "l2": "L2", "l1": "L1"}
ROUNDING = 1e-5  # pixel units: how far outside the ball float32 may put an image


@dataclass(frozen=True)
class Case:
    """What every program is given: images that the network answers rightly."""

    model: nn.Module
    images: Tensor
    labels: Tensor
    norm: Norm
    eps: Fraction
    rows: list[int]  # which of the data's first images they are

    def wrong(self, images: Tensor) -> Tensor:
        """(N,) bool, by a fresh pass."""
        with torch.no_grad():
            return (
                torch.cat([self.model(part) for part in torch.split(images, BATCH)]).argmax(1) != self.labels
            )


@dataclass(frozen=True)
class Outcome:
    """What a program made of them: its images, which are misclassified, and by which attack where it tells."""

    images: Tensor
    broken: Tensor
    by: list[str]
    cpu_s: float


def here(case: Case) -> tuple[Tensor, list[str]]:
    """AutoAttack's standard list, each attack on what the last ones left."""
    images = AttackedImages.of(
        case.model, case.images, case.labels, range(len(case.images)), norm=case.norm, batch_size=BATCH
    )
    found, by = case.images.clone(), [""] * len(case.images)
    stands = torch.arange(len(case.images))
    for attack in autoattack("standard", case.norm):
        result = run_attack(attack, images.select(stands), case.eps)
        for row in stands[result.success].tolist():
            by[row] = attack.series
        found[stands[result.success]] = result.images[result.success]
        stands = stands[~result.success]
    return found, by


def by_authors(case: Case) -> tuple[Tensor, list[str]]:
    """The standard list of the authors' own code."""
    from pyautoattack import AutoAttack

    attack = AutoAttack(case.model, norm=THEIR_NORMS[case.norm], eps=float(case.eps), seed=0)
    found, _ = attack.run_standard_evaluation(case.images, case.labels, batch_size=BATCH)
    return found, []


def by_torchattacks(case: Case, steps: int | None = None) -> tuple[Tensor, list[str]]:
    """The standard list of torchattacks, as it comes or with other steps of its gradient attacks."""
    import torchattacks

    attack = torchattacks.AutoAttack(
        case.model, norm=THEIR_NORMS[case.norm], eps=float(case.eps), version="standard", n_classes=10, seed=0
    )
    for one in attack._autoattack.attacks:
        if steps is not None and hasattr(one, "steps"):
            one.steps = steps
    return torch.cat(
        [
            attack(images, labels)
            for images, labels in zip(
                torch.split(case.images, BATCH), torch.split(case.labels, BATCH), strict=True
            )
        ]
    ), []


PROGRAMS: dict[str, Callable[[Case], tuple[Tensor, list[str]]]] = {
    "here": here,
    "authors": by_authors,
    "torchattacks": by_torchattacks,
    "torchattacks100": lambda case: by_torchattacks(case, 100),
}


def outcome(program: str, case: Case) -> Outcome:
    """One program's images, judged by a pass of our own, and its CPU time."""
    begin = time.process_time()
    found, by = PROGRAMS[program](case)
    spent = time.process_time() - begin
    broken = case.wrong(found)
    print(f"{program}: {int(broken.sum())} of {len(broken)} broken in {spent:.1f} s of CPU", flush=True)
    return Outcome(found, broken, by or ["broken" if one else "" for one in broken.tolist()], spent)


def reason(case: Case, row: int, theirs: Tensor) -> str:
    """Why another program's image may have broken what the list here did not."""
    length = BALLS[case.norm].length((theirs - case.images[row])[None]).item()
    alone = case.model(theirs[None]).detach()[0]
    lead = alone.clone()
    lead[case.labels[row]] = -torch.inf
    ahead = (lead.max() - alone[case.labels[row]]).item()
    if length > float(case.eps) + ROUNDING:
        return f"their image lies outside: {length:.6f}"
    if theirs.min() < 0 or theirs.max() > 1:
        return "their image leaves the range of pixels"
    if ahead <= 0:
        return f"their image is right when it is answered alone (margin {-ahead:.1e})"
    return f"MISSED HERE: inside ({length:.6f}), wrong by a margin of {ahead:.1e}"


def opened(given: argparse.Namespace) -> Case:
    """The network and those of its first images that it answers rightly."""
    model = load_model(given.model, weights=given.weights and Path(given.weights))
    data = open_dataset(load_manifest(given.data), [Path(root) for root in given.data_root])
    samples = data.samples[: given.images]
    images = torch.stack([model.prepare(data.image(sample)) for sample in samples])
    labels = torch.tensor([int(sample.label) for sample in samples])
    module = model.module.eval()
    with torch.no_grad():
        logits = torch.cat([module(part) for part in torch.split(images, BATCH)])
    assert not looks_like_probabilities(logits)
    right = (logits.argmax(1) == labels).nonzero().squeeze(1)
    print(f"{given.model}: {len(right)} of {len(images)} images are right, eps {given.eps}", flush=True)
    return Case(module, images[right], labels[right], given.norm, Fraction(given.eps), right.tolist())


def main(words: list[str]) -> int:
    """Print the sums and every image that only one of the programs breaks; write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name in ("model", "data", "eps"):
        parser.add_argument(name)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--norm", choices=[*THEIR_NORMS], default="linf")
    parser.add_argument("--weights")
    parser.add_argument("--data-root", action="append", default=[])
    parser.add_argument("--beside", action="append", choices=[name for name in PROGRAMS if name != "here"])
    parser.add_argument("--out", type=Path)
    given = parser.parse_args(words)
    case = opened(given)
    ours = outcome("here", case)
    others = {name: outcome(name, case) for name in given.beside or ["authors", "torchattacks"]}
    rows, missed = [], 0
    for row, image in enumerate(case.rows):
        notes = [
            f"{name}: {reason(case, row, other.images[row])}"
            for name, other in others.items()
            if other.broken[row] and not ours.broken[row]
        ]
        missed += any("MISSED" in note for note in notes)
        rows.append(
            [
                image,
                int(case.labels[row]),
                ours.by[row],
                *(o.by[row] for o in others.values()),
                "; ".join(notes),
            ]
        )
    head = ["image", "label", "here", *others, "reason"]
    if given.out:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        with given.out.open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream, lineterminator="\n").writerows([head, *rows])
    parted = [row for row in rows if len({bool(by) for by in row[2:-1]}) > 1]
    print(tabulate(parted, headers=head) if parted else "the programs agree on every image")
    for name, other in others.items():
        more = int((ours.broken & ~other.broken).sum())
        fewer = int((other.broken & ~ours.broken).sum())
        print(
            f"{name}: breaks {fewer} that the list here leaves, leaves {more}; "
            f"CPU theirs / ours {other.cpu_s / ours.cpu_s:.2f}"
        )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
