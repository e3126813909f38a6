"""A study: rank correlations over clusters of models, and sentences only where the data allow them."""

import csv
import json
import math

import numpy as np
import pytest
from scipy import stats

from assay.board.site.boards import BoardRow, TaskBoard
from assay.board.site.overview import ShownTrack
from assay.board.site.pages import Pages
from assay.board.site.studies import board_table, studies
from assay.board.study.association import LEAST_CLUSTERS, associate, corrected
from assay.board.study.findings import pairs_of
from assay.board.study.table import Measure, StudiedModel, StudyTable, cluster_of, study_table
from assay.board.submissions.register import AdmittedTask
from assay.cli import main
from assay.common.errors import UserError
from assay.common.statistics import LEAST_UNITS
from assay.results.document import ResultDocument
from assay.tasks.tracks import load_track
from small_jobs import JobRequest, run

RISING = [float(value) for value in range(12)]


@pytest.mark.parametrize("n", [6, 9, 15])
def test_tau_and_its_p_value_are_scipys(n):
    rng = np.random.default_rng(n)
    a, b = rng.integers(0, 5, n).astype(float), rng.standard_normal(n)
    found, other = associate(a, b), stats.kendalltau(a, b)
    assert found.tau == pytest.approx(other.statistic)
    distinct = rng.permutation(n).astype(float)
    exact = stats.kendalltau(distinct, b, method="exact").pvalue
    assert associate(distinct, b).p_value == pytest.approx(exact, abs=1e-12 if n < 8 else 0.02)


def test_order_scale_and_direction():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal(12), rng.standard_normal(12)
    found = associate(a, b)
    assert associate(np.exp(a), 3 * b + 7) == found
    assert associate(a, -b).tau == pytest.approx(-found.tau)
    assert associate(b, a).tau == pytest.approx(found.tau)
    assert found.low < found.tau < found.high


def test_perfect_agreement_and_too_few():
    assert associate(RISING, RISING)[:3] == (1, 1, 1)
    assert associate(RISING[:4], RISING[:4]).tau is None
    few = associate(RISING[:LEAST_CLUSTERS], RISING[:LEAST_CLUSTERS])
    assert few.tau == 1
    assert few.low is None
    assert few.p_value == pytest.approx(2 / math.factorial(LEAST_CLUSTERS))
    assert associate(RISING, [1.0] * 12).tau is None


def test_holms_correction_is_the_published_one():
    assert corrected([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert corrected([0.9, 0.8]) == [1, 1]
    assert corrected([]) == []


def table_of(figures, better=("up", "up"), clusters=None):
    ids = ("x", "y", "z")[: len(figures)]
    measures = tuple(Measure(id, id.upper(), "proportion", way) for id, way in zip(ids, better, strict=False))
    models = tuple(
        StudiedModel(f"m{at}", clusters[at] if clusters else f"m{at}", dict(zip(ids, own, strict=True)))
        for at, own in enumerate(zip(*figures, strict=True))
    )
    return StudyTable(measures, models, ())


def test_a_sentence_says_which_way_is_better():
    (pair,) = pairs_of(table_of([RISING, RISING], ("up", "down")))
    assert pair.association.tau == -1
    assert pair.sentence.startswith("Models that do better at X do worse at Y: τ -1.00 [-1.00, -1.00], ")
    (pair,) = pairs_of(table_of([RISING, RISING], ("down", "down")))
    assert "do better at Y" in pair.sentence


def test_seeds_of_one_recipe_are_one_witness():
    """Three recipes with four seeds each: twelve networks, and no more to say than three."""
    clusters = [f"recipe {at // 4}" for at in range(12)]
    (pair,) = pairs_of(table_of([RISING, RISING], clusters=clusters))
    assert pair.association.clusters == 3
    assert pair.sentence == "X and Y: nothing can be said of 3 clusters; 5 are the least."
    means = table_of([RISING, RISING], clusters=clusters).clusters("x")
    assert list(means.values()) == [(1.5,), (5.5,), (9.5,)]


def test_chance_is_not_called_a_finding():
    rng = np.random.default_rng(5)
    columns = [list(rng.standard_normal(12)) for _ in range(3)]
    pairs = pairs_of(table_of(columns, ("up",) * 3))
    assert not any(pair.shown for pair in pairs)
    assert all("not shown to go together" in pair.sentence for pair in pairs)
    (few,) = pairs_of(table_of([RISING[:8]] * 2))
    assert not few.shown
    assert "nothing is shown" in few.sentence


@pytest.mark.slow
@pytest.mark.parametrize("n", [LEAST_UNITS, 14, 20])
@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_the_interval_covers_what_it_says(n, rho):
    """Of two normal variables tau is 2/pi arcsin(rho) (Greiner 1909)."""
    rng, trials, covered = np.random.default_rng(1), 300, 0
    truth = 2 / math.pi * math.asin(rho)
    for _ in range(trials):
        a, noise = rng.standard_normal((2, n))
        found = associate(a, rho * a + math.sqrt(1 - rho**2) * noise)
        covered += found.low <= truth <= found.high
    assert covered / trials >= 0.93


@pytest.mark.slow
def test_false_findings_are_as_rare_as_stated():
    rng, trials = np.random.default_rng(2), 300
    shown = sum(
        any(pair.shown for pair in pairs_of(table_of(rng.standard_normal((3, 12)), ("up",) * 3)))
        for _ in range(trials)
    )
    assert shown / trials <= 0.08


# On real results: two of the tests' networks, and the shipped one.
TASKS = ("corruptions/digits", "adversarial/digits")
MODELS = ("digits_models:linear", "digits_models:blurred", "digits_fnn")


@pytest.fixture(autouse=True)
def _shipped_tasks():
    """The shipped tracks and tasks, in the place of the other tests' small task."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("study") / "out"
    run([JobRequest(model, task, limit=30) for model in MODELS for task in TASKS], out)
    return out


@pytest.fixture(scope="module")
def results(folder):
    from assay.runner.assemble import stored_results

    return stored_results(folder)


def test_figures_are_the_results_own(results):
    table = study_table(load_track("digits"), results)
    assert [measure.id for measure in table.measures] == [
        "clean_accuracy",
        "adversarial/digits",
        "corruptions/digits",
    ]
    for model in table.models:
        for task in TASKS:
            (result,) = [each for each in results if (each.model.name, each.task) == (model.name, task)]
            doubted = any(model.name in why and task in why for why in table.left_out)
            assert (task in model.figures) != doubted
            if not doubted:
                assert model.figures[task] == result.headline_metric.value


def test_a_doubted_figure_is_left_out_with_its_reason(results):
    guard = {"name": "repeats", "passed": False, "detail": "planted"}
    spoilt = [
        ResultDocument.model_validate(result.model_dump() | {"guards": [guard]})
        if (result.model.name, result.family) == ("digits_fnn", "corruptions")
        else result
        for result in results
    ]
    table = study_table(load_track("digits"), spoilt)
    (model,) = [each for each in table.models if each.name == "digits_fnn"]
    assert "corruptions/digits" not in model.figures
    assert "digits_fnn, corruptions/digits: failed repeats" in table.left_out


def test_another_question_than_most_models_is_left_out(results):
    one, *others = [each for each in results if each.task == "corruptions/digits"]
    asked_more = one.model_dump() | {"coverage": one.model_dump()["coverage"] | {"done": 29}}
    table = study_table(load_track("digits"), [ResultDocument.model_validate(asked_more), *others])
    assert any(
        why.startswith(f"{one.model.name}, corruptions/digits: is of other units") for why in table.left_out
    )


def test_two_results_that_differ_are_refused(results):
    one = next(each for each in results if each.task == "corruptions/digits")
    metrics = [
        metric.model_dump() | ({"value": 0.123} if metric.name == one.headline else {})
        for metric in one.metrics
    ]
    other = ResultDocument.model_validate(one.model_dump() | {"metrics": metrics})
    with pytest.raises(UserError, match="has two results of corruptions/digits"):
        study_table(load_track("digits"), [one, other])


def test_seeds_share_a_cluster_and_weights_do(results):
    one = results[0]
    source = "trained by Assay: PGD (recipe {}, data {})"
    trained = [
        ResultDocument.model_validate(
            one.model_dump()
            | {"model": one.model.model_dump() | {"source": source.format(str(seed) * 64, "d" * 64)}}
        )
        for seed in (1, 2)
    ]
    clusters = [cluster_of(each.model.source, each.model.weights_sha256) for each in trained]
    assert len(set(clusters)) == 1
    assert cluster_of(one.model.source, one.model.weights_sha256) == one.model.weights_sha256


def test_the_verb_writes_page_picture_and_tables(folder, tmp_path, capsys, monkeypatch, results):
    weights = {result.model.name: result.model.weights_sha256 for result in results}
    lines = [
        {
            "weights_sha256": sha256,
            "data_sha256": "d",
            "data": "digits-test",
            "score": "logit",
            "n": 3,
            "mean": at,
        }
        for at, sha256 in enumerate(weights.values())
    ]
    (tmp_path / "alignments").write_text("\n".join(map(json.dumps, lines)))
    with pytest.raises(SystemExit) as ended:
        main([
            "study", "digits", str(folder), "--out", str(tmp_path / "out"),
            "--alignments", str(tmp_path / "alignments"),
        ])  # fmt: skip
    assert ended.value.code == 0
    page = (tmp_path / "out" / "index.html").read_text()
    assert "No pair of measures is shown to go together." in page
    assert "<script" not in page
    assert (tmp_path / "out" / "matrix.png").read_bytes().startswith(b"\x89PNG")
    with (tmp_path / "out" / "study.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6  # four measures
    assert all("nothing can be said" in row["sentence"] for row in rows)
    with (tmp_path / "out" / "models.csv").open() as file:
        assert {row["model"]: float(row["alignment"]) for row in csv.DictReader(file)} == {
            name: float(at) for at, name in enumerate(weights)
        }
    assert "3 models, 4 measures" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("nonsense", "line 1: is no line of `assay alignment --json`"),
        ('{"weights_sha256": "a", "data_sha256": "d", "mean": 1, "data": "x", "score": "logit"}\n'
         '{"weights_sha256": "b", "data_sha256": "d", "mean": 1, "data": "y", "score": "logit"}',
         "its lines are of x (logit), y (logit)"),
        (None, "cannot be read"),
    ],
)  # fmt: skip
def test_alignments_that_cannot_be_used_are_one_sentence(folder, tmp_path, capsys, content, said):
    if content is not None:
        (tmp_path / "alignments").write_text(content)
    with pytest.raises(SystemExit) as ended:
        main(
            [
                "study",
                "digits",
                str(folder),
                "--out",
                str(tmp_path / "out"),
                "--alignments",
                str(tmp_path / "alignments"),
            ]
        )
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_track_that_nothing_was_run_of(folder, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["study", "mnist", str(folder), "--out", str(tmp_path / "out")])
    assert ended.value.code == 2
    assert "needs two models and two measures, found 0 and 0" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


# On the leaderboard, from the boards of its tasks.
def metric(name, direction="up"):
    about = {"name": name, "unit": "proportion", "series": None, "x": None, "x_label": None}
    return about | {"title": name.upper(), "direction": direction}


def board_of(task, family, headline, values, better="higher"):
    admitted = AdmittedTask(
        rank_by=headline, better=better, units=100, data_sha256="d" * 64, unit_ids_sha256="d" * 64
    )
    board = TaskBoard(task, "T", family, admitted, headline)
    for model, (clean, value) in values.items():
        direction = "down" if better == "lower" else "up"
        row = BoardRow(
            [metric("clean_accuracy"), metric(headline, direction)],
            [[clean, None, None, 100], [value, None, None, 100]],
            "re-run",
        )
        board.add(model, row)
    return board


def track_of(*boards, models):
    return ShownTrack("digits", "Digits", "d", boards, (), models, {})


MODEL_ROWS = [{"id": f"m{at}", "model": f"Model {at} <b>", "cluster": f"c{at}"} for at in range(12)]


def test_the_boards_table_is_its_rows():
    rising = {f"m{at}": (at / 20, at / 10) for at in range(12)}
    falling = {f"m{at}": (None, at / 10) for at in range(11)}
    track = track_of(
        board_of("a/x", "adversarial", "h", rising),
        board_of("b/y", "corruptions", "g", falling, "lower"),
        models=[row["id"] for row in MODEL_ROWS],
    )
    table = board_table(track, MODEL_ROWS)
    assert [(each.id, each.better) for each in table.measures] == [
        ("clean_accuracy", "up"), ("a/x", "up"), ("b/y", "down"),
    ]  # fmt: skip
    by_name = {model.name: model.figures for model in table.models}
    assert by_name["Model 3 <b>"] == {"clean_accuracy": 0.15, "a/x": 0.3, "b/y": 0.3}
    assert "b/y" not in by_name["Model 11 <b>"]
    ((name, values),) = studies([track], MODEL_ROWS)
    assert name == "digits"
    assert [pair.association.tau for pair in values["pairs"]] == [1, -1, -1]


def test_its_page_is_like_the_sites_others_and_escapes_names():
    rising = {f"m{at}": (at / 20, at / 10) for at in range(12)}
    track = track_of(board_of("a/x", "adversarial", "h", rising), models=[row["id"] for row in MODEL_ROWS])
    ((_, values),) = studies([track], MODEL_ROWS)
    page = Pages().study(values)
    assert "Models that do better at clean accuracy do better at H" in page
    assert "Model 3 &lt;b&gt;" in page
    assert "<b>" not in page.partition("<tbody>")[2]
    assert 'href="../index.html"' in page


def test_no_page_where_nothing_can_be_said():
    few = {f"m{at}": (at / 20, at / 10) for at in range(LEAST_CLUSTERS - 1)}
    board = board_of("a/x", "adversarial", "h", few)
    assert list(studies([track_of(board, models=list(few))], MODEL_ROWS)) == []
    same = [row | {"cluster": "one recipe"} for row in MODEL_ROWS]
    many = {f"m{at}": (at / 20, at / 10) for at in range(12)}
    board = board_of("a/x", "adversarial", "h", many)
    assert list(studies([track_of(board, models=list(many))], same)) == []


def test_measures_of_one_title_are_told_apart():
    rising = {f"m{at}": (None, at / 10) for at in range(12)}
    boards = [board_of(task, "adversarial", "h", rising) for task in ("adversarial/x", "adversarial/y")]
    table = board_table(track_of(*boards, models=list(rising)), MODEL_ROWS)
    assert [each.title for each in table.measures] == ["H (adversarial/x)", "H (adversarial/y)"]
