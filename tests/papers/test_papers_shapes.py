"""The shapes behind an SRVR: each has its figure, and two networks are compared shape by shape."""

from statistics import fmean

import pytest
import yaml

from assay.papers.behind import averaged_behind
from assay.runner.assemble import write_report
from assay.runner.executors import InProcess
from assay.runner.jobs import JobRequest
from assay.runner.plan import plan_jobs
from assay.runner.run import Runtime, run_jobs
from tasks.srvr.three_shapes import MANIFEST, SPEC


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A job of three shapes, and its result."""
    home = tmp_path_factory.mktemp("shapes")
    (home / "three.yaml").write_text(yaml.safe_dump(MANIFEST))
    (home / "t.yaml").write_text(yaml.safe_dump(SPEC))
    jobs = plan_jobs([JobRequest("views_models:brightness", str(home / "t.yaml"))])
    report = write_report(run_jobs(jobs, home / "o", Runtime(InProcess(), say=lambda _: None)))
    (job,) = report.jobs.values()
    return job, report.results[0]


@pytest.mark.parametrize("name", ["srvr", "srvr:naive", "srvr:OIR_B", "mean_nsm"])
def test_the_shapes_figures_average_to_the_metric(run, name):
    job, result = run
    metric = next(each for each in result.metrics if each.name == name)
    behind = averaged_behind(job, metric)
    assert set(behind) == {"mug", "vase", "chair"}
    assert fmean(behind.values()) == pytest.approx(metric.value)


def test_a_shape_has_the_ratio_of_its_class_where_it_is_alone_in_it(run):
    job, result = run
    metrics = {each.name: each for each in result.metrics}
    behind = averaged_behind(job, metrics["srvr"])
    assert behind["mug"] == pytest.approx(metrics["srvr:class:mug"].value)


def test_other_metrics_have_no_shapes(run):
    job, result = run
    metrics = {each.name: each for each in result.metrics}
    assert averaged_behind(job, metrics["shapes_recognised"]) == {}
    altered = metrics["srvr"].model_copy(update={"value": metrics["srvr"].value + 1})
    assert averaged_behind(job, altered) == {}
