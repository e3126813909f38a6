"""Hugging Face: a model card with its `model-index`, and `.eval_results` where the data set lies on the Hub."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from assay.exports.figures import ExportedFigure, ExportedResult, figures_of
from assay.exports.places import portable
from assay.results.document import ResultDocument
from assay.results.tables import figures_table

TASK_TYPE = "image-classification"


def write(results: Sequence[ExportedResult], out: Path, on_hub: Mapping[str, str]) -> list[str]:
    """Write a folder for each model, as it lies in a model's repository: ``README.md`` and ``.eval_results``.

    The card holds every headline figure. ``.eval_results`` feeds leaderboards by the value alone and has no place for a
    doubt, so it holds only headlines that rank, of results that are whole and whose guards all passed.

    Args:
        results: of any models.
        out: the folder.
        on_hub: data set of Assay to the id of the data set on the Hub that holds its leaderboard.

    Returns:
        What was left out of ``.eval_results``, a line each.
    """
    left_out: list[str] = []
    for model in dict.fromkeys(each.document.model.name for each in results):
        own = [each for each in results if each.document.model.name == model]
        folder = out / portable(model)
        folder.mkdir(parents=True)
        (folder / "README.md").write_text(_card(model, own), encoding="utf-8")
        for result in own:
            repository = on_hub.get(result.document.data.name)
            if repository is None:
                continue
            if (why := _not_ranked(result)) is not None:
                left_out.append(f"{model} · {result.document.task}: not in .eval_results ({why})")
                continue
            place = folder / ".eval_results" / f"{portable(result.document.task)}.yaml"
            place.parent.mkdir(exist_ok=True)
            place.write_text(_entry(result, repository), encoding="utf-8")
    return left_out


def _card(model: str, results: Sequence[ExportedResult]) -> str:
    from huggingface_hub import ModelCard, ModelCardData

    figures = [figure for each in results for figure in figures_of(each, headlines_only=True)]
    data = ModelCardData(
        model_name=model,
        pipeline_tag=TASK_TYPE,
        tags=["assay"],
        eval_results=[_eval_result(figure) for figure in figures] or None,
    )
    table = figures_table([each.document for each in results], "github")
    hashes = sorted({each.document.model.weights_sha256 for each in results})
    body = [
        f"# {model}", f"Measured with Assay {_versions(results)}.", *_warnings(results), table,
        f"Weights (SHA-256): {', '.join(hashes)}", *(_data_line(each.document) for each in results),
    ]  # fmt: skip
    return str(ModelCard(f"---\n{data.to_yaml()}\n---\n\n" + "\n\n".join(body) + "\n"))


def _eval_result(figure: ExportedFigure) -> Any:
    from huggingface_hub import EvalResult

    document = figure.of.document
    return EvalResult(
        task_type=TASK_TYPE,
        task_name=document.title,
        dataset_type=document.data.name,
        dataset_name=document.data.title,
        dataset_config=document.task,  # figures are grouped by data set and this: two tasks stay apart
        dataset_args={"sha256": document.data.sha256},
        metric_type=figure.key,
        metric_name=figure.heading,
        metric_value=figure.value,
        metric_args=figure.facts,
    )


def _warnings(results: Sequence[ExportedResult]) -> list[str]:
    return [f"> **{each.document.task}:** {each.explanation}" for each in results if each.doubt]


def _versions(results: Sequence[ExportedResult]) -> str:
    return ", ".join(dict.fromkeys(each.version for each in results))


def _data_line(document: ResultDocument) -> str:
    return f"- {document.task}: {document.data.title} ({document.data.name}, SHA-256 {document.data.sha256})"


def _not_ranked(result: ExportedResult) -> str | None:
    """Why a result has no place on a leaderboard; None where it has one."""
    if result.doubt:
        return result.status
    metric = result.document.headline_metric
    return None if metric is not None and metric.value is not None else "it has no headline figure"


def _entry(result: ExportedResult, repository: str) -> str:
    import yaml
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    document = result.document
    metric = document.headline_metric
    assert metric is not None  # _not_ranked looked
    facts = ExportedFigure(result, metric).facts
    entry = EvalResultEntry(
        dataset_id=repository,
        task_id=portable(document.task),
        value=metric.value,
        date=None if result.finished is None else result.finished.isoformat(),
        notes="; ".join(f"{name}: {value}" for name, value in facts.items() if value != ""),
    )
    return yaml.safe_dump(eval_result_entries_to_yaml([entry]), sort_keys=False, allow_unicode=True)
