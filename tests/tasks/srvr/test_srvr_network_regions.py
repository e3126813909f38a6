"""Regions that grow on the network itself."""

import json

from assay.tasks.srvr.task import TASK
from tasks.srvr.three_shapes import metrics


def test_regions_can_grow_on_the_network_itself_beside_its_map(outcome):
    changes = {"function": "network", "network_shapes": ["mug"], "adversarial": True, "initial": [[50, 20]]}
    job, records = outcome(changes=json.dumps(changes))
    assert [unit.id for unit in job.units][9:] == [
        "mug/network-naive",
        "mug/network-OIR_B",
        "mug/network-naive-complement",
        "mug/network-OIR_B-complement",
    ]
    found = metrics(job, records)
    assert {"srvr", "srvr_network", "adversarial_volume_network", "map_network_iou"} <= set(found)
    assert found["srvr_network"].n == 1
    assert found["map_network_iou"].value > 0.3
    functions = {row["function"] for row in TASK.rows(job.spec.spec, records)}
    assert functions == {"map", "map_complement", "network", "network_complement"}
    assert "bounds-network" in [figure.name for figure in TASK.figures(job.spec.spec, records)]


def test_slopes_by_autograd_grow_regions_too(outcome):
    changes = {
        "function": "network",
        "network_shapes": ["mug"],
        "classes": ["mug"],
        "slopes": "autograd",
        "initial": [[50, 20]],
        "methods": [{"method": "OIR_W", "steps": 3}],
    }
    _, records = outcome(changes=json.dumps(changes))
    (found,) = records[-1].values["searches"]
    assert found["steps"] == 3
