"""Every Eval Ever: one record for each model and task, checked against the published schema before it is kept.

The schema is that of the package every-eval-ever 0.3.0 (its licence lies beside it). The package needs Python
3.12 and older releases of libraries that are used here, so it is not installed; its schema is what it validates by.
"""

import hashlib
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from assay.exports.figures import ExportedFigure, ExportedResult, figures_of
from assay.exports.places import portable

SCHEMA = Path(__file__).with_name("every_eval_ever.schema.json")
VERSION = "0.3.0"
COLLECTION = "assay"


@dataclass(frozen=True)
class Parties:
    """Who is behind a record.

    Attributes:
        developer: who made the models; records are filed by it.
        evaluator: who ran Assay; None where nobody says so.
    """

    developer: str
    evaluator: str | None = None

    @property
    def relationship(self) -> str:
        """How the two are related, in the schema's words."""
        if self.evaluator is None:
            return "other"
        return "first_party" if self.evaluator == self.developer else "third_party"


def write(results: Sequence[ExportedResult], out: Path, parties: Parties) -> list[str]:
    """Write ``data/assay/DEVELOPER/MODEL/UUID.json`` for each model and task, as the datastore files them.

    Figures that have no better direction are left out: a record must say whether lower is better.

    Returns:
        What was left out, a line each.
    """
    from jsonschema import Draft7Validator

    validator = Draft7Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))
    left_out: list[str] = []
    for result in results:
        names = (result.document.model.name, result.document.task)
        figures = list(figures_of(result))
        told = [figure for figure in figures if figure.metric.direction != "none"]
        if len(told) < len(figures):
            why = "neither up nor down is better, which the schema cannot say"
            left_out.append(f"{' · '.join(names)}: {len(figures) - len(told)} figures left out ({why})")
        if not told:
            continue
        document = _record(result, told, parties)
        validator.validate(document)
        folder = out / "data" / COLLECTION / portable(parties.developer) / portable(names[0])
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        (folder / f"{_uuid(result)}.json").write_text(text, encoding="utf-8")
    out.mkdir(exist_ok=True)  # every figure may have been left out
    return left_out


def _record(result: ExportedResult, figures: Sequence[ExportedFigure], parties: Parties) -> dict[str, Any]:
    document = result.document
    model_id = f"{portable(parties.developer)}/{portable(document.model.name)}"
    finished = result.finished or datetime.now(UTC)
    retrieved = str(int(finished.timestamp()))
    return {
        "schema_version": VERSION,
        "evaluation_id": f"{document.task}/{model_id}/{retrieved}",
        "evaluation_timestamp": finished.isoformat(),
        "retrieved_timestamp": retrieved,
        "source_metadata": {
            "source_name": "Assay",
            "source_type": "evaluation_run",
            "source_organization_name": parties.evaluator or "unknown",
            "evaluator_relationship": parties.relationship,
            "additional_details": _texts({"status": result.status, "guards_failed": result.guards_failed}),
        },
        "eval_library": {"name": "assay", "version": result.version},
        "model_info": {
            "name": document.model.name,
            "id": model_id,
            "developer": parties.developer,
            "additional_details": {
                "deployment_type": "self_deployed",
                "model_availability": "unknown",
                "architecture": document.model.architecture,
                "source": document.model.source,
                "weights_sha256": document.model.weights_sha256,
            },
        },
        "evaluation_results": [_score(figure) for figure in figures],
    }


def _score(figure: ExportedFigure) -> dict[str, Any]:
    document, metric = figure.of.document, figure.metric
    name = f"{document.title} [{figure.of.status}]" if figure.of.doubt else document.title
    config: dict[str, Any] = {
        "evaluation_description": figure.heading,
        "metric_id": f"{COLLECTION}.{figure.key}",
        "metric_name": figure.heading,
        "metric_unit": metric.unit,
        "lower_is_better": metric.direction == "down",
        "additional_details": _texts({"headline": figure.ranks, "direction": metric.direction}),
    }
    if metric.unit == "proportion":
        config |= {"score_type": "continuous", "min_score": 0, "max_score": 1}
    return {
        "evaluation_result_id": f"{document.job_key}/{figure.key}",
        "evaluation_name": name,
        "source_data": {
            "dataset_name": document.data.name,
            "source_type": "other",
            "additional_details": _texts(
                {
                    "title": document.data.title,
                    "sha256": document.data.sha256,
                    "licence": document.data.licence,
                }
            ),
        },
        "metric_config": config,
        "score_details": {
            "score": metric.value,
            "details": _texts(figure.facts),
            "uncertainty": _uncertainty(figure),
        },
    }


def _uncertainty(figure: ExportedFigure) -> dict[str, Any]:
    metric = figure.metric
    uncertainty: dict[str, Any] = {"num_samples": metric.n}
    if metric.ci_low is not None and metric.ci_high is not None:
        interval = {"lower": metric.ci_low, "upper": metric.ci_high, "confidence_level": 0.95}
        uncertainty["confidence_interval"] = interval
    return uncertainty


def _texts(facts: dict[str, Any]) -> dict[str, str]:
    """The schema's details are texts."""
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in facts.items()}


def _uuid(result: ExportedResult) -> uuid.UUID:
    """A version 4 UUID that is the same for the same answer."""
    names = f"{result.document.model.name}\n{result.document.task}\n{result.document.job_key}"
    return uuid.UUID(bytes=hashlib.sha256(names.encode()).digest()[:16], version=4)
