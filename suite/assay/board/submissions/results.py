"""Checks of one result: its spec is current, its units are the data's, its figures follow from its records."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from pydantic import ValidationError

from assay.board.submissions.problems import Problem
from assay.board.submissions.reader import UnreadableError, check_text, parse_json
from assay.board.submissions.register import AdmittedTask, unit_ids_sha256
from assay.board.submissions.text import option_in
from assay.common.canonical import canonical_sha256
from assay.results.document import Guard, Metric, ResultDocument, Status
from assay.runner.identity import job_identity, question_identity
from assay.runner.job_document import repeat_command
from assay.runner.jobs import JobRequest
from assay.runner.precision import Precision
from assay.tasks.base import Record, Summary, summary_of
from assay.tasks.families import LoadedSpec, family, load_spec
from assay.tasks.reading import faults
from assay.tasks.shared.plausible import GUARD

_AGAIN = "run the task again with this version of Assay, then `assay submit`"
_SHOWN = 10  # problems of one kind; a hostile document may hold thousands
_RELATIVE = 1e-9  # between two machines' arithmetic on the same records


@dataclass(frozen=True)
class CheckedResult:
    """What a result is checked against."""

    file: str
    result: ResultDocument
    spec: LoadedSpec
    admitted: AdmittedTask

    def problem(self, field: str, value: object, expected: object, mend: str = _AGAIN) -> Problem:
        """A problem of this result's document."""
        return Problem(self.file, field, value, str(expected), mend)


def switches_of(spec: Mapping[str, Any], task: str) -> tuple[str, ...]:
    """What an option of ``assay run`` turned on, for a result whose document holds ``spec``."""
    loaded = load_spec(task).spec
    shipped = loaded.model_dump(mode="json", by_alias=True)
    return tuple(
        name
        for name in family(loaded.family).switches
        if spec.get(name) is True and shipped.get(name) is False
    )


def current_hashes(task: str) -> tuple[str, ...]:
    """The hashes that a current result of a task may name: of its shipped spec, and of that with a switch turned on."""
    shipped = load_spec(task).spec
    on = [(name,) for name in family(shipped.family).switches if getattr(shipped, name, None) is False]
    return (shipped.sha256, *(load_spec(task, switches).spec.sha256 for switches in on))


def checked_result(file: str, result: ResultDocument, task: str, admitted: AdmittedTask) -> "CheckedResult":
    """A result beside the shipped spec of its task, with the same switches turned on."""
    return CheckedResult(file, result, load_spec(task, switches_of(result.spec, task)), admitted)


def parse_result(file: str, data: bytes) -> ResultDocument:
    """The result document in ``data``.

    Raises:
        UnreadableError: not JSON, not of the schema, not as the program writes it, or with text that can't be shown.
    """
    document = parse_json(file, data)
    check_text(file, document, "remove it")
    try:
        result = ResultDocument.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "document"
        raise UnreadableError(Problem(file, key, first["input"], first["msg"], _AGAIN)) from error
    if result.to_json().encode() != data:
        raise UnreadableError(
            Problem(
                file,
                "document",
                "other bytes than Assay writes",
                "the file as `assay submit` wrote it",
                _AGAIN,
            )
        )
    return result


def identity_problems(checked: CheckedResult) -> Iterator[Problem]:
    """Is it the task that it says, with its current spec, its data, and the key that follows from them?"""
    result, loaded = checked.result, checked.spec
    known = family(loaded.spec.family)
    for field, value, expected in (
        ("family", result.family, loaded.spec.family),
        ("spec_sha256", result.spec_sha256, loaded.spec.sha256),
        ("spec", result.spec, loaded.spec.model_dump(mode="json", by_alias=True)),
        ("title", result.title, loaded.spec.title),
        ("headline", result.headline, loaded.spec.headline_key),
        ("precision", result.precision, Precision().identity()),
        ("data.name", result.data.name, loaded.spec.data),
        ("data.sha256", result.data.sha256, checked.admitted.data_sha256),
    ):
        if value != expected:
            yield checked.problem(field, value, expected)
    if result.record_version not in (None, known.pooling_version):
        yield checked.problem("record_version", result.record_version, known.pooling_version)
    question = question_identity(loaded.spec, known, result.data.sha256, limit=None)
    card = result.model.model_dump(mode="json")
    identity = job_identity(question, card, result.precision, result.record_version, result.training)
    if result.job_key != (expected := canonical_sha256(identity)):
        yield checked.problem("job_key", result.job_key, expected)
    yield from _command_problems(checked)


def _command_problems(checked: CheckedResult) -> Iterator[Problem]:
    result = checked.result
    weights = option_in(result.command, "--weights")
    if weights is not None and ("/" in weights or "\\" in weights or weights.startswith(("-", "."))):
        weights = "FILE"
    switches = switches_of(result.spec, checked.spec.id)
    request = JobRequest(result.model.name, result.task, weights=weights, switches=switches)
    expected = repeat_command(request)
    if result.command != expected:
        yield checked.problem("command", result.command, expected, "run `assay submit` again")


def completeness_problems(checked: CheckedResult) -> Iterator[Problem]:
    """Refuse partial, limited and failed results, and results with a failed guard."""
    result, units = checked.result, checked.admitted.units
    if result.status is Status.NOT_APPLICABLE:
        if result.metrics or result.guards or not result.reason:
            yield checked.problem("status", "not_applicable with figures", "a reason and no figures")
        return
    coverage = result.coverage
    mend = "run the task without --limit until every unit is done"
    for field, value, expected in (
        ("status", result.status.value, "complete"),
        ("reason", result.reason, None),
        ("coverage.units", coverage.units, units),
        ("coverage.done", coverage.done, units),
        ("coverage.errors", coverage.errors, 0),
        ("coverage.limited", coverage.limited, False),
    ):
        if value != expected:
            yield checked.problem(field, value, expected, mend)
    for guard in result.failed_guards[:_SHOWN]:
        mend = (
            "mend the model or its preprocessing and run the task again, or leave the task out with the reason "
            f"(`without: {{{checked.result.task}: …}}` in the metadata): such a figure would mislead"
        )
        yield checked.problem(f"guards.{guard.name}", f"failed: {guard.detail}", "passed", mend)


def unit_problems(checked: CheckedResult, file: str, records: Sequence[Record]) -> Iterator[Problem]:
    """One record per unit of the data set, in order, and none failed."""
    admitted = checked.admitted
    ids = [record.unit_id for record in records]
    for unit_id, count in Counter(ids).most_common(_SHOWN):
        if count > 1:
            yield Problem(file, "unit_id", f"{unit_id} {count} times", "every unit once", _AGAIN)
    if len(ids) != admitted.units:
        yield Problem(file, "records", len(ids), f"{admitted.units}, the units of the data set", _AGAIN)
    elif unit_ids_sha256(ids) != admitted.unit_ids_sha256:
        yield Problem(file, "unit_id", f"first {ids[0]}", "the ids of the data set, in its order", _AGAIN)
    failed = [record for record in records if record.error is not None]
    for record in failed[:_SHOWN]:
        yield Problem(file, f"{record.unit_id}.error", record.error, "no error", "run the failed units again")


def value_problems(checked: CheckedResult, file: str, records: Sequence[Record]) -> Iterator[Problem]:
    """Each record has the shape that the family and the spec ask for; the first few that have not."""
    spec = checked.spec.spec
    for fault in islice(faults(family(spec.family), spec, records), _SHOWN):
        yield Problem(file, fault.place, fault.found, fault.expected, _AGAIN)


def figure_problems(checked: CheckedResult, records: Sequence[Record]) -> Iterator[Problem]:
    """The figures and guards that follow from the records equal those that the document states."""
    summary = summarise(checked, records)
    if isinstance(summary, Problem):
        yield summary
        return
    for guard in summary.guards:
        if not guard.passed:
            mend = "submit the run's own records and files"
            yield checked.problem(
                f"guards.{guard.name}", f"failed on the records: {guard.detail}", "passed", mend
            )
    found = [
        *_differences("metrics", checked.result.metrics, summary.metrics),
        *_differences("guards", checked.result.guards, _stated_guards(checked.result, summary.guards)),
    ]
    for field, value, expected in found[:_SHOWN]:
        yield checked.problem(field, value, f"{expected}, which follows from the records")
    if len(found) > _SHOWN:
        yield checked.problem("metrics", f"{len(found)} figures differ", "none")


def _stated_guards(result: ResultDocument, follows: Sequence[Guard]) -> Sequence[Guard]:
    """The guards that a document must state; documents older than `structure_sha256` lack the last one."""
    if result.model.structure_sha256 is not None or any(guard.name == GUARD for guard in result.guards):
        return follows
    return [guard for guard in follows if guard.name != GUARD]


def summarise(checked: CheckedResult, records: Sequence[Record]) -> Summary | Problem:
    """The family's summary; records that it cannot read are a problem, because a stranger wrote them."""
    try:
        task = family(checked.spec.spec.family)
        result = checked.result
        return summary_of(task, checked.spec.spec, records, result.model, result.data.name, result.training)
    except Exception as error:  # a hostile record may raise anything
        text = f"{type(error).__name__}: {error}"
        return Problem(
            f"records/{checked.result.task}.jsonl.gz", "values", text, "records of this family", _AGAIN
        )


def _differences(
    kind: str, stated: Sequence[Metric] | Sequence[Guard], follows: Sequence[Metric] | Sequence[Guard]
) -> Iterator[tuple[str, Any, Any]]:
    names, expected = [item.name for item in stated], [item.name for item in follows]
    if names != expected:
        odd = sorted(set(names) ^ set(expected)) or ["another order"]
        yield kind, f"{len(names)} names", f"{len(expected)} names; they differ in {', '.join(odd[:_SHOWN])}"
        return
    for name, one, other in zip(names, stated, follows, strict=True):
        for field in type(one).model_fields:
            value, wanted = getattr(one, field), getattr(other, field)
            if not equal(value, wanted):
                yield f"{kind}.{name}.{field}", value, wanted


def equal(value: Any, wanted: Any) -> bool:
    """Equality, up to the last digits of numbers."""
    if isinstance(value, float) and isinstance(wanted, float):
        return math.isclose(value, wanted, rel_tol=_RELATIVE, abs_tol=_RELATIVE)
    return bool(value == wanted)
