"""A leaderboard of many invented models, for speed and for pages that have to hold a lot."""

import json
import random
from pathlib import Path

import yaml
from board_place import METADATA

from assay.board.submissions.build import manifest_of
from assay.board.submissions.register import AdmittedTask, Register
from assay.common.statistics import wilson_interval
from assay.tasks.families import load_spec
from assay.tasks.task_spec import shipped_specs

EPS = ("0", "1/255", "2/255", "4/255", "8/255")
METHODS = ("fgsm", "bim", "pgd", "mim", "worst")
UNITS = 200
SHA = "0" * 64
SPEC = """\
schema: 1
family: adversarial
title: Accuracy under attack, invented data {number}
data: digits
headline: "worst:robust_accuracy@2/255"
eps: [{eps}]
attacks:
  - {{method: fgsm}}
  - {{method: bim, steps: 10, step_size: 0.2 eps}}
  - {{method: pgd, steps: {steps}, step_size: 1/30 eps}}
  - {{method: mim, steps: 10, step_size: 0.1 eps}}
"""


TRACK = """\
schema: 1
title: Invented digits
description: What the invented models are asked.
label_space: digits
default_model: digits_fnn
embedded:
  tasks: [{tasks}]
  without: {{srvr: the classes of the shapes are not digits}}
medium:
  tasks: [{tasks}]
full:
  tasks: [{tasks}]
"""


def write_track(folder: Path, tasks: list[str]) -> None:
    """A track of these tasks."""
    (folder / "tracks").mkdir(parents=True)
    (folder / "tracks" / "invented.yaml").write_text(TRACK.format(tasks=", ".join(tasks)))


def write_specs(folder: Path, tasks: int) -> None:
    """The specs of that many tasks."""
    (folder / "adversarial").mkdir(parents=True)
    for number in range(tasks):
        text = SPEC.format(number=number, eps=", ".join(EPS), steps=10 + number)
        (folder / "adversarial" / f"invented-{number:02d}.yaml").write_text(text)


def write_board(board: Path, models: int) -> None:
    """Submissions of that many models to every shipped task, and the register."""
    entry = AdmittedTask(
        data_sha256=SHA, units=UNITS, unit_ids_sha256=SHA, rank_by="worst:robust_accuracy@2/255"
    )
    board.mkdir(parents=True)
    register = Register(tasks=dict.fromkeys(shipped_specs(), entry))
    (board / "tasks.yaml").write_text(yaml.safe_dump(register.model_dump(mode="json", by_alias=True)))
    loaded = {task: load_spec(task).spec for task in shipped_specs()}
    specs = {
        task: (spec.model_dump(mode="json", by_alias=True), spec.sha256) for task, spec in loaded.items()
    }
    for number in range(models):
        add_model(board, f"invented-{number:04d}", specs)


def add_model(board: Path, name: str, specs) -> None:
    """One model's submission."""
    draw = random.Random(name)
    strength = draw.random()
    about = yaml.safe_load(METADATA) | {"name": name, "model": name}
    about["paper"] = {
        "title": f"Invented paper {draw.randrange(40)}",
        "url": f"https://example.org/{name[-1]}",
    }
    files = {"metadata.yaml": yaml.safe_dump(about).encode()}
    for task, (spec, sha256) in specs.items():
        if draw.random() < 0.1:
            continue
        result, outcomes = _result(draw, strength, name, task, spec, sha256)
        files[f"results/{task}.json"] = (json.dumps(result, indent=1) + "\n").encode()
        files[f"outcomes/{task}.json"] = json.dumps(outcomes).encode()
        files[f"provenance/{task}.json"] = b'{"device": "invented", "packages": {"torch": "2"}}\n'
    for path, data in {
        **files,
        "manifest.json": manifest_of(files).model_dump_json(by_alias=True).encode(),
    }.items():
        target = board / "submissions" / name / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)


def _metric(name, hits, series=None, eps=None, headline=True):
    low, high = wilson_interval(hits, UNITS)
    number, _, over = (eps or "0").partition("/")
    return {
        "name": name, "value": hits / UNITS, "ci_low": low, "ci_high": high, "n": UNITS, "unit": "proportion",
        "title": name.replace("_", " "), "direction": "up",
        "series": series, "x": None if eps is None else int(number) / int(over or 1),
        "x_label": None if eps is None else "eps", "headline": headline,
    }  # fmt: skip


def _units(draw, right):
    return "".join(draw.sample("1" * right + "0" * (UNITS - right), UNITS))


def _result(draw, strength, name, task, spec, sha256):
    clean = int(UNITS * (0.75 + 0.2 * draw.random()))
    metrics, units = [_metric("clean_accuracy", clean)], {"clean_accuracy": _units(draw, clean)}
    for method in METHODS:
        for step, eps in enumerate(EPS):
            hits = int(clean * (0.2 + 0.75 * strength) ** step * (0.9 + 0.1 * draw.random()))
            metrics.append(_metric(f"{method}:robust_accuracy@{eps}", hits, method, eps))
            units[metrics[-1]["name"]] = _units(draw, hits)
            if method != "worst":
                metrics.append(
                    _metric(f"{method}:of_correct@{eps}", hits, f"{method} (of correct)", eps, False)
                )
    guards = [
        {"name": f"guard_{number}", "passed": True, "value": 0.0, "limit": 0.0, "detail": "what it looked at"}
        for number in range(9)
    ]
    return {
        "schema_version": 1, "task": task, "family": "adversarial", "title": spec["title"], "spec": spec,
        "spec_sha256": sha256, "precision": {}, "job_key": SHA, "status": "complete", "reason": None,
        "model": {
            "name": name, "source": "invented", "licence": "Apache-2.0", "architecture": "invented net",
            "weights_sha256": SHA, "label_space": "digits", "num_classes": 10, "input_shape": [1, 8, 8],
            "preprocessing": {},
        },
        "data": {"name": "digits", "title": "Digits", "licence": "CC BY 4.0", "sha256": SHA},
        "coverage": {"units": UNITS, "done": UNITS, "errors": 0, "limited": False},
        "metrics": metrics, "guards": guards, "command": f"assay run --model {name} --task {task} --out out",
    }, {"schema": 1, "metrics": units}  # fmt: skip
