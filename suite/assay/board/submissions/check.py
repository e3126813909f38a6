"""Every check of a submission, in such an order that later checks may trust earlier ones."""

import gc
import math
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from assay.board.submissions.documents import METADATA, MODEL_CARD, Metadata, OutcomesDocument
from assay.board.submissions.folder import SubmissionFiles, open_folder
from assay.board.submissions.outcomes import scores_alone, unpacked
from assay.board.submissions.pictures import picture_problems
from assay.board.submissions.problems import Problem
from assay.board.submissions.provenance import provenance_problems
from assay.board.submissions.reader import (
    AGAIN,
    UnreadableError,
    check_text,
    parse_document,
    parse_records,
    read_metadata,
    unpack,
)
from assay.board.submissions.register import Register
from assay.board.submissions.results import (
    CheckedResult,
    checked_result,
    completeness_problems,
    equal,
    figure_problems,
    identity_problems,
    parse_result,
    unit_problems,
    value_problems,
)  # fmt: skip
from assay.board.submissions.scored import ScoredFiles
from assay.board.submissions.text import fault_of_name, folder_name, skeleton
from assay.common.errors import UserError
from assay.models.card_file import read_card_file
from assay.results.document import ModelCard, Status
from assay.tasks.base import Record
from assay.tasks.families import family, load_spec
from assay.tasks.reading import faults
from assay.tasks.task_spec import TaskSpec, shipped_specs

_SAMPLE = 50  # units whose outcome is computed again; `assay rescore` does all


@dataclass(frozen=True)
class Board:
    """What a submission is checked against: the register of tasks and the names of the other submissions' folders."""

    register: Register
    others: Sequence[str] = ()


def check_submission(folder: Path, board: Board) -> list[Problem]:
    """Everything that is wrong with the submission in ``folder``; nothing of it is run, and nothing is written."""
    with _no_collector():
        return _check(folder, board)


@contextmanager
def _no_collector() -> Iterator[None]:
    """Pause the collector: records have no cycles, and looking for some takes a fifth of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _check(folder: Path, board: Board) -> list[Problem]:
    files, problems = open_folder(folder)
    if files is None:
        return problems
    try:
        metadata = read_metadata(Metadata, folder, METADATA)
    except UnreadableError as error:
        return [error.problem]
    problems += _name_problems(metadata, folder.resolve().name, board.others)
    problems += _without_problems(files, metadata, board.register)
    if not files.tasks:
        problems.append(
            Problem("results", "files", "no result", "at least one", "run a task, then `assay submit`")
        )
    cards: dict[str, ModelCard] = {}
    for task in files.tasks:
        try:
            problems += _task_problems(files, task, metadata, board.register, cards)
        except UnreadableError as error:
            problems.append(error.problem)
    problems += [*_card_problems(cards), *_model_card_problems(files, metadata)]
    return [*problems, *_orphan_problems(files)]


def _name_problems(metadata: Metadata, folder: str, others: Sequence[str]) -> Iterator[Problem]:
    if folder != folder_name(metadata.name):
        mend = "rename the folder, or the model"
        yield Problem(METADATA, "name", metadata.name, f"the name of the folder {folder!r}", mend)
    for other in sorted(set(others) - {folder}):
        if skeleton(other) == skeleton(folder_name(metadata.name)):
            mend = "choose a name that cannot be mistaken for it"
            yield Problem(METADATA, "name", metadata.name, f"a name that does not look like {other!r}", mend)


def _without_problems(files: SubmissionFiles, metadata: Metadata, register: Register) -> Iterator[Problem]:
    for task in metadata.without or ():
        if task not in register.tasks:
            close = get_close_matches(task, register.tasks, n=1)
            expected = f"an admitted task{f', such as {close[0]}' if close else ''}"
            yield Problem(METADATA, "without", task, expected, "name tasks of `assay list tasks`")
        elif task in files.tasks:
            mend = "take it out of `without`, or submit the run again"
            yield Problem(METADATA, "without", task, "a task that the submission has no result of", mend)


def _task_problems(
    files: SubmissionFiles, task: str, metadata: Metadata, register: Register, cards: dict[str, ModelCard]
) -> list[Problem]:
    file = f"results/{task}.json"
    if task not in shipped_specs():
        return [
            Problem(file, "task", task, "a task of `assay list tasks`", "submit the results of shipped tasks")
        ]
    if task not in register.tasks:
        mend = "ask a maintainer to admit it (`assay admit`)"
        return [Problem(file, "task", task, f"one of {', '.join(register.tasks) or 'none yet'}", mend)]
    result = parse_result(file, files.read(file))
    cards[file] = result.model
    checked = checked_result(file, result, task, register.tasks[task])
    problems = [*identity_problems(checked), *completeness_problems(checked)]
    if result.task != task:
        problems.append(checked.problem("task", result.task, task))
    if result.model.name != metadata.model or fault_of_name(result.model.name):
        problems.append(
            checked.problem("model.name", result.model.name, f"{metadata.model}, as in {METADATA}")
        )
    applies = result.status is not Status.NOT_APPLICABLE
    if applies or f"provenance/{task}.json" in files.names:  # where nothing was computed there is none
        problems += _provenance_problems(files, task, result.job_key)
    if not applies:
        return problems
    return [*problems, *_record_problems(files, checked)]


def _provenance_problems(files: SubmissionFiles, task: str, job_key: str) -> Iterator[Problem]:
    file = f"provenance/{task}.json"
    mend = "run `assay submit` on the run's folder as `assay run` left it"
    if file not in files.names:
        yield Problem(file, "file", "missing", "the versions, commit and device of the run", mend)
        return
    yield from provenance_problems(file, files.read(file), job_key)


def read_records(files: SubmissionFiles, task: str, spec: TaskSpec) -> list[Record]:
    """The records of a task, each of the shape that its family and ``spec`` ask for, with the files of its figures.

    Raises:
        UnreadableError: as :func:`parsed_records`, or one has another shape.
    """
    records = parsed_records(files, task)
    for fault in faults(family(spec.family), spec, records):
        raise UnreadableError(Problem(_records_of(task), fault.place, fault.found, fault.expected, AGAIN))
    return records


def _records_of(task: str) -> str:
    return f"records/{task}.jsonl.gz"


def parsed_records(files: SubmissionFiles, task: str, units: int | None = None) -> list[Record]:
    """The records of a task with ``units`` units; their values are not checked here.

    Raises:
        UnreadableError: there are none, or more than units, or they or their files cannot be read.
    """
    file = _records_of(task)
    scored = ScoredFiles(files, task, family(load_spec(task).spec.family).scored_files)
    records = parse_records(file, unpack(file, files.read(file)), units, scored.of_record)
    scored.require_named()
    return records


def _record_problems(files: SubmissionFiles, checked: CheckedResult) -> list[Problem]:
    task = checked.result.task
    try:
        records = parsed_records(files, task, checked.admitted.units)
    except UnreadableError as error:
        return [error.problem]  # beside what is wrong with the result itself
    file = _records_of(task)
    problems = [*unit_problems(checked, file, records), *value_problems(checked, file, records)]
    if problems:
        return problems
    problems += figure_problems(checked, records)
    if not problems:
        if holds_outcomes(files, task):
            problems += outcome_problems(files, checked, records, _SAMPLE)
        problems += picture_problems(files, checked, records)
    return problems


def holds_outcomes(files: SubmissionFiles, task: str) -> bool:
    """Whether a submission brings the outcomes of a task's units, as older ones do; else they are computed."""
    return f"outcomes/{task}.json" in files.names


def outcome_problems(
    files: SubmissionFiles, checked: CheckedResult, records: Sequence[Record], sample: int
) -> Iterator[Problem]:
    """Each column has a headline metric's mean, and a sample of its values is equal to what each record gives alone."""
    file = f"outcomes/{checked.result.task}.json"
    outcomes = parse_document(OutcomesDocument, file, files.read(file))
    columns = {name: unpacked(column) for name, column in outcomes.metrics.items()}
    stated = {metric.name: metric for metric in checked.result.metrics if metric.headline}
    mend = "run `assay submit` again"
    for name, column in columns.items():
        if name not in stated:
            yield Problem(
                file, name, "a column", "no column, because it is no headline metric of the result", mend
            )
            return
        if len(column) != len(records):
            yield Problem(file, name, len(column), f"{len(records)} values, one per unit", mend)
            return
        counted = [score for score in column if score is not None]
        mean = math.fsum(counted) / len(counted) if counted else None
        wanted = stated[name]
        if len(counted) != wanted.n or not equal(mean, wanted.value):
            found, expected = (
                f"mean {mean} of {len(counted)}",
                f"mean {wanted.value} of {wanted.n}, as in the result",
            )
            yield Problem(file, name, found, expected, mend)
    chosen = random.Random(0).sample(range(len(records)), min(sample, len(records)) if columns else 0)
    implementation = family(checked.spec.spec.family)
    for index in chosen:
        scores = scores_alone(implementation, checked.spec.spec, records[index])
        for name, column in columns.items():
            if not equal(column[index], scores.get(name)):
                yield Problem(file, f"{name}.{index}", column[index], f"{scores.get(name)}", mend)
                return


def _card_problems(cards: dict[str, ModelCard]) -> Iterator[Problem]:
    """One folder is one model: its card is the same in every result."""
    first = next(iter(cards), None)
    for file, card in cards.items():
        if first is not None and card != cards[first]:
            expected = f"the model of {first}"
            yield Problem(
                file, "model", card.weights_sha256, expected, "submit the other model under another name"
            )


def _model_card_problems(files: SubmissionFiles, metadata: Metadata) -> Iterator[Problem]:
    """A submitted model card is of this model, and names no file outside its folder; nothing that it names is read."""
    if MODEL_CARD not in files.names:
        return
    mend = "submit the card that the run used, beside the files that it names"
    path = files.folder / MODEL_CARD
    try:
        card = read_card_file(path, confined=True)
        check_text(MODEL_CARD, card.model_dump(mode="json"))
    except UnreadableError as error:
        yield error.problem
    except UserError as error:
        yield Problem(MODEL_CARD, "card", str(error).removeprefix(f"{path}: "), "a model card", mend)
    else:
        if card.name != metadata.model:
            yield Problem(MODEL_CARD, "name", card.name, f"{metadata.model}, as in {METADATA}", mend)


def _orphan_problems(files: SubmissionFiles) -> Iterator[Problem]:
    for name in files.names:
        kind, _, rest = name.partition("/")
        belongs = any(rest.startswith((f"{task}.json", f"{task}/")) for task in files.tasks)
        if kind not in (METADATA, MODEL_CARD, "results") and not belongs:
            yield Problem(name, "file", "a file of no result", "no such file", "run `assay submit` again")


def other_names(submissions: Path) -> list[str]:
    """The names of all submissions' folders."""
    if not submissions.is_dir():
        return []
    return sorted(
        path.name for path in submissions.iterdir() if path.is_dir() and not path.name.startswith(".")
    )


def require_good(folder: Path, board: Board) -> None:
    """Raise on the first problems of a submission.

    Raises:
        UserError: it has any.
    """
    problems = check_submission(folder, board)
    if problems:
        more = (
            f" (and {len(problems) - 1} more: `assay check-submission {folder}`)" if len(problems) > 1 else ""
        )
        raise UserError(f"{folder}: {problems[0]}{more}")
