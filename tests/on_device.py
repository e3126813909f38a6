"""Records of a task computed in this process on a device, for comparing one device with another."""

import math

import torch

from assay.models.zoo import load_model
from assay.tasks.base import RunContext
from assay.tasks.families import family
from assay.tasks.shared.images import DataSource


def records_on(device, loaded, model, count=2, **changes):
    """The first records of a task on a device.

    Args:
        device: its name.
        loaded: the task's spec, as ``load_spec`` gives it.
        model: the network's name.
        count: how many units; None for all.
        changes: fields of the spec that are set.
    """
    spec = loaded.spec.model_copy(update=changes)
    task = family(spec.family)
    data = task.open_data(spec, DataSource(spec.data, loaded.folder, ()))
    network = load_model(model).to(torch.device(device))
    units = task.units(spec, data)[:count]
    context = RunContext(
        "seed", str(device), 4, first=lambda some: frozenset(unit.id for unit in units[:some])
    )
    return list(task.run(spec, network, data, units, context))


def seen(record):
    """All of a record but its seconds, which no two runs share."""
    values = {name: value for name, value in record.values.items() if name != "seconds"}
    return record.unit_id, values, record.error, dict(record.files)


def close(there, here, relative=1e-5):
    """Whether two values are alike: floats to ``relative``, all else equal."""
    if isinstance(here, dict):
        return there.keys() == here.keys() and all(close(there[key], here[key], relative) for key in here)
    if isinstance(here, (list, tuple)):
        return len(there) == len(here) and all(map(close, there, here))
    if isinstance(here, float):
        return isinstance(there, float) and math.isclose(there, here, rel_tol=relative, abs_tol=1e-7)
    return there == here
