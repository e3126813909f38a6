"""What counts as the same records on two devices."""

from assay.runner.bench.equality import TOLERANCE, agreement
from assay.tasks.base import Record


def record(**values):
    return Record("u", values)


def test_a_number_may_differ_by_the_tolerance_and_a_decision_not_at_all():
    here = record(length=1.0, wrong=True, by={"a": [0.0, 3]}, seconds=1.0)
    near = record(length=1 + TOLERANCE / 2, wrong=True, by={"a": [TOLERANCE / 2, 3]}, seconds=9.0)
    found = agreement([here], [near])
    assert found.passed
    assert found.within == 1
    assert TOLERANCE / 4 < found.largest < TOLERANCE
    far = agreement([here], [record(length=1.0, wrong=True, by={"a": [2 * TOLERANCE, 3]}, seconds=1.0)])
    assert not far.passed
    assert far.where == "by.a[0]"
    assert not agreement([here], [record(length=1.0, wrong=False, by={"a": [0.0, 3]}, seconds=1.0)]).passed


def test_a_unit_in_ten_may_differ_and_none_may_fail():
    here = [record(value=0.0)] * 10
    assert agreement(here, [*here[:9], record(value=1.0)]).passed
    assert not agreement(here, [*here[:8], *[record(value=1.0)] * 2]).passed
    assert not agreement(here, [*here[:9], Record("u", error="RuntimeError: two devices")]).passed
