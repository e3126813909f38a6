"""Adversarial images as somebody else would send them, and a run whose later attacks were told as its first."""

import json
from pathlib import Path

import numpy as np
import torch
from sent_runs import copy_of, forge

from assay.attacks.images import AttackedImages
from assay.attacks.methods import attack_of
from assay.attacks.run import run_attack
from assay.models.zoo import load_model
from assay.tasks.base import Record


def run_of_first_attacks(honest_run: Path, folder: Path) -> Path:
    """A copy of the run in which BIM and PGD found what FGSM did, so that there is something left to find."""

    def weaker(record: Record) -> Record:
        values = json.loads(json.dumps(dict(record.values)))
        for series in ("bim", "pgd"):
            values["attacks"][series] = values["attacks"]["fgsm"]
            values["smallest_eps"][series] = values["smallest_eps"]["fgsm"]
        return Record(record.unit_id, values, files=record.files)

    sent = copy_of(honest_run, folder)
    forge(sent, weaker)
    return sent


def clean_and_broken(records, benchmarks: Path, eps: float):
    """For units that stand at 1/10 by the records and fall to a long attack: the name, clean and adversarial images."""
    model = load_model("digits_fnn")
    with np.load(benchmarks / "few" / "few.npz") as data:
        pixels = data["images"]
    rows = [
        (row, record)
        for row, record in enumerate(records)
        if record.values["clean_correct"] and record.values["attacks"]["fgsm"]["1/10"]["correct"]
    ]
    clean = torch.stack([model.prepare(pixels[row][..., None]) for row, _ in rows])
    labels = torch.tensor([record.values["label"] for _, record in rows])
    given = AttackedImages.of(model.module, clean, labels, range(len(rows)), batch_size=100)
    found = run_attack(attack_of("apgd", steps=50, loss="margin"), given, eps)
    return [
        (rows[at][1].unit_id, clean[at], found.images[at])
        for at in found.success.nonzero().flatten().tolist()
    ]


def npz(path: Path, found) -> Path:
    """The images that :func:`clean_and_broken` found, as an archive."""
    np.savez(path, unit_ids=[name for name, _, _ in found], images=[image.numpy() for _, _, image in found])
    return path
