"""From measurements to verdicts; pure, and without torch.

Every test comes down to intervals of 95 %: of one measurement, or of a difference of two. A claim is confirmed only
where the whole interval lies on its side, and the opposite holds only where the whole interval lies on the other.

A difference's interval, by what stands behind its two sides:

- the same repetitions (seeds of training, shapes): Student's t over the paired differences;
- different repetitions: Welch's t;
- no repetitions on one side: the square-and-add rule on the two intervals (MOVER; Zou and Donner 2008, equation 3).

Repetitions on the same images say nothing of other images: two equally good families of networks may differ on these
images, in the same way for every seed. So, where the images' own scores are known, what other images would change (both
families on the same ones) is squared and added to the interval over seeds; see
:func:`assay.papers.intervals.half_over_images`. A figure that is no mean over images, such as neuron consistency,
speaks of the images at hand alone.

An interval over repetitions is never narrower than the weight of one unit (``resolution``): three seeds that agree
to the last image do not make a difference certain.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import hypot
from typing import TYPE_CHECKING

from assay.papers.intervals import CONFIDENCE, half_over_images, student_interval, welch_interval, z_quantile
from assay.papers.spec.claims import (
    AllOf,
    Claim,
    Occurs,
    Ordering,
    Pair,
    Ratio,
    Test,
    Threshold,
    Within,
    names_in,
)

if TYPE_CHECKING:
    from assay.papers.intervals import Scores

MIN_SEEDS = 3


class Verdict(StrEnum):
    """The verdict on a claim."""

    CONFIRMED = "confirmed"
    NOT_CONFIRMED = "not confirmed"
    OPPOSITE = "not confirmed (the opposite holds)"
    NOT_TESTABLE = "not testable at this scale"


@dataclass(frozen=True)
class MeasuredValue:
    """One measurement: its value, its 95 % interval, and what stands behind them.

    Attributes:
        value: the mean over repetitions, or the single figure.
        low: lower end of the interval; None where there is none.
        high: upper end.
        unit: of the value.
        n: units (images, shapes, neurons) behind one repetition.
        samples: the value of each repetition, by its name; empty where there are none.
        repeated_over: what the repetitions are, such as ``seeds``.
        trained: whether the model behind it was trained for this reproduction.
        resolution: the least step of one repetition's value (1/n of a proportion).
        doubt: the guards that failed where it was measured; such a figure is shown, but decides no claim.
        by_unit: the scores of each image, by its id: one per repetition, in the order of ``samples``; empty where the
            value is no mean over images.
    """

    value: float
    low: float | None
    high: float | None
    unit: str
    n: int
    samples: Mapping[str, float] = field(default_factory=dict)
    repeated_over: str = ""
    trained: bool = False
    resolution: float = 0.0
    doubt: str = ""
    by_unit: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class MissingValue:
    """A measurement that was not made, and why."""

    reason: str


Found = Mapping[str, MeasuredValue | MissingValue]


@dataclass(frozen=True)
class Comparison:
    """What a test looked at: a figure with its interval, and what was expected of it.

    Attributes:
        text: what was compared, by names of measurements.
        value: the figure.
        low: of its interval.
        high: of its interval.
        relation: what it should be to the bound, such as ``"at least "``; the whole where there is no bound.
        bound: in the figure's unit.
        how: where the interval comes from.
        verdict: of this comparison alone.
    """

    text: str
    value: float
    low: float
    high: float
    relation: str
    bound: float | None
    how: str
    verdict: Verdict

    @property
    def limit(self) -> str:
        """What was expected, in plain numbers."""
        return self.relation + self.bound_text

    @property
    def bound_text(self) -> str:
        """The bound as a plain number, or nothing."""
        return "" if self.bound is None else f"{self.bound:g}"


@dataclass(frozen=True)
class ClaimFinding:
    """A claim's verdict, why (where it could not be tested), and what was compared."""

    claim: Claim
    verdict: Verdict
    reason: str = ""
    comparisons: tuple[Comparison, ...] = ()


def judge_all(
    claims: Sequence[Claim], found: Found, untested: Mapping[str, str] | None = None
) -> list[ClaimFinding]:
    """Every claim's finding, in order.

    Args:
        claims: of one paper; a claim's premise stands before it.
        found: every measurement by name; one that is not there counts as not made at this scale.
        untested: claims that this scale cannot test, with the reason.
    """
    findings: dict[str, ClaimFinding] = {}
    for claim in claims:
        findings[claim.id] = _judge(claim, found, findings, untested or {})
    return list(findings.values())


def _judge(
    claim: Claim, found: Found, before: Mapping[str, ClaimFinding], untested: Mapping[str, str]
) -> ClaimFinding:
    reason = untested.get(claim.id) or _obstacle(claim.test, found)
    if reason:
        return ClaimFinding(claim, Verdict.NOT_TESTABLE, reason)
    comparisons = tuple(_comparisons(claim.test, found))
    if claim.given and before[claim.given].verdict is not Verdict.CONFIRMED:
        premise = before[claim.given]
        reason = f"its premise, “{premise.claim.text}”, is {premise.verdict.value}"
        return ClaimFinding(claim, Verdict.NOT_TESTABLE, reason, comparisons)
    verdicts = [each.verdict for each in comparisons]
    return ClaimFinding(claim, _together(verdicts), _refuted(verdicts), comparisons)


def _together(verdicts: Sequence[Verdict]) -> Verdict:
    """What all parts of a claim agree on; one that is refuted refutes the whole, but not to its opposite."""
    return verdicts[0] if len(set(verdicts)) == 1 else Verdict.NOT_CONFIRMED


def _refuted(verdicts: Sequence[Verdict]) -> str:
    """How many parts of a claim the opposite holds of, where it is not all of them."""
    count = verdicts.count(Verdict.OPPOSITE)
    return f"of {count} of its {len(verdicts)} parts the opposite holds" if 0 < count < len(verdicts) else ""


def _obstacle(test: Test, found: Found) -> str:
    """Why a test cannot be made; empty where it can."""
    missing = MissingValue("this scale does not measure it")
    for name in names_in(test):
        each = found.get(name, missing)
        if isinstance(each, MissingValue):
            return f"{name}: {each.reason}"
        if each.doubt:
            return f"{name}: {each.doubt}"
        if isinstance(test, Occurs):
            continue
        if isinstance(test, Threshold) and (each.low is None or each.high is None):
            return f"{name}: has no interval"
        if not isinstance(test, Threshold) and each.trained and len(each.samples) < MIN_SEEDS:
            return f"{name}: {len(each.samples)} seeds; comparing trained networks takes at least {MIN_SEEDS}"
        if not each.samples and (each.low is None or each.high is None):
            return f"{name}: has no interval"
    return ""


def _comparisons(test: Test, found: Found) -> Iterator[Comparison]:
    measured = {name: each for name, each in found.items() if isinstance(each, MeasuredValue)}
    match test:
        case Occurs():
            yield _occurrence(test, measured[test.left])
        case Threshold():
            yield _against_constant(test, measured[test.left])
        case Ordering():
            pairs = list(zip(test.descending, test.descending[1:], strict=False))
            yield from (_difference("greater", left, right, measured, len(pairs)) for left, right in pairs)
        case AllOf():
            kind = test.type.removeprefix("all_")
            pairs = list(zip(test.left, test.right, strict=True))
            yield from (_difference(kind, left, right, measured, len(pairs)) for left, right in pairs)
        case Pair():
            yield _difference(test.type, test.left, test.right, measured)
        case Ratio():
            kind = "at_least" if test.type == "ratio_at_least" else "at_most"
            yield _difference(kind, test.left, test.right, measured, factor=test.factor)
        case Within():
            yield _difference(test.type, test.left, test.right, measured, tolerance=test.tolerance)


def _occurrence(test: Occurs, measured: MeasuredValue) -> Comparison:
    """Existence, shown by the figures themselves: in each trained network, or in what is measured as a whole."""
    shown = list(measured.samples.values()) if measured.trained else [measured.value]
    verdict = Verdict.CONFIRMED if min(shown) > 0 else Verdict.NOT_CONFIRMED
    how = f"found in {sum(value > 0 for value in shown)} of {len(shown)}"
    low, high = measured.low, measured.high
    ends = (measured.value if low is None else low, measured.value if high is None else high)
    return Comparison(test.left, measured.value, *ends, "there at all", None, how, verdict)


def _against_constant(test: Threshold, measured: MeasuredValue) -> Comparison:
    assert measured.low is not None
    assert measured.high is not None
    low, high = measured.low, measured.high
    over = f"over {measured.repeated_over}" if measured.repeated_over else f"N = {measured.n}"
    verdict = _verdict(test.type, low - test.value, high - test.value)
    relation = f"{test.type.replace('_', ' ')} "
    return Comparison(test.left, measured.value, low, high, relation, test.value, over, verdict)


def _difference(
    kind: str,
    left: str,
    right: str,
    measured: Mapping[str, MeasuredValue],
    of: int = 1,
    factor: float = 1.0,
    tolerance: float = 0.0,
) -> Comparison:
    """One pair; where it is one ``of`` several, refuting it takes the interval that several chances to err ask for."""
    a, b = measured[left], measured[right]
    low, high, how = difference_interval(a, b, factor)
    verdict = _verdict(kind, low, high, tolerance)
    if verdict is Verdict.OPPOSITE and of > 1:
        wide_low, wide_high, _ = difference_interval(a, b, factor, 1 - (1 - CONFIDENCE) / of)
        verdict = _verdict(kind, wide_low, wide_high, tolerance)
    times = "" if factor == 1 else f"{factor:g} × "
    relation, bound = {
        "less": ("below ", 0.0), "greater": ("above ", 0.0), "differs": ("other than ", 0.0),
        "at_least": ("at least ", 0.0), "at_most": ("at most ", 0.0), "within": ("within ±", tolerance),
        "not_worse": ("at least ", -tolerance),
    }[kind]  # fmt: skip
    value = a.value - factor * b.value
    return Comparison(f"{left} − {times}{right}", value, low, high, relation, bound, how, verdict)


def difference_interval(
    left: MeasuredValue, right: MeasuredValue, factor: float = 1.0, confidence: float = CONFIDENCE
) -> tuple[float, float, str]:
    """The interval of ``left - factor * right``, and in words how it was made.

    Raises:
        ValueError: a side has no repetitions and no interval.
    """
    least = left.resolution + factor * right.resolution
    value = left.value - factor * right.value
    seeds = _over_repetitions(left, right, factor, confidence)
    if seeds is not None:
        low, high, how = seeds
        if left.by_unit and set(left.by_unit) == set(right.by_unit):
            half = half_over_images(_parts(left, right, factor), confidence)
            low, high = value - hypot(value - low, half), value + hypot(high - value, half)
            how += f" and the {len(left.by_unit)} images that they share"
        # No interval is narrower than the step that one unit makes.
        return min(low, value - least), max(high, value + least), how
    if left.low is None or left.high is None or right.low is None or right.high is None:
        raise ValueError("a difference needs repetitions or an interval on both sides")
    wider = z_quantile(confidence) / z_quantile(CONFIDENCE)
    below = wider * hypot(left.value - left.low, factor * (right.high - right.value))
    above = wider * hypot(left.high - left.value, factor * (right.value - right.low))
    return value - below, value + above, "both intervals, squared and added"


def _paired(left: MeasuredValue, right: MeasuredValue) -> bool:
    """Whether both sides have the same repetitions."""
    return left.repeated_over == right.repeated_over and set(left.samples) == set(right.samples)


def _over_repetitions(
    left: MeasuredValue, right: MeasuredValue, factor: float, confidence: float
) -> tuple[float, float, str] | None:
    """The interval over repetitions alone, and in words how it was made; None where a side has too few."""
    if min(len(left.samples), len(right.samples)) < 2:
        return None
    if _paired(left, right):
        differences = [left.samples[name] - factor * right.samples[name] for name in left.samples]
        how = f"Student's t over {len(differences)} paired {left.repeated_over}"
        return *student_interval(differences, confidence), how
    others = [factor * value for value in right.samples.values()]
    how = f"Welch's t over {len(left.samples)} and {len(right.samples)} {left.repeated_over}"
    return *welch_interval(list(left.samples.values()), others, confidence), how


def _parts(left: MeasuredValue, right: MeasuredValue, factor: float) -> "list[Scores]":
    """The images' scores as the parts of a difference: one where repetitions are paired, else two."""
    import numpy as np

    ones = np.array(list(left.by_unit.values()))
    others = -factor * np.array([right.by_unit[unit] for unit in left.by_unit])
    if not _paired(left, right):
        return [ones, others]
    names = list(right.samples)
    return [ones + others[:, [names.index(name) for name in left.samples]]]


def _verdict(kind: str, low: float, high: float, tolerance: float = 0.0) -> Verdict:
    """What an interval says of a test against 0."""
    holds, opposite = {
        "greater": (low > 0, high < 0),
        "above": (low > 0, high < 0),
        "at_least": (low >= 0, high < 0),
        "less": (high < 0, low > 0),
        "below": (high < 0, low > 0),
        "at_most": (high <= 0, low > 0),
        "differs": (low > 0 or high < 0, False),
        "not_worse": (low >= -tolerance, high < -tolerance),
        "within": (-tolerance <= low and high <= tolerance, low > tolerance or high < -tolerance),
    }[kind]
    if holds:
        return Verdict.CONFIRMED
    return Verdict.OPPOSITE if opposite else Verdict.NOT_CONFIRMED
