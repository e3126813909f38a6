"""Each format read back by its own library: values, intervals and hashes are those of the results."""

import json
from pathlib import Path

import pytest

from assay.exports import every_eval_ever
from assay.exports.figures import ExportedFigure, ExportedResult, figures_of
from assay.exports.places import portable
from assay.results.document import Metric
from result_documents import document

SOUND = ("digits_models:linear", "unseen")
WHY = "the extra `export` is not installed"


def values(result, headlines_only=False):
    return {figure.key: figure.value for figure in figures_of(result, headlines_only)}


def test_a_model_card_gives_its_evaluation_results_back(exported, results):
    from huggingface_hub import ModelCard

    place, _ = exported("hf")
    for model in ("digits_models:linear", "digits_fnn"):
        card = ModelCard.load(place / portable(model) / "README.md")
        assert card.data.model_name == model
        own = [each for (name, _), each in results.items() if name == model]
        found = {(each.dataset_config, each.metric_type): each for each in card.data.eval_results}
        wanted = {
            (each.document.task, key): value for each in own for key, value in values(each, True).items()
        }
        assert {key: each.metric_value for key, each in found.items()} == wanted
        for each in found.values():
            document = results[model, each.dataset_config].document
            assert each.dataset_args == {"sha256": document.data.sha256}
            assert each.metric_args["weights_sha256"] == document.model.weights_sha256
            assert each.metric_args["n"] == document.metrics[0].n
    assert "> **seen:** complete, guard failed (not_trained_on)" in card.content
    marked = [each.metric_name for each in found.values() if each.dataset_config == "seen"]
    assert all("guard failed (not_trained_on)" in name for name in marked)


def test_only_sound_headlines_reach_a_leaderboard_of_the_hub(exported, results):
    import yaml
    from huggingface_hub import parse_eval_result_entries

    place, said = exported("hf", "--hub", "digits-test=org/digits", "--hub", "digits=org/all-digits")
    (file,) = place.rglob(".eval_results/*.yaml")
    assert file.relative_to(place).parts[0] == portable(SOUND[0])
    (entry,) = parse_eval_result_entries(yaml.safe_load(file.read_text()))
    result = results[SOUND].document
    assert (entry.dataset_id, entry.value) == ("org/digits", result.headline_metric.value)
    assert result.data.sha256 in entry.notes
    assert result.model.weights_sha256 in entry.notes
    assert "digits_fnn · seen: not in .eval_results (complete, guard failed (not_trained_on))" in said
    assert "digits_fnn · unseen: not in .eval_results (complete, limited)" in said


def test_records_of_every_eval_ever_keep_to_its_schema(exported, results):
    jsonschema = pytest.importorskip("jsonschema", reason=WHY)
    place, _ = exported("eee", "--developer", "acme", "--evaluator", "acme")
    validator = jsonschema.Draft7Validator(json.loads(every_eval_ever.SCHEMA.read_text()))
    files = sorted(place.rglob("*.json"))
    assert len(files) == 3
    for file in files:
        record = json.loads(file.read_text())
        validator.validate(record)
        assert file.relative_to(place).parts[:-1] == ("data", "assay", *record["model_info"]["id"].split("/"))
        task = record["evaluation_id"].split("/")[0]
        result = results[record["model_info"]["name"], task]
        assert record["model_info"]["additional_details"]["weights_sha256"] == (
            result.document.model.weights_sha256
        )
        assert record["source_metadata"]["evaluator_relationship"] == "first_party"
        found = {each["metric_config"]["metric_id"]: each for each in record["evaluation_results"]}
        figures = [figure for figure in figures_of(result) if figure.metric.direction != "none"]
        assert set(found) == {f"assay.{figure.key}" for figure in figures}
        for figure in figures:
            each = found[f"assay.{figure.key}"]
            assert each["score_details"]["score"] == figure.value
            assert each["score_details"]["uncertainty"]["num_samples"] == figure.metric.n
            assert each["metric_config"]["lower_is_better"] == (figure.metric.direction == "down")
            assert each["source_data"]["additional_details"]["sha256"] == result.document.data.sha256
            assert ("guard failed" in each["evaluation_name"]) == (result.doubt == "guard_failed")


def test_a_figure_of_no_direction_is_no_record_of_every_eval_ever(tmp_path):
    pytest.importorskip("jsonschema", reason=WHY)
    metrics = (
        Metric(name="queries", value=7.0, n=3, unit="queries"),
        Metric(name="accuracy", value=0.5, n=3, unit="proportion", direction="up"),
    )
    result = ExportedResult(document(metrics=metrics))
    (said,) = every_eval_ever.write([result], tmp_path / "o", every_eval_ever.Parties("acme"))
    assert "1 figures left out" in said
    (file,) = (tmp_path / "o").rglob("*.json")
    scores = json.loads(file.read_text())["evaluation_results"]
    assert [each["metric_config"]["metric_id"] for each in scores] == ["assay.accuracy"]


def test_an_mlflow_store_has_a_run_for_each_result(exported, results, monkeypatch):
    pytest.importorskip("mlflow", reason=WHY)
    from assay.exports.mlflow_store import mlflow_key

    place, _ = exported("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=place.as_uri())
    (experiment,) = client.search_experiments()
    assert (experiment.name, experiment.artifact_location) == ("assay", f"{place.as_uri()}/artifacts")
    runs = client.search_runs([experiment.experiment_id])
    assert len(runs) == 3
    for run in runs:
        params = run.data.params
        result = results[params["model"], params["task"]]
        for figure in figures_of(result):
            key = mlflow_key(figure)
            assert run.data.metrics[key] == figure.value
            assert run.data.metrics[f"{key}.n"] == figure.metric.n
            assert run.data.metrics.get(f"{key}.ci_low") == figure.metric.ci_low
            assert json.loads(run.data.tags[f"figure.{key}"]) == figure.facts
        assert params["data_sha256"] == result.document.data.sha256
        assert run.info.status == ("FAILED" if result.doubt == "guard_failed" else "FINISHED")
        assert ("guard failed" in run.info.run_name) == (result.doubt == "guard_failed")
        assert ("mlflow.note.content" in run.data.tags) == bool(result.doubt)
    assert not [path for path in place.rglob("*") if place.parent.name not in str(path)]


def test_keys_of_mlflow_are_as_many_as_figures(results):
    """Eps 1 and eps 1/2 are two files, not a file and a folder of one name."""
    pytest.importorskip("mlflow", reason=WHY)
    from assay.exports.mlflow_store import mlflow_key

    names = [each.name for result in results.values() for each in result.document.metrics]
    names = {*names, "pgd:robust_accuracy@1", "pgd:robust_accuracy@1/2"}
    plain = ExportedResult(document())
    keys = {mlflow_key(ExportedFigure(plain, Metric(name=n, value=1.0, n=1, unit="x"))) for n in names}
    assert len(keys) == len(names)
    assert not [key for key in keys if "/" in key]


def test_tensorboard_reads_the_figures_and_their_intervals(exported, results):
    pytest.importorskip("tensorboard", reason=WHY)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    place, _ = exported("tensorboard")
    for (model, task), result in results.items():
        name = ".".join(filter(None, (task, result.doubt)))
        events = EventAccumulator(str(place / portable(model) / name)).Reload()

        def value(tag, events=events):
            return float(make_ndarray(events.Tensors(tag)[0].tensor_proto))

        for figure in figures_of(result):
            assert value(f"{figure.key}/value") == figure.value
            if figure.metric.ci_low is not None:
                assert value(f"{figure.key}/ci_low") == figure.metric.ci_low
                assert value(f"{figure.key}/ci_high") == figure.metric.ci_high
            (text,) = make_ndarray(events.Tensors(f"{figure.key}/text_summary")[0].tensor_proto)
            for fact in (result.document.data.sha256, result.document.model.weights_sha256, result.status):
                assert fact in text.decode()
        prefix = f"{result.doubt}/" if result.doubt else ""
        points = [each for each in figures_of(result) if each.metric.series is not None]
        assert points
        for series in {each.metric.series for each in points}:
            curve = [
                float(make_ndarray(each.tensor_proto)) for each in events.Tensors(f"{prefix}{series}/curve")
            ]
            assert curve == [each.value for each in points if each.metric.series == series]


def test_latex_is_the_table_of_show_with_what_a_table_has_no_room_for(exported, finished, assay, results):
    place, _ = exported("latex")
    text = Path(place).read_text()
    comments = [line for line in text.splitlines() if line.startswith("%")]
    table = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    shown = assay("show", finished, "--latex")[1].strip()
    assert sorted(table.strip().splitlines()) == sorted(shown.splitlines())  # rows may come in another order
    for result in results.values():
        assert f"% weights_sha256: {result.document.model.weights_sha256}" in comments
        assert f"% data_sha256: {result.document.data.sha256}" in comments
    assert any("% guards_failed: not_trained_on: " in line for line in comments)
