"""The leaderboard that this repository publishes: every row is current, and its tables follow from the submissions."""

import json
import shutil
from pathlib import Path

import pytest

from assay.board.site.build import build_site
from assay.board.submissions.check import Board, check_submission, other_names, read_records
from assay.board.submissions.folder import open_folder
from assay.board.submissions.outcomes import headline_outcomes, scores_alone, unpacked
from assay.board.submissions.register import read_register
from assay.board.submissions.results import parse_result, switches_of
from assay.tasks.families import family, load_spec

PUBLISHED = Path(__file__).resolve().parents[2] / "leaderboard"
NAMES = other_names(PUBLISHED / "submissions")


@pytest.fixture(autouse=True)
def _shipped_tasks():
    """The shipped tasks themselves, not those of the other tests here."""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A copy of the board, the site that is built from it, and what was reported."""
    if not NAMES:
        pytest.skip("the leaderboard is part of the checkout, not of an installed package")
    folder = tmp_path_factory.mktemp("published")
    shutil.copytree(PUBLISHED, folder / "leaderboard", ignore=shutil.ignore_patterns("site"))
    return folder, build_site(folder / "leaderboard", folder / "site")


def test_every_row_is_shown_and_the_tables_are_those_of_the_submissions(built):
    folder, report = built
    assert (report.models, report.hidden) == (len(NAMES), ())
    for table in ("leaderboard.csv", "results_long.csv"):
        text = (folder / "leaderboard" / table).read_text()
        assert text == (PUBLISHED / table).read_text(), "run `make leaderboard`"


def test_a_task_whose_family_has_curves_shows_those_of_its_models_together(built):
    site = built[0] / "site"
    task = "corruptions/imagenet20"
    results = {
        name: json.loads(path.read_text())
        for name in NAMES
        if (path := PUBLISHED / "submissions" / name / "results" / f"{task}.json").is_file()
    }
    script = (site / "data" / "tasks" / f"{task}-together.js").read_text()
    traces = json.loads(script.partition("=")[2].partition("=")[2].rstrip(";\n"))["data"]
    assert {trace["name"] for trace in traces} == set(results)
    for trace in traces:
        known = {metric["name"]: metric for metric in results[trace["name"]]["metrics"]}
        names = ["clean_accuracy", *(f"mean:accuracy@{severity}" for severity in (1, 2, 3, 4, 5))]
        assert trace["y"] == pytest.approx([known[name]["value"] for name in names])
    page = (site / "tasks" / f"{task}.html").read_text()
    assert f'data-chart="tasks/{task}-together"' in page
    for name in ("page", "charts", "pictures"):
        assert f'src="../../assets/{name}.js"' in page
    lonely = (site / "tasks" / "corruptions" / "digits.html").read_text()
    assert "data-chart" not in lonely  # one model alone
    assert "data-chart" not in (site / "tasks" / "adversarial" / "imagenet20.html").read_text()


@pytest.mark.parametrize(
    "name", [name for name in ("digits_fnn", "efficientnet_lite0", "wk_mnist") if name in NAMES]
)
def test_a_unit_s_scores_are_those_that_its_own_summary_has(name):
    """Whether a family computes its metrics one by one or all together; and the columns need no second summary."""
    files, _ = open_folder(PUBLISHED / "submissions" / name)
    for task in files.tasks:
        result = parse_result(f"results/{task}.json", files.read(f"results/{task}.json"))
        spec = load_spec(task, switches_of(result.spec, task)).spec
        records = read_records(files, task, spec)[:12]
        its_family = family(spec.family)
        assert tuple(its_family.metrics(spec, records)) == its_family.summarise(spec, records).metrics
        headline = [metric.name for metric in result.metrics if metric.headline]
        result = result.model_copy(update={"metrics": its_family.summarise(spec, records).metrics})
        columns = headline_outcomes(its_family, spec, records, result).metrics
        for each, column in columns.items():
            alone = [scores_alone(its_family, spec, record).get(each) for record in records]
            assert list(unpacked(column)) == alone
        assert set(columns) <= set(headline)
        assert columns or spec.family in {"srvr", "consistency"}  # of shapes and neurons


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_row_passes_the_check_of_today(name):
    against = Board(read_register(PUBLISHED), NAMES)
    assert list(map(str, check_submission(PUBLISHED / "submissions" / name, against))) == []
