"""What holds for every format: bad input is one sentence, nothing is half written, nothing doubtful looks sound."""

import sys

import pytest

from assay.exports.figures import ExportedResult, figures_of
from assay.exports.formats import FORMATS
from assay.results.document import Guard, Metric, Status
from result_documents import document

FAILED = Guard(name="gradient_not_zero", passed=False, value=1, limit=0, detail="No gradient was seen.")
OPTIONS = {"eee": ("--developer", "acme")}


def needs(form):
    for module in FORMATS[form].modules:
        pytest.importorskip(module, reason="the extra `export` is not installed")


@pytest.mark.parametrize(
    ("changes", "doubt"),
    [
        ({}, ""),
        ({"coverage": {"units": 9, "done": 4, "errors": 0, "limited": True}}, "limited"),
        ({"status": Status.PARTIAL}, "partial"),
        ({"spec": {"demonstration": "An untrained network."}}, "demonstration"),
        ({"status": Status.PARTIAL, "guards": (FAILED,)}, "guard_failed"),
    ],
)
def test_a_figure_in_doubt_has_another_key_and_says_so_in_its_name(changes, doubt):
    result = ExportedResult(document(**changes))
    (figure,) = figures_of(result)
    assert result.doubt == doubt
    assert figure.key == (f"{doubt}/clean_accuracy" if doubt else "clean_accuracy")
    assert (figure.heading == "clean_accuracy") == (doubt == "")
    assert result.status in figure.heading or not doubt


def test_a_result_that_has_no_meaning_says_so_with_its_reason():
    result = ExportedResult(document(status=Status.NOT_APPLICABLE, reason="other pictures", metrics=()))
    assert (result.doubt, result.explanation) == ("not_applicable", "not_applicable. other pictures")


def test_a_figure_carries_all_that_it_rests_on():
    result = ExportedResult(document(headline="clean_accuracy", guards=(FAILED,)), ("0.1.0", "0.2.0"))
    (figure,) = figures_of(result)
    facts = figure.facts
    assert (facts["ci_low"], facts["ci_high"], facts["n"], facts["unit"]) == (0.3, 0.95, 4, "proportion")
    assert (facts["headline"], facts["direction"], facts["assay_version"]) == (True, "none", "0.1.0, 0.2.0")
    assert facts["guards_failed"] == "gradient_not_zero: No gradient was seen."
    own = result.document
    assert facts["data_sha256"] == own.data.sha256
    assert facts["weights_sha256"] == own.model.weights_sha256


def test_figures_without_a_value_are_left_out():
    metrics = (Metric(name="a", value=None, n=0, unit="x"), Metric(name="b", value=1.0, n=1, unit="x"))
    assert [each.key for each in figures_of(ExportedResult(document(metrics=metrics)))] == ["b"]


def test_a_run_s_results_have_their_version_and_time(results):
    for each in results.values():
        assert each.versions
        assert each.finished is not None
    assert {key: each.doubt for key, each in results.items()} == {
        ("digits_models:linear", "unseen"): "",
        ("digits_fnn", "unseen"): "limited",
        ("digits_fnn", "seen"): "guard_failed",
    }


@pytest.mark.parametrize("form", [form for form in FORMATS if form != "croissant"])
def test_what_is_in_doubt_is_said_and_written(exported, form):
    needs(form)
    place, said = exported(form, *OPTIONS.get(form, ()))
    assert "digits_fnn · seen: marked as guard_failed" in said
    assert "digits_fnn · unseen: marked as limited" in said
    files = [place] if place.is_file() else [path for path in place.rglob("*") if path.is_file()]
    written = b"\n".join(path.read_bytes() + str(path).encode() for path in files)
    assert b"not_trained_on" in written
    if form != "latex":
        assert b"guard_failed" in written


@pytest.mark.parametrize("form", ["hf", "eee", "croissant", "latex"])
def test_an_export_of_the_same_run_has_the_same_bytes(finished, tmp_path, assay, form):
    needs(form)
    first, second = tmp_path / "first", tmp_path / "second"
    for place in (first, second):
        assay("export", finished, "--to", form, "--out", place, *OPTIONS.get(form, ()))

    def contents(place):
        files = [place] if place.is_file() else sorted(path for path in place.rglob("*") if path.is_file())
        return [(path.relative_to(place), path.read_bytes()) for path in files]

    assert contents(first) == contents(second)
    assert contents(first)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--to", "mlflo"], "did you mean mlflow?"),
        (["--to", "eee"], "say it with --developer NAME"),
        (["--to", "hf", "--developer", "acme"], "--developer: --to hf does not take it"),
        (["--to", "hf", "--hub", "digits"], "is not DATA=ORG/NAME"),
        (["--to", "hf", "--hub", "mnist-test=a/b"], "no result is of data set 'mnist-test'"),
        (["--to", "latex", "--model", "resnet18"], "holds no such result; it holds: --model digits_fnn"),
    ],
)
def test_what_cannot_be_exported_is_one_sentence_and_leaves_nothing(
    finished, tmp_path, assay, arguments, complaint
):
    code, _, err = assay("export", finished, "--out", tmp_path / "o", *arguments)
    assert (code, complaint in err) == (2, True), err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_no_run_is_refused(tmp_path, assay):
    (tmp_path / "empty").mkdir()
    code, _, err = assay("export", tmp_path / "empty", "--to", "latex", "--out", tmp_path / "o")
    assert (code, "is not a run of Assay" in err) == (2, True)


def test_nothing_is_written_over(finished, tmp_path, assay):
    (tmp_path / "o").write_text("mine")
    code, _, err = assay("export", finished, "--to", "latex", "--out", tmp_path / "o")
    assert (code, "is there already" in err) == (2, True)
    assert (tmp_path / "o").read_text() == "mine"


@pytest.mark.parametrize("form", ["croissant", "mlflow", "tensorboard"])
def test_a_library_that_is_missing_is_named_with_the_command_that_gets_it(
    finished, tmp_path, assay, monkeypatch, form
):
    monkeypatch.setitem(sys.modules, form if form != "croissant" else "mlcroissant", None)
    code, _, err = assay("export", finished, "--to", form, "--out", tmp_path / "o")
    assert (code, "pip install 'assay[export]'" in err) == (2, True)


def test_results_without_a_figure_are_refused(tmp_path, assay):
    """A network for other pictures: not applicable is no result to hand on."""
    out = tmp_path / "run"
    assay("run", "--model", "digits_fnn", "--task", "adversarial/imagenet20", "--out", out, "--quiet")
    code, _, err = assay("export", out, "--to", "latex", "--out", tmp_path / "o")
    assert (code, "there is no figure to export" in err) == (2, True)
