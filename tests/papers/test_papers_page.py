"""The page of a reproduction: charts that a browser draws, one unit a line, each guard's finding told once."""

import json

import pytest

from assay.papers.claims import MeasuredValue, judge_all
from assay.papers.execute import PaperOutcome
from assay.papers.page import difference, number, reproduction_page
from assay.papers.plan import Reproduction
from assay.papers.spec.paper import Paper
from assay.results.document import Coverage, DataCard, Guard, Metric, ModelCard, ResultDocument, Status
from assay.tasks.base import Figure

EPS = {"0": 0.0, "1/20": 0.05, "1/10": 0.1}
GUARD = "black_box_does_not_win"
PAPER = {
    "schema": 1, "paper": "tiny", "title": "T", "authors": "A",
    "source": "at example.org, commit " + "3ffaead81342d671ad0ae33adb4e1232e8539538" * 2, "summary": "Y",
    "tables": [
        {"id": "t", "place": "Table 1", "what": "w", "unit": "%", "columns": ["clean"], "rows": {"r": [90]}}
    ],
    "measurements": {
        name: {"kind": "metric", "text": name, "model": "plain", "task": "fgsm", "metric": name}
        for name in ("plain", "guided", "doubted")
    } | {"region": {"kind": "metric", "text": "region", "model": "plain", "task": "fgsm", "metric": "region",
                    "published": {"table": "t", "row": "r", "column": "clean"}}},
    "claims": [
        {"id": id_, "place": "Table 1", "text": f"Claim {id_}.", "test": test}
        for id_, test in {
            "near": {"type": "within", "left": "guided", "right": "plain", "tolerance": 0.02},
            "high": {"type": "at_least", "left": "plain", "value": 0.58},
            "wide": {"type": "below", "left": "region", "value": 25},
            "sure": {"type": "less", "left": "doubted", "right": "plain"},
        }.items()
    ],
    "scales": {
        "cpu": {
            "differs": ["Everything."],
            "models": {name: {"kind": "zoo", "model": "digits_fnn"} for name in ("plain", "guided")},
            "tasks": {"fgsm": {"task": "fgsm.yaml"}},
        },
    },
}  # fmt: skip
OWN_CHART = (
    '{"data": [{"type": "scatter", "x": [0, 12.75], "y": [1, 0.5], "name": "fgsm"}], "layout":'
    ' {"xaxis": {"title": {"text": "eps (units of 1/255)"}}}}'
)


def result(model, seed, guards=()):
    curve = [
        Metric(
            name=f"{series}:robust_accuracy@{eps}", value=0.9 - 4 * x - seed / 100, ci_low=0.1, ci_high=0.95, n=1000,
            unit="proportion", series=series, x=x, x_label="eps", headline=True,
        )
        for series in ("fgsm", "worst")  # which of one attack are the same
        for eps, x in EPS.items()
    ]  # fmt: skip
    return ResultDocument(
        task="fgsm", family="adversarial", title="FGSM, MNIST test images", spec={"norm": "linf"},
        spec_sha256="0" * 64, model=ModelCard(
            name=model, architecture="a", source="s", licence="l", weights_sha256="0" * 64, preprocessing={},
            label_space="digits", num_classes=10, input_shape=(1, 28, 28),
        ),
        data=DataCard(name="d", title="The 10,000 test images of MNIST", licence="l", sha256="0" * 64),
        precision={}, job_key="0" * 64, status=Status.COMPLETE,
        coverage=Coverage(units=10000, done=1000, errors=0, limited=True), metrics=tuple(curve), guards=guards,
        command="assay run",
    )  # fmt: skip


@pytest.fixture
def outcome(tmp_path):
    """Two models of three seeds; one guard failed, with a count of its own in every seed."""
    plan = Reproduction(Paper.model_validate_json(json.dumps(PAPER)), "cpu", tmp_path, tmp_path / "out")
    seeds = {"0": 0.001, "1": 0.0, "2": -0.001}

    def over_seeds(value, doubt=""):
        samples = {seed: value + shift for seed, shift in seeds.items()}
        return MeasuredValue(
            value, value - 0.01, value + 0.01, "proportion", 1000, samples, "seeds", True, 0.001, doubt
        )

    failed = {seed: Guard(name=GUARD, passed=False, detail=f"{1000 + seed} images fell") for seed in range(3)}
    measured = {
        "plain": over_seeds(0.97),
        "guided": over_seeds(0.969),
        "doubted": over_seeds(0.5, f"guard {GUARD} failed"),
        "region": MeasuredValue(14.15113, 10.0, 18.0, "%", 50),
    }
    results = {
        (model, seed, "fgsm"): result(model, seed, (failed[seed],) if model == "guided" else ())
        for model in ("plain", "guided")
        for seed in range(3)
    }
    own = Figure("c", "Accuracy under attack", "over eps", "plotly", OWN_CHART)
    figures = dict.fromkeys(results, (own,))
    return PaperOutcome(plan, measured, judge_all(plan.paper.claims, measured), results, figures, {})


@pytest.fixture
def open_page(chromium, outcome, tmp_path):
    """The page in a browser of a width; whatever a script complains of fails the test."""
    (tmp_path / "index.html").write_text(reproduction_page(outcome), encoding="utf-8")
    contexts, complaints = [], []

    def open_(**options):
        context = chromium.new_context(**options)
        context.set_default_timeout(120_000)  # ms; machines that run this are shared
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto((tmp_path / "index.html").as_uri())
        return page

    yield open_
    for context in contexts:
        context.close()
    assert complaints == []


def draw_all(page):
    """Scroll every chart into view, as a reader would, until it is drawn."""
    charts = page.locator(".chart").all()
    for chart in charts:
        chart.scroll_into_view_if_needed()
        chart.locator("svg.main-svg .scatterlayer .trace").first.wait_for(state="attached")
    return charts


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_chart_is_drawn_with_its_axes_named_in_one_unit(open_page, scheme):
    page = open_page(color_scheme=scheme)
    charts = draw_all(page)
    assert len(charts) == 3  # one compared curve, and a chart of each model's own
    assert [chart.locator(".xtitle").text_content() for chart in charts] == ["eps (units of 1/255)"] * 3
    assert charts[0].locator(".ytitle").text_content() == "robust accuracy"
    assert page.locator(".chart").first.evaluate("chart => chart.data.at(-1).x") == [0, 12.75, 25.5]


def test_nothing_overflows_on_a_phone_that_was_wide_before(open_page):
    page = open_page(viewport={"width": 1200, "height": 800})
    draw_all(page)
    page.set_viewport_size({"width": 390, "height": 800})
    narrow = "[...document.querySelectorAll('.chart svg.main-svg')].every(svg => svg.clientWidth < 390)"
    for _ in range(100):  # the page's own policy forbids Playwright's waiting for a function
        if page.evaluate(narrow):
            break
        page.wait_for_timeout(100)
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_a_link_to_the_guards_shows_what_they_found(open_page):
    page = open_page()
    page.click("a[href='#guards']")
    assert page.locator("#guards").is_visible()


def test_a_curve_says_how_many_images_are_behind_it(outcome):
    page = reproduction_page(outcome)
    assert "fgsm: FGSM, MNIST test images." in page
    assert "N = 1,000 (the first 1,000 of 10,000 units)" in page
    assert "The 10,000 test images" not in page


def test_a_comparison_value_interval_and_limit_are_in_one_unit(outcome):
    page = reproduction_page(outcome)
    near, high, wide, _ = (entry.split("</table>")[0] for entry in page.split('<li class="claim')[1:])
    for text in ("-0.1 points", "within ±2.0 points", "to +0.1 points"):
        assert text in near
    for text in ("97.0 %", "96.0 to 98.0 %", "at least 58.0 %"):
        assert text in high
    for text in ("14.15 %", "10 to 18 %", "below 25 %"):
        assert text in wide


def test_a_failed_guard_is_named_where_it_matters_and_told_once(outcome):
    page = reproduction_page(outcome)
    assert f"Why: doubted: guard {GUARD} failed." in page
    assert f'<small class="apart">guard {GUARD} failed</small>' in page
    assert [page.count(f"{count} images fell") for count in (1000, 1001, 1002)] == [1, 1, 1]


def test_percentages_differ_by_points():
    assert (number(0.5, "proportion"), number(12.5, "%"), number(3.25, "pixels")) == (
        "50.0 %",
        "12.5 %",
        "3.25",
    )
    assert [difference(*each) for each in ((-0.011, "proportion"), (0.0011, "%"), (8.007, "s"), (2.5, "pixels"))] == [
        "-1.1 points", "+0.00 points", "+8.007 s", "+2.5",
    ]  # fmt: skip
