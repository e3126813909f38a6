"""What a page shows beside a result's document: each unit's outcome, and pictures; both follow from the records."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from assay.board.site.entries import Entry, Result
from assay.board.submissions.check import read_records
from assay.board.submissions.documents import PictureIndex
from assay.board.submissions.folder import open_folder
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


def derived(entry: Entry, result: Result) -> Derived:
    """Outcomes and pictures of a result: computed from its records, or as an older submission brings them.

    Those that it brings were compared with its records when it was checked.

    Raises:
        UnreadableError: a file is not the one that the manifest lists.
    """
    if result["status"] == "not_applicable":
        return Derived()
    brought = entry.read(f"outcomes/{result['task']}.json")
    return _computed(entry, result) if brought is None else _brought(entry, result["task"], brought)


def _brought(entry: Entry, task: str, outcomes: bytes) -> Derived:
    index = entry.read(f"figures/{task}/index.json")
    pictures = json.loads(index)["pictures"] if index else ()
    read = [(picture, entry.read(f"figures/{task}/{picture['file']}") or b"") for picture in pictures]
    return Derived(json.loads(outcomes)["metrics"], read)


def _computed(entry: Entry, result: Result) -> Derived:
    task = result["task"]
    files, problems = open_folder(entry.folder)
    if files is None:
        raise UnreadableError(problems[0])
    records = read_records(files, task)
    implementation = family(result["family"])
    try:
        spec = implementation.spec_type.model_validate_json(json.dumps(result["spec"]))
        document = ResultDocument.model_validate_json(json.dumps(result))
        outcomes = headline_outcomes(implementation, spec, records, document)
        drawn = dict(picture_files(task, implementation.figures(spec, records)))
    except Exception as error:  # records of an older program lack what is drawn today, each in its own way
        what = f"{type(error).__name__}: {error}"
        return Derived(lost=f"its records, made by another version, cannot be drawn by this one ({what})")
    index = PictureIndex.model_validate_json(drawn.get(f"figures/{task}/index.json", b'{"pictures": []}'))
    pictures = [(each.model_dump(), drawn[f"figures/{task}/{each.file}"]) for each in index.pictures]
    return Derived(outcomes.model_dump(mode="json")["metrics"], pictures)
