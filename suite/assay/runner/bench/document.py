"""Equality and speed of a device as one document of plain values."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from assay.models.loaded import torch_device
from assay.runner.bench.equality import TOLERANCE, UNITS_AT_LEAST, compare, shipped_cases
from assay.runner.bench.speed import EPS, LARGE, SMALL, STEPS, speeds
from assay.runner.environment import environment


def bench(device: str, say: Callable[[str], None] = lambda _line: None) -> dict[str, Any]:
    """Measure a device; on other devices than a GPU in the small form, which takes seconds.

    Raises:
        UserError: no such device.
    """
    torch_device(device)
    load = LARGE if device.startswith("cuda") else SMALL
    equality = []
    for case in shipped_cases():
        say(f"equality: {case.task} {' '.join(case.settings)}".rstrip())
        found = compare(case, device)
        equality.append(case.model_dump(mode="json") | asdict(found) | {"passed": found.passed})
    say("speed")
    attacked, measured = speeds(load, device)
    info = attacked.model.info
    here = {name: value for name, value in environment(device).items() if name != "host"}
    return {
        "schema": 1,
        "device": device,
        "small": load is SMALL,
        "environment": here,
        "tolerance": {"number": TOLERANCE, "units": UNITS_AT_LEAST},
        "equality": equality,
        "speed": {
            "network": info.name,
            "weights_sha256": info.weights_sha256,
            "source": info.source,
            "instead_of": list(attacked.missing),
            "attack": f"PGD, {STEPS} steps, L-infinity {EPS * 255:g}/255, every step taken",
            "data": load.data,
            "batch": load.batch,
            "measured": [asdict(each) for each in measured],
        },
        "passed": all(case["passed"] for case in equality),
    }
