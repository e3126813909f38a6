"""Runs as strangers send them: a real run of a net of the zoo, in which what a stranger can write was changed."""

import json
import random
import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits

from assay.runner.jobs import JobRequest
from assay.runner.plan import plan_jobs
from assay.runner.run import run_jobs
from assay.runner.store import RunFolder
from assay.tasks.adversarial.figures import png_name
from assay.tasks.base import Record
from assay.tasks.shared.png import png_bytes, read_png
from few_digits import MANIFEST

TASK = "adversarial/saved"
ZOO_NET = "digits_fnn"
SAVING = """\
schema: 1
family: adversarial
title: Images that are kept
data: few.yaml
headline: "worst:robust_accuracy@1/10"
eps: [0, 1/20, 1/10]
chunk_units: 60
attacks:
  - {method: fgsm}
  - {method: bim, steps: 10, step_size: 0.2 eps}
  - {method: pgd, steps: 40, step_size: 0.1 eps}
"""
UNITS = 120
RECIPE = """\
schema: 1
title: As a stranger trains it
architecture: digits-cnn
input: {crop: [8, 8], mean: [0], std: [1]}
data: {train: {manifest: digits, first: 1347}, test: {manifest: digits, skip: 1347}}
optimiser: {name: adam, lr: 0.005}
epochs: 1
batch_size: 32
method: {name: regular}
"""
PLANTED = """\
from pathlib import Path
Path({marker!r}).write_text("a stranger's code ran")
def net():
    from torch import nn
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), {{"crop": (8, 8), "mean": (0.0,), "std": (1.0,)}}
"""


def write_task(folder: Path, spec: str = SAVING, units: int = UNITS) -> Path:
    """The task and its data, as if they shipped in ``folder``; with ``ASSAY_DATA`` set to it the data are found."""
    pixels, labels = load_digits(return_X_y=True)
    images = (pixels[-units:].reshape(-1, 8, 8) * 255 / 16).round().astype(np.uint8)
    for place in ("adversarial", "few"):
        (folder / place).mkdir(parents=True)
    np.savez(folder / "few" / "few.npz", images=images, labels=labels[-units:])
    (folder / "adversarial" / "few.yaml").write_text(MANIFEST)
    (folder / f"{TASK}.yaml").write_text(spec)
    return folder


def saved_run(out: Path, model: str = ZOO_NET) -> Path:
    """A run of the task that saved its adversarial images."""
    request = JobRequest(model, TASK, batch_size=256, switches=("save_adversarial",))
    run_jobs(plan_jobs([request]), out)
    return out


def job_files(run: Path) -> list[Path]:
    """The documents of a run's jobs."""
    return sorted(run.glob("jobs/*/job-*.json"))


def rename_model(run: Path, name: str) -> None:
    """Let a run say that its model is called ``name``, wherever it says so, as its author can."""
    folder = RunFolder.existing(run)
    for entry in folder.index():
        store = folder.job(entry["key"])
        document = store.read_job((entry["model"], entry["task"]))
        document["model"]["name"] = name
        for path in store.path.glob("job-*.json"):
            path.unlink()
        store.write_job((name, entry["task"]), document)
    index = [entry | {"model": name} for entry in folder.index()]
    (run / "index.json").write_text(json.dumps(index))


def edit_job(run: Path, change) -> None:
    """Let ``change`` alter the document of the run's one job."""
    (path,) = job_files(run)
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def plant(folder: Path, marker: Path) -> None:
    """Put modules into ``folder`` that write ``marker`` when they are imported: a factory, and names that we use."""
    for name in ("evil", "tabulate", "torchvision", "timm", "yaml", "digits_fnn", "__init__"):
        (folder / f"{name}.py").write_text(PLANTED.format(marker=str(marker)))


def as_only_shard(run: Path) -> None:
    """Let a whole run say that it is the one shard of one, so that `merge` reads it."""
    folder = RunFolder.existing(run)
    jobs = [[entry["key"], len(folder.job(entry["key"]).stored_chunks())] for entry in folder.index()]
    (run / "shard.json").write_text(json.dumps({"shard": 1, "of": 1, "jobs": jobs}))


def copy_of(run: Path, to: Path) -> Path:
    """A copy that a test may spoil."""
    shutil.copytree(run, to)
    return to


def forge(run: Path, change) -> None:
    """Let ``change`` give another record for each of the run's one job, and store it as a run would."""
    (entry,) = RunFolder.existing(run).index()
    store = RunFolder.existing(run).job(entry["key"])
    for chunk in sorted(store.stored_chunks()):
        records = store.read_chunk(chunk) or []
        store.write_chunk(chunk, [change(replace(record, files=dict(record.files))) for record in records])


def stands(record: Record, picture, share: float = 1.0, at_linf=None) -> Record:
    """The record of an image that stands everything, with other pictures in the place of its adversarial ones.

    ``picture`` gives a file's bytes from the radius and the clean picture's bytes; ``share`` of all images are changed.
    """
    if not record.values["clean_correct"] or random.Random(record.unit_id).random() >= share:
        return record
    attacks, files = {}, dict(record.files)
    for series, outcomes in record.values["attacks"].items():
        attacks[series] = {}
        for eps, outcome in outcomes.items():
            radius = Fraction(eps)
            claimed = float(radius) if at_linf is None else at_linf
            steps = {"fgsm": 1, "bim": 10, "pgd": 40}[series] if radius else 0
            attacks[series][eps] = outcome | {
                "correct": True, "correct_8bit": True, "claimed": False, "carried": False, "steps": steps,
                "predicted": record.values["label"], "distance": claimed if radius else 0.0,
                "linf": claimed if radius else 0.0,
            }  # fmt: skip
            clean = record.files[png_name(series, Fraction(0), record.unit_id)]
            files[png_name(series, radius, record.unit_id)] = picture(radius, clean) if radius else clean
    values = record.values | {"attacks": attacks, "smallest_eps": dict.fromkeys(attacks), "probe": False}
    return replace(record, values=values, files=files)


def the_clean_one(radius: Fraction, clean: bytes) -> bytes:
    """No picture of any attack."""
    del radius
    return clean


def noise(radius: Fraction, clean: bytes) -> bytes:
    """A picture on the edge of the ball that no attack has made; rounded to 8 bit as a run's are."""
    image = read_png(clean)
    generator = torch.Generator().manual_seed(1)
    signs = torch.randint(0, 2, image.shape, generator=generator) * 2.0 - 1
    inwards = torch.where(image <= 0.5, 1.0, -1.0)  # one pixel at least has to go the whole way
    return png_bytes((image + float(radius) * torch.where(image == image.max(), inwards, signs)).clamp(0, 1))
