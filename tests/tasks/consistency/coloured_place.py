"""A small data set, its hierarchy and a spec, for networks whose neurons are known."""

import numpy as np
from PIL import Image

PER_CLASS = 40
MODELS = "tasks.consistency.colour_models"
# That specs may name: in the ensemble below, and in those that tests put in its place.
MEMBERS = tuple(
    f"{MODELS}:{name}"
    for name in ("detectors", "sharper_detectors", "stubborn", "other_labels", "one_channel", "large")
)
MANIFEST = """schema: 1
name: colours
title: one bright pixel
label_space: colours
num_classes: 3
licence: none
source: drawn by the tests
get: run the tests
location: {folder: pictures}
layout: {type: folder-per-class, classes: [red, green, blue]}
files: unlisted
"""
SPEC = """schema: 1
family: consistency
title: t
data: colours.yaml
hierarchy: near.json
adversarial: {ensemble: ["MODELS:detectors", "MODELS:sharper_detectors"], targets: 1, steps: 6, step_size: 1/10}
""".replace("MODELS", MODELS)
HIERARCHY = {
    "name": "near",
    "classes": ["red", "green", "blue"],
    "nodes": {
        "all": {"name": "all", "parents": []},
        "warm": {"name": "warm", "parents": ["all"]},
        "red": {"name": "red", "parents": ["warm"]},
        "green": {"name": "green", "parents": ["warm"]},
        "blue": {"name": "blue", "parents": ["all"]},
    },
}


def draw(folder, per_class=PER_CLASS):
    """Pictures of the three classes; the bright pixel and the ground get brighter within a class."""
    for colour, name in enumerate(("red", "green", "blue")):
        (folder / "pictures" / name).mkdir(parents=True)
        for index in range(per_class):
            pixels = np.full((8, 8, 3), 10 + index, np.uint8)
            pixels[index % 8, (index // 8) % 8, colour] = 100 + 3 * index + colour
            Image.fromarray(pixels).save(folder / "pictures" / name / f"{index:02d}.png")
