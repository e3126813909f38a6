"""The figure that ranks, of a result that was made before its task had one: from the records, where those allow it."""

from pathlib import Path
from typing import Any

from assay.board.site.entries import Entry, Result
from assay.board.submissions.check import parsed_records
from assay.board.submissions.folder import open_folder
from assay.tasks.base import clean_records
from assay.tasks.families import family, load_spec


def with_headline(entry: Entry, result: Result, headline: str) -> Result:
    """The result with the metric called ``headline``.

    Unchanged where it has one, where the task does not apply, and where the records do not hold what the figure
    follows from.
    """
    if result["status"] == "not_applicable" or any(one["name"] == headline for one in result["metrics"]):
        return result
    metric = _from_records(entry.folder, result["task"], headline)
    return result if metric is None else {**result, "metrics": [metric, *result["metrics"]]}


def _from_records(folder: Path, task: str, headline: str) -> dict[str, Any] | None:
    files, _ = open_folder(folder)
    if files is None:
        return None
    loaded = load_spec(task)
    try:
        records = clean_records(parsed_records(files, task))
        metrics = family(loaded.spec.family).summarise(loaded.spec, records).metrics
    except Exception:  # older records lack what later figures follow from, each in its own way
        return None
    found = (one for one in metrics if one.name == headline and one.value is not None)
    return next((one.model_dump(mode="json") for one in found), None)
