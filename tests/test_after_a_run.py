"""What is done with finished runs: ranked, shown for a paper, taken out; and files to begin the next one with."""

import json
from pathlib import Path

import pytest
import yaml
from PIL import Image

from assay.results.document import read_result, read_results
from assay.tasks.families import families
from small_jobs import request, run, write_spec

MODELS = {"digits_models:linear": "digits_models_linear", "digits_models:blurred": "digits_models_blurred"}
SPEC = """schema: 1
family: adversarial
title: Digits under attack
data: digits-test
eps: [0, 3/255, 1/10]
attacks: [{method: fgsm}]
chunk_units: 60
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of two models on one task; tests that change it take a copy."""
    folder = tmp_path_factory.mktemp("finished")
    task = write_spec(folder, "t", SPEC)
    run([request(task, model=model) for model in MODELS], folder / "o")
    return folder / "o"


def test_a_rank_is_the_order_of_the_figure(finished, assay):
    by = "fgsm:robust_accuracy@1/10"
    results = {result.model.name: result for result in map(read_result, finished.rglob("results/*/*.json"))}
    rows = json.loads(assay("rank", finished, "--by", by, "--json")[1])
    values = {
        name: next(each.value for each in result.metrics if each.name == by)
        for name, result in results.items()
    }
    assert [row["model"] for row in rows] == sorted(values, key=lambda name: -values[name])
    assert [row["value"] for row in rows] == sorted(values.values(), reverse=True)
    overlap = rows[0]["ci_low"] <= rows[1]["ci_high"]
    assert (rows[0]["worst_place"] == 2) == overlap
    table = assay("rank", finished, "--by", by)[1]
    assert table.startswith("t by Robust accuracy at 1/10, FGSM (fgsm:robust_accuracy@1/10)")


def test_a_figure_is_found_however_its_radius_is_written(finished, assay):
    one, other = (
        assay("rank", finished, "--by", f"fgsm:robust_accuracy@{eps}")[1] for eps in ("3/255", "1/85")
    )
    assert one == other
    assert "Robust accuracy at 3/255" in one
    code, _, err = assay("rank", finished, "--by", "fgsm:robust_acuracy@1/10")
    assert (code, "did you mean fgsm:robust_accuracy@1/10" in err) == (2, True)


def test_results_of_other_units_are_not_ranked_together(finished, tmp_path, assay):
    spec = write_spec(tmp_path, "t", SPEC)
    assay("run", "--model", "digits_fnn", "--task", spec, "--limit", 30, "--out", tmp_path / "p", "--quiet")
    rows = json.loads(assay("rank", finished, tmp_path / "p", "--json")[1])
    assert [(row["n"], row["best_place"]) for row in rows if row["model"] == "digits_fnn"] == [(30, 1)]
    assert len(assay("rank", finished, tmp_path / "p")[1].split("\n\n")) == 2


def test_a_result_is_shown_in_each_form(finished, assay):
    path = finished / "results/digits_models_linear/t.json"
    assert json.loads(assay("show", path, "--json")[1]) == json.loads(path.read_text())
    assert len(json.loads(assay("show", finished, "--json")[1])) == 2
    markdown = assay("show", finished, "--markdown")[1]
    assert markdown.startswith("| model ")
    assert "| Robust accuracy at 3/255, FGSM " in markdown
    latex = assay("show", finished, "--latex")[1]
    assert latex.startswith("\\begin{tabular}")
    assert ("\\toprule" in latex, "\\%" in latex, "digits\\_models:linear" in latex) == (True, True, True)
    assert assay("show", finished)[1].count("repeat: ") == 2
    assert assay("show", path, "--json", "--latex")[0] == 2


def test_what_is_removed_is_gone_and_the_rest_stays_whole(finished, tmp_path, assay):
    import shutil

    out = Path(shutil.copytree(finished, tmp_path / "o"))
    kept = (out / "results/digits_models_linear/t.json").read_bytes()
    code, card, err = assay("rm", out, "--model", "digits_models:blurred")
    assert code == 0
    assert err == "removed: digits_models:blurred · t\n"
    assert "blurred" not in card + (out / "results.csv").read_text() + (out / "index.html").read_text()
    assert [path.name for path in (out / "results").iterdir()] == ["digits_models_linear"]
    assert len(list((out / "jobs").iterdir())) == 1
    assert (out / "results/digits_models_linear/t.json").read_bytes() == kept
    code, _, err = assay("rm", out, "--model", "resnet18")
    assert (code, "has no such result; it has digits_models:linear · t" in err) == (2, True)
    assert assay("rm", out)[0] == 2
    assert assay("rm", out, "--task", "t")[0] == 0
    assert not list((out / "jobs").iterdir())


def test_a_second_name_of_a_job_outlives_the_first(finished, tmp_path, assay):
    twin = write_spec(tmp_path, "twin", SPEC.replace("title: D", "title: The same d"))
    spec = write_spec(tmp_path, "t", SPEC)
    asked = ("--model", "digits_models:linear", "--limit", 60, "--quiet", "--out", tmp_path / "o")
    assay("run", *asked, "--task", spec, "--task", twin)
    assert assay("rm", tmp_path / "o", "--task", "t")[0] == 0
    assert "The same digits" in assay("show", tmp_path / "o")[1]
    assert assay("records", tmp_path / "o", "--model", "digits_models:linear", "--task", "twin")[0] == 0


def test_lists_are_json_on_request(assay):
    for what in ("tasks", "tracks", "models"):
        rows = json.loads(assay("list", what, "--json")[1])
        assert all(row["name"] for row in rows)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("family", families())
def test_a_task_to_begin_with_is_valid_and_asks_what_it_came_from(here, assay, family):
    code, out, _ = assay("init", "task", family)
    assert (code, out.startswith("task.yaml: edit it, then assay validate task.yaml")) == (0, True)
    assert assay("validate", "task.yaml")[0] == 0
    text = Path("task.yaml").read_text()
    from assay.tasks.families import read_spec
    from assay.tasks.task_spec import shipped_specs

    origin = text.splitlines()[0].removeprefix("# A task of your own, from ").rstrip(".")
    assert read_spec(Path("task.yaml")) == read_spec(shipped_specs()[origin])


def test_what_is_left_out_is_there_as_its_default(here, assay):
    """Taking the sign of a comment away from every key changes nothing."""
    from assay.tasks.families import read_spec

    assay("init", "task", "adversarial/digits")
    before = read_spec(Path("task.yaml"))
    lines = Path("task.yaml").read_text().splitlines()
    said = [line[1:] if line.startswith("#") and not line.startswith("# ") else line for line in lines]
    Path("full.yaml").write_text("\n".join(said))
    assert len(yaml.safe_load("\n".join(said))) > len(yaml.safe_load("\n".join(lines)))
    assert read_spec(Path("full.yaml")) == before


def test_a_folder_s_manifest_finds_its_pictures(here, assay):
    for name in ("cat", "dog"):
        (here / "My pets" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8), (name == "cat" and "red") or "blue").save(here / "My pets" / name / "1.png")
    assert assay("init", "data", "My pets")[0] == 0
    assert assay("validate", "My pets.yaml")[1] == "My pets.yaml: valid data manifest\n"
    from assay.data.dataset import open_dataset
    from assay.data.manifest import load_manifest

    data = open_dataset(load_manifest("My pets.yaml"))
    assert [sample.label for sample in data.samples] == [0, 1]


def test_a_folder_s_manifest_without_labels_is_run_with_the_network_s_own_answers(here, assay):
    (here / "found").mkdir()
    for name, colour in (("a", "red"), ("b", "blue")):
        Image.new("RGB", (8, 8), colour).save(here / "found" / f"{name}.png")
    assert assay("init", "data", "found")[0] == 0
    assert assay("validate", "found.yaml")[1] == "found.yaml: valid data manifest\n"
    from assay.data.manifest import load_manifest

    manifest = load_manifest("found.yaml")
    assert manifest.layout.discover(Path("found")) == ("a.png", "b.png")
    assert not manifest.labelled
    assert "--set labels=predicted" in Path("found.yaml").read_text()


def test_a_recipe_and_a_submission_to_begin_with(here, assay):
    assert assay("init", "recipe")[0] == 0
    assert assay("validate", "recipe.yaml")[0] == 0
    assert assay("init", "submission", "--out", "about.yaml")[0] == 0
    from assay.board.submissions.build import read_submitter_metadata

    assert read_submitter_metadata(Path("about.yaml"), "m", None).licence == "Apache-2.0"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["task"], "needs a family or a task"),
        (["data"], "needs a folder"),
        (["recipe", "x"], "takes nothing else"),
        (["data", "nowhere"], "has no folders and no pictures"),
        (["task", "adversarial/digts"], "did you mean adversarial/digits"),
    ],
)
def test_what_cannot_be_begun_is_one_sentence(here, assay, arguments, complaint):
    code, _, err = assay("init", *arguments)
    assert (code, complaint in err) == (2, True)
    assert not list(here.iterdir())


def test_nothing_is_written_over(here, assay):
    Path("recipe.yaml").write_text("mine")
    code, _, err = assay("init", "recipe")
    assert (code, "is there already" in err, Path("recipe.yaml").read_text()) == (2, True, "mine")


def test_a_report_is_printed_for_other_programs(finished, assay):
    code, as_json, _ = assay("report", finished, "--format", "json")
    assert code == 0
    assert [each["task"] for each in json.loads(as_json)] == [each.task for each in read_results(finished)]
    assert assay("report", finished, "--format", "csv")[1] == (finished / "results.csv").read_text()
    for form in ("markdown", "latex"):
        assert assay("report", finished, "--format", form)[1] == assay("show", finished, f"--{form}")[1]
    assert assay("report", finished, "--format", "table")[1] == assay("report", finished, "--table")[1]
