"""A small question of each family on a network that can answer it, and its job: for what all families have to keep.

Pictures, shapes, specs and networks' names are written into a folder, with the classes in whatever order.
"""

from dataclasses import dataclass

import numpy as np
import yaml
from PIL import Image
from sklearn.datasets import load_digits

from assay.tasks.srvr.procedural import EMBEDDED_SHAPES
from few_digits import MANIFEST
from opened_jobs import JobRequest, open_job, run_units
from variant_networks import BASES, variant

ADVERSARIAL = """family: adversarial
eps: [0, 1/50, 1/20, 1/10]
curve: ascending
attacks:
  - {method: fgsm, loss: margin}
  - {method: pgd, steps: 15, step_size: 0.15 eps, loss: margin}
certified: true
probe_queries: 0
chunk_units: 25
sheets: 1
"""
VERIFICATION = """family: verification
images: 3
combinations: [["brightness:0:0.3", "patch:0:0.5:3:3:2x2"]]
deltas: [1, 3]
labels: predicted
"""
CONSISTENCY = """family: consistency
hierarchy: flat
layers: ["3"]
adversarial: {ensemble: [MEMBER], targets: 1, steps: 8, step_size: 1/10}
"""
CORRUPTIONS = """family: corruptions
corruptions: [gaussian_noise, contrast, pixelate]
settings: cifar-10-c
severities: [1, 3, 5]
sheets: 1
"""
SHAPES = {
    "schema": 1, "kind": "shapes", "name": "three.yaml", "title": "three shapes", "label_space": "imagenet-1k",
    "num_classes": 1000, "licence": "ours", "source": "code", "get": "nothing to get", "files": "unlisted",
}  # fmt: skip
GREYS = {
    "schema": 1, "name": "greys", "title": "grey pictures", "label_space": "imagenet-1k", "num_classes": 1000,
    "licence": "ours", "source": "code", "get": "nothing to get", "channels": 3, "files": "unlisted",
}  # fmt: skip
SRVR = """family: srvr
data: three.yaml
labelled: greys/greys.yaml
periodic: [azimuth_deg]
parameters:
  - {name: azimuth_deg, low: 0, high: 360, step: 60}
  - {name: elevation_deg, low: -10, high: 90, step: 50}
methods: [{method: naive, steps: 150}, {method: OIR_B, steps: 150}]
initial: [[130, 30], [50, 20]]
contact_views: 2
"""
FORMS = ("mug", "chair", "vase")
KNOWN = {"bright": 504, "dark": 0}


@dataclass(frozen=True)
class Question:
    """What is asked of which network.

    Attributes:
        spec: its lines.
        network: of :mod:`variant_networks`.
        headlines: the figures that rank or stand beside them, and no change of the logits' scale may move.
        paper: the paper's figure that a factor of the logits moves, or None.
    """

    spec: str
    network: str
    headlines: tuple[str, ...]
    paper: str | None = None


NAME = "brightness:0:0.3 + patch:0:0.5:3:3:2x2"
SEARCHED = VERIFICATION + "verifier: search\nsearch: {grid: 5, boxes: 2, rounds: 2}\n"
QUESTIONS = {
    "adversarial": Question(
        ADVERSARIAL, "digits", ("worst:mean_radius", "worst:curve_area", "worst:stands_at_largest")
    ),
    "verification": Question(
        VERIFICATION,
        "digits",
        tuple(f"{NAME}:{each}" for each in
              ("attention_within_quarter", "median_relative_sup", "CR:mean_share_satisfied")),
        paper=f"{NAME}:AR(3):robust",
    ),
    "verification-searched": Question(
        SEARCHED,
        "digits",
        tuple(f"{NAME}:{each}" for each in
              ("attention_within_quarter_where_looked", "median_relative_sup_found", "CR:mean_share_seen")),
        paper=f"{NAME}:AR(3):found_broken",
    ),
    "consistency": Question(CONSISTENCY, "digits", ("excess", "excess_gap")),
    "srvr": Question(SRVR, "views", ("srvr_calibrated", "views_recognised"), paper="srvr"),
    "corruptions": Question(CORRUPTIONS, "digits", ("mean_accuracy", "flips")),
}  # fmt: skip


def _write_digits(folder, order):
    pixels, labels = load_digits(return_X_y=True)
    images = (pixels[-100:].reshape(-1, 8, 8) * 255 / 16).round().astype(np.uint8)
    (folder / "few").mkdir(exist_ok=True)
    np.savez(folder / "few" / "few.npz", images=images, labels=np.argsort(order)[labels[-100:]])
    (folder / "few.yaml").write_text(MANIFEST)


def _write_shapes(folder, order):
    """Three meshes and grey pictures, each with what its class is called once classes stand in another order."""
    place = np.argsort(order)
    labels = {name: int(place[index]) for name, index in KNOWN.items()}
    (folder / "meshes" / "bright").mkdir(parents=True, exist_ok=True)
    for name in FORMS:
        mesh = EMBEDDED_SHAPES[name].build()
        lines = [f"v {x} {y} {z}" for x, y, z in mesh.vertices.tolist()]
        lines += [f"f {a + 1} {b + 1} {c + 1}" for a, b, c in mesh.faces.tolist()]
        (folder / "meshes" / "bright" / f"{name}.obj").write_text("\n".join(lines) + "\n")
    shapes = {"type": "mesh-folder", "class_in": "folder", "labels": {"bright": labels["bright"]}}
    (folder / "three.yaml").write_text(
        yaml.safe_dump(SHAPES | {"location": {"folder": "meshes"}, "layout": shapes})
    )
    (folder / "greys").mkdir(exist_ok=True)
    pictures = {"type": "folder-per-class", "labels": labels}
    (folder / "greys" / "greys.yaml").write_text(yaml.safe_dump(GREYS | {"layout": pictures}))
    for name, greys in (("bright", (0, 90, 120, 150, 200, 250)), ("dark", (0, 2, 5, 8, 10, 40))):
        (folder / "greys" / name).mkdir(exist_ok=True)
        for number, grey in enumerate(greys):
            Image.new("RGB", (32, 32), (grey,) * 3).save(folder / "greys" / name / f"{number}.png")


def classes_of(question):
    """How many classes the question's network has."""
    return 10 if question.network == "digits" else 1000


def request(name, folder, model=None, order=None, batch_size=16):
    """The job's request, its data and its spec being written into ``folder``."""
    question = QUESTIONS[name]
    order = list(order or range(classes_of(question)))
    folder.mkdir(parents=True, exist_ok=True)
    (_write_digits if question.network == "digits" else _write_shapes)(folder, order)
    plain = order == list(range(len(order)))
    member = f"variant_networks:{question.network}" if plain else variant(question.network, order=order)
    data = "" if "data:" in question.spec else "data: few.yaml\n"
    path = folder / f"{name}.yaml"
    path.write_text(f"schema: 1\ntitle: t\n{data}" + question.spec.replace("MEMBER", f'"{member}"'))
    return JobRequest(
        model or f"variant_networks:{question.network}", str(path), batch_size=batch_size, trusted=(member,)
    )


def answered(name, folder, units=None, **asked):
    """A question's job and its records: of all units, or of each of the lists that ``units`` makes of them."""
    job = open_job(request(name, folder, **asked))
    chunks = [job.chunk(number) for number in range(job.chunk_count)]
    parts = chunks if units is None else units([unit for chunk in chunks for unit in chunk])
    records = [record for part in parts for record in run_units(job, part, lambda _n: None)]
    assert [record.error for record in records] == [None] * len(records)
    return job, records


def figures_of(job, records):
    """The metrics by name."""
    return {metric.name: metric for metric in job.task.summarise(job.spec.spec, records).metrics}


__all__ = ["BASES", "NAME", "QUESTIONS", "answered", "classes_of", "figures_of", "request"]
