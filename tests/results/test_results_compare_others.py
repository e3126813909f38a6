"""`compare` of what is no mean over units, and of runs of unequal length; one unit of display."""

from dataclasses import replace
from pathlib import Path
from statistics import fmean

import pytest
import yaml

from assay.board.compare import compare, sides, table_rows
from assay.common.errors import UserError
from assay.results.document import Metric
from assay.results.tables import displayed_difference
from small_jobs import request, run, write_spec
from tasks.srvr.three_shapes import MANIFEST, SPEC

PUBLISHED = Path(__file__).resolve().parents[2] / "leaderboard" / "submissions"


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    """Two networks on three shapes."""
    home = tmp_path_factory.mktemp("shapes")
    (home / "three.yaml").write_text(yaml.safe_dump(MANIFEST))
    task = write_spec(home, "t", yaml.safe_dump(SPEC))
    models = [f"views_models:{name}" for name in ("brightness", "shifted")]
    run([request(task, model=model, limit=None) for model in models], home / "o")
    return [sides(f"{home / 'o'}@{model}")["t"] for model in models]


def test_shapes_are_compared_one_by_one(shapes):
    tests = compare(*shapes)
    metrics = [{metric.name: metric for metric in side.result.metrics} for side in shapes]
    assert set(tests) == {name for name, metric in metrics[0].items() if metric.headline}
    for name, test in tests.items():
        assert (test.n, test.of) == (3, "shapes"), name
        assert test.difference == pytest.approx(metrics[0][name].value - metrics[1][name].value), name
        assert test.p_value >= 2 / 2**3  # all that three shapes can say


def test_a_shape_that_one_lacks_is_left_out_of_both(shapes):
    part = replace(shapes[0], records=[r for r in shapes[0].records if r.values["shape"] != "mug"])
    test = compare(part, shapes[1])["mean_nsm"]
    behind = [side.task.averaged(side.spec, side.records)["mean_nsm"] for side in shapes]
    assert test.n == 2
    assert test.difference == pytest.approx(
        fmean(
            one - other
            for one, other in zip(*(map(each.get, ("vase", "chair")) for each in behind), strict=True)
        )
    )


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """One network on a part, another on a larger one."""
    home = tmp_path_factory.mktemp("digits")
    task = write_spec(home)
    run([request(task, limit=14)], home / "short")
    run([request(task, model="digits_models:quantised", limit=24)], home / "long")
    return [sides(str(home / name))["t"] for name in ("short", "long")]


def test_runs_of_unequal_length_are_compared_on_what_both_have(digits):
    short, long = digits
    assert len(short.records) < len(long.records)
    for test in (compare(short, long), compare(long, short)):
        assert test["clean_accuracy"].n == 14


def test_a_median_is_resampled():
    """Of two published results: the medians differ as their metrics do, and no figure goes without a test."""
    small, large = (
        sides(str(PUBLISHED / f"mnist_fnn_{width}"))["verification/mnist"] for width in (200, 800)
    )
    tests = compare(small, large)
    figures = [{metric.name: metric.value for metric in side.result.metrics} for side in (small, large)]
    resampled = {name: test for name, test in tests.items() if test.test == "paired bootstrap"}
    assert len(resampled) >= 4  # of each combination: the largest change, and the smallest delta
    for name, test in resampled.items():
        assert test.difference == pytest.approx(figures[0][name] - figures[1][name])
        assert test.low <= test.difference <= test.high
        assert test.n == 100


def test_nothing_in_common_is_refused(digits):
    short, long = digits
    ids = {record.unit_id for record in short.records}
    with pytest.raises(UserError, match="no unit in common"):
        compare(short, replace(long, records=[r for r in long.records if r.unit_id not in ids]))


def test_a_difference_is_shown_in_the_unit_of_its_figure(digits):
    share = Metric(name="a", value=0.5, n=9, unit="proportion")
    assert displayed_difference(share, [0.031, -0.25]) == ["+3.1", "-25.0", "% points"]
    assert displayed_difference(share.model_copy(update={"unit": "1/255"}), [0.5]) == ["+0.5", "1/255"]
    rows = table_rows(digits[0], compare(*digits))
    assert {row[4] for row in rows if row[1] == "Clean accuracy"} == {"% points"}
