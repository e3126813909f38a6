"""What stands behind a network's SRVR: a figure for every shape, so that networks are compared shape by shape."""

from functools import cache
from pathlib import Path
from statistics import fmean

from assay.results.document import Metric, ResultDocument
from assay.runner.assemble import stored_jobs
from assay.runner.store import RunFolder
from assay.tasks.base import clean_records
from assay.tasks.srvr.spec import SrvrSpec
from assay.tasks.srvr.study import Study, study

Behind = dict[str, dict[str, float]]
"""Figures by metric (``srvr``, ``srvr:METHOD``, ``mean_nsm``), then by shape."""


def shapes_behind(run: Path, result: ResultDocument, metric: Metric) -> dict[str, float]:
    """The metric's figure for every shape; empty for a metric that is no mean over shapes.

    Args:
        run: the folder of the run that the result is of.
        result: of any family.
        metric: one of the result's.
    """
    if result.family != "srvr":
        return {}
    found = _behind(run, result.job_key, result.model.name, result.task).get(metric.name, {})
    is_their_mean = (
        bool(found) and metric.value is not None and abs(fmean(found.values()) - metric.value) < 1e-9
    )
    return found if is_their_mean else {}


@cache
def _behind(run: Path, job_key: str, model: str, task: str) -> Behind:
    """Computed once per job: its regions are grown again from the stored maps."""
    del job_key  # what is stored under a name changes with it
    for job in stored_jobs(RunFolder.existing(run)):
        if (job.document["model"]["name"], job.document["task"]) == (model, task):
            assert isinstance(job.spec, SrvrSpec)
            return _of_study(job.spec, study(job.spec, clean_records(job.records())))
    return {}


def _of_study(spec: SrvrSpec, found: Study) -> Behind:
    ratios: dict[str, dict[str, list[float]]] = {}
    for search in found.searches:
        if search.shape not in spec.excluded and search.function == "map":
            for name in ("srvr", f"srvr:{search.method}"):
                ratios.setdefault(name, {}).setdefault(search.shape, []).append(100 * search.volume_ratio)
    means = {
        shape.shape: [float(shape.rows.mean())] for shape in found.maps if shape.shape not in spec.excluded
    }
    return {
        name: {shape: fmean(values) for shape, values in shapes.items()}
        for name, shapes in (ratios | {"mean_nsm": means}).items()
    }
