"""Whoever wrote them, records have the shape that their family and spec ask for, or are refused in one sentence."""

import json
from copy import deepcopy
from dataclasses import replace
from functools import cache

import pytest

from assay.common.errors import UserError
from assay.tasks.reading import faults, require_shape, understood
from assay.tasks.shared.plausible import ExpectedAccuracy
from family_questions import QUESTIONS, answered

WRONG = (None, True, "x", "", [], {}, -1, 10**20, [None], {"x": 1}, 0.5)


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """A question's job, and its records as they are read from a chunk."""

    @cache
    def run(name):
        job, records = answered(name, tmp_path_factory.mktemp(name))
        return job, [replace(each, values=json.loads(json.dumps(each.values))) for each in records]

    return run


def places(values, path=()):
    """The path of each value, those of lists by their first and last items."""
    if path:
        yield path
    keys = (
        list(values) if isinstance(values, dict) else {0, len(values) - 1} if isinstance(values, list) else ()
    )
    for key in keys if values else ():
        yield from places(values[key], (*path, key))


def altered(record):
    """The record with each of its values gone, and with each of some others in its place."""
    for path in places(record.values):
        for other in (..., *WRONG):
            values = deepcopy(dict(record.values))
            holder = values
            for key in path[:-1]:
                holder = holder[key]
            if other is ...:
                del holder[path[-1]]
            else:
                holder[path[-1]] = other
            yield path, other, replace(record, values=values)


def read_by_all(job, records):
    """All that reads records: figures, guards, pictures, rows, and what two networks are compared by."""
    task, spec = job.task, job.spec.spec
    task.summarise(spec, records)
    task.plausible(spec, records, ExpectedAccuracy(10, None, data="few"))
    task.averaged(spec, records)
    list(task.rows(spec, records))


@pytest.mark.parametrize("name", QUESTIONS)
def test_what_no_run_writes_is_refused_before_any_figure_is_made(name, asked):
    """The first record altered in every place. What passes is read without a complaint but for a sentence."""
    job, records = asked(name)
    task, spec = job.task, job.spec.spec
    assert not list(faults(task, spec, records))
    refused, passed = 0, []
    for path, other, record in altered(records[0]):
        if next(faults(task, spec, [record]), None) is not None:
            refused += 1
        else:
            passed.append((path, other, record))
    assert refused > 5 * len(passed)
    for path, other, record in passed[:: max(1, len(passed) // (4 if name == "srvr" else 40))]:
        try:
            read_by_all(job, [record, *records[1:]])
        except UserError:
            continue  # what several records say of each other
        except Exception as error:
            raise AssertionError(
                f"{'.'.join(map(str, path))} = {other!r} passes, and then: {error!r}"
            ) from error


MISSING = {
    "adversarial": (("attacks", "pgd", "1/20"), "expected the radii 0, 1/50, 1/20, 1/10"),
    "verification": (("properties", "CR"), "expected the properties AR"),
    "verification-searched": (("properties", "AR(1)"), "expected the properties AR"),
    "consistency": (
        ("checks", "alone_difference"),
        "expected the checks repeat_difference, alone_difference",
    ),
    "srvr": (("scores", 0), "expected 6 scores in a row"),
    "corruptions": (("answers", "contrast"), "expected gaussian_noise, contrast, pixelate"),
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_what_the_spec_asks_for_and_a_record_lacks_is_named(name, asked):
    job, records = asked(name)
    path, words = MISSING[name]
    values = deepcopy(dict(records[1].values))
    holder = values
    for key in path[:-1]:
        holder = holder[key]
    del holder[path[-1]]
    with pytest.raises(UserError) as refused:
        require_shape(job.task, job.spec.spec, [records[0], replace(records[1], values=values)], "sent_run")
    assert str(refused.value).startswith(
        f"sent_run: its records are not what a run of this version writes (`{records[1].unit_id}"
    )
    assert words in str(refused.value)


def test_a_record_with_an_error_has_no_values_to_look_at(asked):
    job, (first, *_) = asked("adversarial")
    assert not list(faults(job.task, job.spec.spec, [replace(first, values={}, error="out of memory")]))


@pytest.mark.parametrize("error", [KeyError("x"), TypeError("x"), ZeroDivisionError("x")])
def test_what_only_several_records_show_is_one_sentence(error):
    words = "here: its records are not what a run of this version writes"
    with pytest.raises(UserError, match=words), understood("here"):
        raise error


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut short"])
def test_arrays_beside_the_records_that_are_none_are_one_sentence(asked, content):
    job, records = asked("consistency")
    files = {name: content if name.endswith(".npz") else each for name, each in records[0].files.items()}
    with pytest.raises(UserError, match="here: its records"), understood("here"):
        read_by_all(job, [replace(records[0], files=files), *records[1:]])
