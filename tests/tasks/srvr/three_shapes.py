"""A task over three procedural shapes on a tiny grid, which the tests of the family share."""

from dataclasses import replace

from assay.tasks.base import clean_records
from assay.tasks.srvr.task import TASK

MANIFEST = {
    "schema": 1,
    "kind": "shapes",
    "name": "three",
    "title": "three shapes",
    "label_space": "imagenet-1k",
    "num_classes": 1000,
    "licence": "ours",
    "source": "code",
    "get": "nothing to get",
    "layout": {"type": "embedded", "shapes": ["mug", "vase", "chair"]},
    "files": "unlisted",
}


SPEC = {
    "schema": 1,
    "family": "srvr",
    "title": "t",
    "data": "three.yaml",
    "parameters": [
        {"name": "azimuth_deg", "low": 0, "high": 360, "step": 60},
        {"name": "elevation_deg", "low": -10, "high": 90, "step": 50},
    ],
    "methods": [{"method": "naive", "steps": 40}, {"method": "OIR_B", "steps": 40}],
    "initial": [[130, 30], [50, 20]],
}


def metrics(job, records):
    return {m.name: m for m in TASK.summarise(job.spec.spec, clean_records(records)).metrics}


def guards(job, records):
    return {g.name: g for g in TASK.summarise(job.spec.spec, clean_records(records)).guards}


def planted(records, **checks):
    """The records with a guard's figure of the first one altered: what a defect would leave there."""
    values = dict(records[0].values)
    values |= {"checks": values["checks"] | checks}
    return [replace(records[0], values=values), *records[1:]]
