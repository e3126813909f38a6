"""MLflow: a folder that `mlflow ui` opens, with one run for each model and task."""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from assay.exports.figures import ExportedFigure, ExportedResult, facts_of, figures_of

EXPERIMENT = "assay"
# MLflow accepts a folder as its store only when asked to; telemetry is switched off.
_SETTINGS = {"MLFLOW_ALLOW_FILE_STORE": "true", "MLFLOW_DISABLE_TELEMETRY": "true"}
_STATUSES = {"guard_failed": "FAILED", "partial": "KILLED"}
_LONGEST_TAG = 8000
"""Characters that MLflow keeps of a tag."""


def write(results: Sequence[ExportedResult], out: Path, final: Path) -> None:
    """Write a file store.

    Args:
        results: each becomes a run: facts are parameters, figures metrics, and all of a figure is a tag.
        out: the folder to write.
        final: where it will lie, which MLflow notes inside.
    """
    with _settings():
        from mlflow import MlflowClient

        out.mkdir()  # MLflow gives a store that it makes itself an experiment `Default`
        client = MlflowClient(tracking_uri=out.resolve().as_uri())
        experiment = client.create_experiment(
            EXPERIMENT, artifact_location=(final.resolve() / "artifacts").as_uri()
        )
        for result in results:
            _add_run(client, experiment, result)


def _add_run(client: "object", experiment: str, result: ExportedResult) -> None:
    from mlflow.entities import Metric, Param, RunTag

    time = int((result.finished or datetime.now(UTC)).timestamp() * 1000)
    document = result.document
    name = f"{document.model.name} · {document.task}"
    doubtful = f"{name} [{result.status}]" if result.doubt else name
    run = client.create_run(experiment, start_time=time, run_name=doubtful)  # type: ignore[attr-defined]
    figures = list(figures_of(result))
    values = {name: value for figure in figures for name, value in _values(figure).items()}
    tags = {
        f"figure.{mlflow_key(figure)}": json.dumps(figure.facts, ensure_ascii=False) for figure in figures
    }
    if result.doubt:
        tags |= {"doubt": result.doubt, "mlflow.note.content": result.explanation}
    client.log_batch(  # type: ignore[attr-defined]
        run.info.run_id,
        metrics=[Metric(key, value, time, 0) for key, value in values.items()],
        params=[Param(key, str(value)) for key, value in facts_of(result).items() if value != ""],
        tags=[RunTag(key, value[:_LONGEST_TAG]) for key, value in tags.items()],
    )
    client.set_terminated(  # type: ignore[attr-defined]
        run.info.run_id, status=_STATUSES.get(result.doubt, "FINISHED"), end_time=time
    )


def mlflow_key(figure: ExportedFigure) -> str:
    """A figure's key as MLflow can keep it: a file on every system, so ``@`` is ``_at_`` and ``/`` is ``_over_``.

    The slash behind a doubt stays: MLflow shows what stands before it as a group.
    """
    own = figure.metric.name.replace("@", "_at_").replace("/", "_over_")
    return "/".join(filter(None, (figure.of.doubt, re.sub(r"[^A-Za-z0-9_. -]", ".", own))))


def _values(figure: ExportedFigure) -> Mapping[str, float]:
    key, metric = mlflow_key(figure), figure.metric
    values = {key: metric.value, f"{key}.ci_low": metric.ci_low, f"{key}.ci_high": metric.ci_high}
    return {name: value for name, value in values.items() if value is not None} | {f"{key}.n": metric.n}


@contextmanager
def _settings() -> Iterator[None]:
    before = {name: os.environ.get(name) for name in _SETTINGS}
    os.environ.update(_SETTINGS)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
