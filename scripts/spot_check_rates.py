"""How often the attack of the spot check breaks what a row of the board says: the rates behind leaderboard/README.md.

    python scripts/spot_check_rates.py SUBMISSION TASK [--model NAME] [--images 400] [--data-root DIR]

Two kinds of claims are drawn as the spot check draws them. Those of the row itself stand, so what falls of them falls
by luck. Those that a forger would add, at radii at which the row's own attacks broke the image, ought to fall.
"""

import argparse
import random
import time
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from assay.board.submissions.check import read_records
from assay.board.submissions.folder import open_folder
from assay.board.submissions.results import parse_result, switches_of
from assay.tasks.adversarial import objections
from assay.tasks.adversarial.spec import AdversarialSpec
from assay.tasks.families import load_spec
from assay.tasks.shared.images import DataSource
from assay.tasks.witness import ReferenceNetwork, SentRecords


def opened(folder: Path, task: str, model: str | None, roots: Sequence[Path]) -> SentRecords[AdversarialSpec]:
    """The records of a row and its network, as a maintainer looks at them."""
    files, problems = open_folder(folder)
    if files is None:
        raise SystemExit("\n".join(map(str, problems)))
    name = f"results/{task}.json"
    result = parse_result(name, files.read(name))
    loaded = load_spec(task, switches_of(result.spec, task))
    if not isinstance(loaded.spec, AdversarialSpec):
        raise SystemExit(f"{task}: no attack is spot-checked there; name a task of the adversarial family")
    network = ReferenceNetwork(model or result.model.name, None, result.model.model_dump(mode="json"))
    source = DataSource(loaded.spec.data, loaded.folder, tuple(roots))
    return SentRecords(loaded.spec, source, network, read_records(files, task, loaded.spec), folder)


def told(sent: SentRecords[AdversarialSpec], what: str, claims: Sequence[objections.StandingClaim]) -> None:
    """Try the claims, and print how many of them fall, or hide their gradient."""
    began = time.perf_counter()
    found = objections.tried(sent, claims, "rates")
    fell = len(found.broken) + len(found.blind)
    seconds = time.perf_counter() - began
    share = f"{100 * fell / len(claims):.1f} %" if claims else "-"
    print(f"{what}: {fell} of {len(claims)} fall ({share}), in {seconds:.0f} s", flush=True)


def main() -> None:
    """Print both rates of one row."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("submission", type=Path)
    asked.add_argument("task")
    asked.add_argument("--model")
    asked.add_argument("--images", type=int, default=400)
    asked.add_argument("--data-root", type=Path, action="append", default=[])
    given = asked.parse_args()
    sent = opened(given.submission, given.task, given.model, given.data_root)
    named = objections.named_radius(sent.spec, sent.spec.headline_key or "")
    honest = objections.standing(sent)
    claims = objections.drawn(sent.spec.radii, honest, named, random.Random(0))
    told(sent, "said to stand, honestly", claims[: given.images])
    radii = [eps for eps in sent.spec.radii if eps > 0]
    right = [bool(record.values["clean_correct"]) for record in sent.records]
    added = [
        tuple(eps for eps in radii if eps not in stood) if clean else ()
        for clean, stood in zip(right, honest, strict=True)
    ]
    told(sent, "fallen, by the row's own attacks", _added(radii, added, named, given.images))


def _added(
    radii: Sequence[Fraction], added: Sequence[Sequence[Fraction]], named: Fraction | None, count: int
) -> list[objections.StandingClaim]:
    """One claim of each image that fell, at a radius drawn by its length beyond the one before."""
    generator = random.Random(0)
    before = dict(zip(radii, (Fraction(0), *radii[:-1]), strict=True))
    claims = []
    for row, fallen in enumerate(added):
        asked = [eps for eps in fallen if named in (None, eps)]
        if asked:
            (eps,) = generator.choices(asked, [float(eps - before[eps]) for eps in asked])
            claims.append(objections.StandingClaim(row, eps))
    generator.shuffle(claims)
    return claims[:count]


if __name__ == "__main__":
    main()
