"""What a page shows beside a result's document: each unit's outcome, and pictures; both follow from the records."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from assay.board.site.entries import Entry, Result
from assay.board.submissions.check import parsed_records
from assay.board.submissions.folder import SubmissionFiles, open_folder
from assay.board.submissions.outcomes import headline_outcomes
from assay.board.submissions.pictures import picture_files
from assay.board.submissions.reader import UnreadableError
from assay.results.document import ResultDocument
from assay.tasks.families import family


@dataclass(frozen=True)
class Derived:
    """What follows from one result's records.

    Attributes:
        outcomes: each unit's score, by headline metric (:class:`assay.board.submissions.documents.OutcomesDocument`).
        pictures: what ``index.json`` says of each picture, with the picture.
        lost: why neither can be had, in words; empty where they can.
    """

    outcomes: Mapping[str, Any] = field(default_factory=dict)
    pictures: Sequence[tuple[Mapping[str, Any], bytes]] = ()
    lost: str = ""


def derived(entry: Entry, results: Sequence[Result]) -> dict[str, Derived]:
    """Outcomes and pictures of results, by task: computed from records, or as an older submission brings them.

    Those that it brings were compared with its records when it was checked.

    Raises:
        UnreadableError: a file is not the one that the manifest lists.
    """
    files: SubmissionFiles | None = None
    found = {}
    for result in results:
        task = result["task"]
        if result["status"] == "not_applicable":
            found[task] = Derived()
        elif (outcomes := entry.read(f"outcomes/{task}.json")) is not None:
            index = entry.read(f"figures/{task}/index.json")
            pictures = _pictures(task, index, lambda name: entry.read(name) or b"")
            found[task] = Derived(json.loads(outcomes)["metrics"], pictures)
        else:
            files = files or _opened(entry)  # every file is hashed for it
            found[task] = _computed(files, result)
    return found


def _opened(entry: Entry) -> SubmissionFiles:
    files, problems = open_folder(entry.folder)
    if files is None:
        raise UnreadableError(problems[0])
    return files


def _pictures(
    task: str, index: bytes | None, read: Callable[[str], bytes]
) -> list[tuple[Mapping[str, Any], bytes]]:
    known = json.loads(index)["pictures"] if index else ()
    return [(picture, read(f"figures/{task}/{picture['file']}")) for picture in known]


def _computed(files: SubmissionFiles, result: Result) -> Derived:
    task = result["task"]
    records = parsed_records(files, task)
    implementation = family(result["family"])
    try:
        spec = implementation.spec_type.model_validate_json(json.dumps(result["spec"]))
        document = ResultDocument.model_validate_json(json.dumps(result))
        outcomes = headline_outcomes(implementation, spec, records, document)
        drawn = dict(picture_files(task, implementation.figures(spec, records)))
    except Exception as error:  # records of an older program lack what is drawn today, each in its own way
        what = f"{type(error).__name__}: {error}"
        return Derived(lost=f"its records, made by another version, cannot be drawn by this one ({what})")
    pictures = _pictures(task, drawn.get(f"figures/{task}/index.json"), drawn.__getitem__)
    return Derived(outcomes.model_dump(mode="json")["metrics"], pictures)
