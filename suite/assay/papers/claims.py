"""From measurements to verdicts; pure, and without torch.

Every test comes down to intervals of 95 %: of one measurement, or of a difference of two. A claim is confirmed only
where the whole interval lies on its side, and the opposite holds only where the whole interval lies on the other.

A difference's interval, by what stands behind its two sides:

- the same repetitions (seeds of training, shapes): Student's t over the paired differences;
- different repetitions: Welch's t;
- no repetitions on one side: the square-and-add rule on the two intervals (MOVER; Zou and Donner 2008, equation 3).

Repetitions on the same images say nothing of other images: two equal families of networks differ on the images at hand
for every seed alike. So, where the images' own scores are known, a bootstrap over the images (both families on each
drawn one) is squared and added to the interval over seeds.

An interval over repetitions is never narrower than the weight of one unit (``resolution``): three seeds that agree
to the last image do not make a difference certain.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import hypot, inf, sqrt
from statistics import fmean, stdev

from assay.papers.spec import (
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
)  # fmt: skip
from assay.results.statistics import bootstrap_interval

MIN_SEEDS = 3
CONFIDENCE = 0.95


class Verdict(StrEnum):
    """What became of a claim."""

    CONFIRMED = "confirmed"
    NOT_CONFIRMED = "not confirmed"
    OPPOSITE = "not confirmed (the opposite holds)"
    NOT_TESTABLE = "not testable at this scale"


@dataclass(frozen=True)
class Measured:
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
        by_unit: the score of each image, by its id, as the mean over repetitions; empty where the value is no mean over
            images.
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
    by_unit: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Missing:
    """A measurement that was not made, and why."""

    reason: str


Found = Mapping[str, Measured | Missing]


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
class Finding:
    """A claim's verdict, why (where it could not be tested), and what was compared."""

    claim: Claim
    verdict: Verdict
    reason: str = ""
    comparisons: tuple[Comparison, ...] = ()


def student_interval(samples: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Student's t interval of the mean of at least two samples."""
    half = _t(confidence, len(samples) - 1) * stdev(samples) / sqrt(len(samples))
    return fmean(samples) - half, fmean(samples) + half


def judge_all(
    claims: Sequence[Claim], found: Found, untested: Mapping[str, str] | None = None
) -> list[Finding]:
    """Every claim's finding, in order.

    Args:
        claims: of one paper; a claim's premise stands before it.
        found: every measurement by name; one that is not there counts as not made at this scale.
        untested: claims that this scale cannot test, with the reason.
    """
    findings: dict[str, Finding] = {}
    for claim in claims:
        findings[claim.id] = _judge(claim, found, findings, untested or {})
    return list(findings.values())


def _judge(claim: Claim, found: Found, before: Mapping[str, Finding], untested: Mapping[str, str]) -> Finding:
    reason = untested.get(claim.id) or _obstacle(claim.test, found)
    if reason:
        return Finding(claim, Verdict.NOT_TESTABLE, reason)
    comparisons = tuple(_comparisons(claim.test, found))
    if claim.given and before[claim.given].verdict is not Verdict.CONFIRMED:
        premise = before[claim.given]
        reason = f"its premise, “{premise.claim.text}”, is {premise.verdict.value}"
        return Finding(claim, Verdict.NOT_TESTABLE, reason, comparisons)
    verdicts = [each.verdict for each in comparisons]
    return Finding(claim, _together(verdicts), _refuted(verdicts), comparisons)


def _together(verdicts: Sequence[Verdict]) -> Verdict:
    """What all parts of a claim agree on; one that is refuted refutes the whole, but not to its opposite."""
    return verdicts[0] if len(set(verdicts)) == 1 else Verdict.NOT_CONFIRMED


def _refuted(verdicts: Sequence[Verdict]) -> str:
    """How many parts of a claim the opposite holds of, where it is not all of them."""
    count = verdicts.count(Verdict.OPPOSITE)
    return f"of {count} of its {len(verdicts)} parts the opposite holds" if 0 < count < len(verdicts) else ""


def _obstacle(test: Test, found: Found) -> str:
    """Why a test cannot be made; empty where it can."""
    missing = Missing("this scale does not measure it")
    for name in names_in(test):
        each = found.get(name, missing)
        if isinstance(each, Missing):
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
    measured = {name: each for name, each in found.items() if isinstance(each, Measured)}
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


def _occurrence(test: Occurs, measured: Measured) -> Comparison:
    """Existence, shown by the figures themselves: in each trained network, or in what is measured as a whole."""
    shown = list(measured.samples.values()) if measured.trained else [measured.value]
    verdict = Verdict.CONFIRMED if min(shown) > 0 else Verdict.NOT_CONFIRMED
    how = f"found in {sum(value > 0 for value in shown)} of {len(shown)}"
    low, high = measured.low, measured.high
    ends = (measured.value if low is None else low, measured.value if high is None else high)
    return Comparison(test.left, measured.value, *ends, "there at all", None, how, verdict)


def _against_constant(test: Threshold, measured: Measured) -> Comparison:
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
    measured: Mapping[str, Measured],
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
    left: Measured, right: Measured, factor: float = 1.0, confidence: float = CONFIDENCE
) -> tuple[float, float, str]:
    """The interval of ``left - factor * right``, and in words how it was made.

    Raises:
        ValueError: a side has neither repetitions nor an interval.
    """
    least = left.resolution + factor * right.resolution
    same = left.repeated_over == right.repeated_over and set(left.samples) == set(right.samples)
    value = left.value - factor * right.value
    if same and len(left.samples) > 1:
        differences = [left.samples[name] - factor * right.samples[name] for name in left.samples]
        low, high = student_interval(differences, confidence)
        value, how = fmean(differences), f"Student's t over {len(differences)} paired {left.repeated_over}"
    elif len(left.samples) > 1 and len(right.samples) > 1:
        low, high = _welch(
            list(left.samples.values()), [factor * v for v in right.samples.values()], confidence
        )
        how = f"Welch's t over {len(left.samples)} and {len(right.samples)} {left.repeated_over}"
    else:
        low = high = value
        how = ""
    if how:
        low, high = _at_least(value, low, high, least)
        if images := _over_images(left, right, factor, confidence):
            low = value - hypot(value - low, value - images[0])
            high = value + hypot(high - value, images[1] - value)
            how += f" and a bootstrap over {len(left.by_unit)} images"
        return low, high, how
    if None in (left.low, left.high, right.low, right.high):
        raise ValueError("a difference needs repetitions or an interval on both sides")
    wider = _z(confidence) / _z(CONFIDENCE)
    below = wider * hypot(left.value - _end(left.low), factor * (_end(right.high) - right.value))
    above = wider * hypot(_end(left.high) - left.value, factor * (right.value - _end(right.low)))
    return value - below, value + above, "both intervals, squared and added"


def _over_images(
    left: Measured, right: Measured, factor: float, confidence: float
) -> tuple[float, float] | None:
    """The interval of the difference over other images, repetitions as they are; None where images are not known."""
    if not left.by_unit or set(left.by_unit) != set(right.by_unit):
        return None
    gaps = [score - factor * right.by_unit[unit] for unit, score in left.by_unit.items()]
    return bootstrap_interval(gaps, seed=0, confidence=confidence)


def _end(bound: float | None) -> float:
    return inf if bound is None else bound


def _at_least(value: float, low: float, high: float, half: float) -> tuple[float, float]:
    return min(low, value - half), max(high, value + half)


def _welch(left: Sequence[float], right: Sequence[float], confidence: float) -> tuple[float, float]:
    """Welch's interval of the difference of two means (Welch 1947)."""
    a, b = stdev(left) ** 2 / len(left), stdev(right) ** 2 / len(right)
    value = fmean(left) - fmean(right)
    if a + b == 0:
        return value, value
    freedom = (a + b) ** 2 / (a**2 / (len(left) - 1) + b**2 / (len(right) - 1))
    half = _t(confidence, freedom) * sqrt(a + b)
    return value - half, value + half


def _t(confidence: float, freedom: float) -> float:
    from scipy import stats

    return float(stats.t.ppf((1 + confidence) / 2, freedom))


def _z(confidence: float) -> float:
    from scipy import stats

    return float(stats.norm.ppf((1 + confidence) / 2))


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
