"""Growing robust regions: hyper-rectangles around initial points, by the update directions of Hamdi & Ghanem.

A region D = [a, b] starts as a tiny box around u₀ and its bounds descend ``∂a``, ``∂b`` with a fixed step.
Let r = b - a, V = Πr / 2ⁿ and R = diag(1/r). The mask M ∈ {0,1}^{n×2ⁿ} holds the binary digits of c in column c (1 =
upper bound), and M̄ = 1 - M. f_D are the values at the corners of D, G the gradients there, and f_C the values at the
corners of the outer region [a - α r/2, b + α r/2]. Then:

- naive (eq. 8): ``∂a = 2V R M̄ f_D - λ r``, ``∂b = -2V R M f_D + λ r``
- OIR_B (eq. 11): ``∂a = 2V R (2 M̄ f_D - T̄ f_C)``, ``∂b = 2V R (-2 M f_D + T f_C)``
- OIR_W (eq. 16): ``∂a = V (R W̄ f_D + β diag(M̄ G) + β s̄)``, ``∂b = V (-R W f_D + β diag(M G) + β s)``
- trapezoid (supplement B.5): ``∂a = -V (diag(M̄ G) - R Σf_D) - λ r``, ``∂b = -V (diag(M G) + R Σf_D) + λ r``

All searches advance together, as one batch. Adversarial regions are robust regions of 1 - f (eq. 4;
:func:`complement`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from assay.common.errors import UserError
from assay.tasks.srvr.arrays import BoolArray, FloatArray, IntArray
from assay.tasks.srvr.domain import Domain

ScoreFunction = Callable[[IntArray, FloatArray], FloatArray]
"""(searches (B,), points (B, K, n)) to the score of search i's shape at its points, (B, K) in [0, 1]."""
GradientFunction = Callable[[IntArray, FloatArray], FloatArray]
"""(searches (B,), points (B, K, n)) to the scores' slopes, (B, K, n), per unit of each parameter."""
Bounds = tuple[FloatArray, FloatArray]


@dataclass(frozen=True)
class RegionSettings:
    """How to grow regions; the defaults are the published settings.

    Attributes:
        method: one of ``METHODS``.
        steps: the most updates of a search.
        step_size: η.
        alpha: α, how much larger than the region its outer region is (OIR_B, OIR_W).
        beta: β, the emphasis on the gradient (OIR_W).
        regulariser: λ, the penalty on the size (naive, trapezoid).
        half_width: half of the starting box's sides, and the least half width of a region held in the domain.
            A box of side r grows by r^(n-1) a step, so for n >= 3 the published 1e-5 never leaves the point:
            start with about a unit there.
        difference_step: half the distance between the two points of a central difference.
        tolerance: a search has converged when no bound moves by more than this share of the region's side.
        as_published: as in the authors' code: regions may leave the domain, and never stop early.
    """

    method: str
    steps: int = 600
    step_size: float = 0.1
    alpha: float = 0.05
    beta: float = 0.0009
    regulariser: float = 0.1
    half_width: float = 1e-5
    difference_step: float = 0.5
    tolerance: float = 1e-6
    as_published: bool = False

    def __post_init__(self) -> None:
        """Check the method's name.

        Raises:
            UserError: for an unknown one.
        """
        if self.method not in METHODS:
            raise UserError(f"region method '{self.method}': unknown; choose from {', '.join(METHODS)}")


@dataclass(frozen=True)
class Regions:
    """What B searches found.

    Attributes:
        low: (B, n) lower bounds.
        high: (B, n) upper bounds.
        steps: (B,) updates made.
        converged: (B,) whether the bounds stopped moving.
        diverged: (B,) whether a bound stopped being finite; ``low`` and ``high`` are the last finite ones.
        trace: (T + 1, B, 2, n) the bounds before the first update and after each one; a search that stopped
            stays.
    """

    low: FloatArray
    high: FloatArray
    steps: IntArray
    converged: BoolArray
    diverged: BoolArray
    trace: FloatArray


def grow_regions(
    score: ScoreFunction,
    initial: Sequence[Sequence[float]] | FloatArray,
    domain: Domain,
    settings: RegionSettings,
    gradient: GradientFunction | None = None,
    advance: Callable[[float], None] = lambda _share: None,
) -> Regions:
    """Grow one region from each initial point.

    Args:
        score: f; it is asked for all searches that still move at once, outside the domain too (outer
            corners).
        initial: (B, n) points of the domain; search i starts from row i.
        domain: Ω; ``score`` is asked beyond the ends of its circles, and must repeat there.
        settings: the method and its constants.
        gradient: slopes of f for OIR_W and trapezoid; central differences of ``score`` where None.
        advance: gets each step's share of the work; the shares add up to 1, also when all searches stop early.

    Raises:
        UserError: for an initial point outside the domain.
    """
    start = domain.require_inside(initial)
    low, high = start - settings.half_width, start + settings.half_width
    if not settings.as_published:
        low, high = _project((low, high), domain, settings.half_width)
    slopes = gradient or central_differences(score, settings.difference_step)
    count = len(start)
    steps, converged, diverged = np.zeros(count, np.int64), np.zeros(count, bool), np.zeros(count, bool)
    trace, active = [np.stack((low, high), axis=1)], np.arange(count)
    while len(active) and len(trace) <= settings.steps:
        before = low[active], high[active]
        after = _advance(before, active, (score, slopes), settings)
        finite = np.isfinite(after[0]).all(1) & np.isfinite(after[1]).all(1)
        if not settings.as_published:
            after = _project(after, domain, settings.half_width)
        # The published code takes all its steps, and keeps no region inside the domain.
        still = _standing(before, after, settings.tolerance) & (not settings.as_published)
        # A search with a bound that is not finite keeps its last finite bounds, and stops.
        moved = active[finite]
        low[moved], high[moved] = after[0][finite], after[1][finite]
        steps[moved] += 1
        diverged[active[~finite]] = True
        converged[active[finite & still]] = True
        trace.append(np.stack((low, high), axis=1))
        active = active[finite & ~still]
        advance(1 / settings.steps)
    # All searches may stop early; the rest of the work is then done at once.
    advance(1 - (len(trace) - 1) / settings.steps)
    return Regions(low, high, steps, converged, diverged, np.stack(trace))


def central_differences(score: ScoreFunction, step: float) -> GradientFunction:
    """Slopes of ``score`` from two points ``step`` away on either side, along each parameter."""

    def gradient(searches: IntArray, points: FloatArray) -> FloatArray:
        n = points.shape[2]
        offsets = np.concatenate((step * np.eye(n), -step * np.eye(n)))
        shifted = points[:, :, None, :] + offsets
        values = score(searches, shifted.reshape(len(points), -1, n)).reshape(*points.shape[:2], 2, n)
        return (values[:, :, 0] - values[:, :, 1]) / (2 * step)

    return gradient


def complement(score: ScoreFunction) -> ScoreFunction:
    """1 - f: its robust regions are the adversarial regions of f (eq. 4)."""
    return lambda searches, points: 1.0 - score(searches, points)


@lru_cache
def corner_mask(n: int) -> FloatArray:
    """M: (n, 2ⁿ), column c holds the binary digits of c; 1 stands for the upper bound."""
    return ((np.arange(2**n) >> np.arange(n)[:, None]) & 1).astype(np.float64)


@dataclass(frozen=True)
class _State:
    """Regions of a batch with what update directions need; ``outer``, ``slopes`` only where asked for."""

    size: FloatArray
    mask: FloatArray
    inner: FloatArray
    outer: FloatArray
    slopes: FloatArray
    settings: RegionSettings

    @property
    def volume(self) -> FloatArray:
        """V = Πr / 2ⁿ, (B, 1)."""
        return np.asarray(self.size.prod(1, keepdims=True) / self.mask.shape[1])


def _naive(state: _State) -> Bounds:
    penalty = state.settings.regulariser * state.size
    rate = 2 * state.volume / state.size
    return (
        rate * (state.inner @ (1 - state.mask).T) - penalty,
        -rate * (state.inner @ state.mask.T) + penalty,
    )


def _oir_black(state: _State) -> Bounds:
    alpha, upper, lower = state.settings.alpha, state.mask, 1 - state.mask
    scale = (1 + alpha) ** (len(upper) - 1)
    outer_upper = scale * ((1 + alpha / 2) * upper + alpha / 2 * lower)
    outer_lower = scale * ((1 + alpha / 2) * lower + alpha / 2 * upper)
    rate = 2 * state.volume / state.size
    return (
        rate * (2 * state.inner @ lower.T - state.outer @ outer_lower.T),
        rate * (-2 * state.inner @ upper.T + state.outer @ outer_upper.T),
    )


def _oir_white(state: _State) -> Bounds:
    beta, upper, lower = state.settings.beta, state.mask, 1 - state.mask
    emphasis = 2 - (2 * len(upper) - 1) * beta
    spread = state.size[:, :, None] * (upper - lower) * state.slopes.transpose(0, 2, 1)
    return (
        state.volume
        * (
            state.inner @ (emphasis * lower - beta * upper).T / state.size
            + beta * _own_slopes(state, lower)
            + beta * _other_slopes(-spread, lower) / state.size
        ),
        state.volume
        * (
            -state.inner @ (emphasis * upper - beta * lower).T / state.size
            + beta * _own_slopes(state, upper)
            + beta * _other_slopes(spread, upper) / state.size
        ),
    )


def _trapezoid(state: _State) -> Bounds:
    penalty = state.settings.regulariser * state.size
    total = state.inner.sum(1, keepdims=True) / state.size
    return (
        state.volume * (-_own_slopes(state, 1 - state.mask) + total) - penalty,
        state.volume * (-_own_slopes(state, state.mask) - total) + penalty,
    )


def _own_slopes(state: _State, mask: FloatArray) -> FloatArray:
    """diag(mask · G): (B, n)."""
    return np.asarray(np.einsum("kc,bck->bk", mask, state.slopes))


def _other_slopes(spread: FloatArray, mask: FloatArray) -> FloatArray:
    """Σ_{i≠k} Σ_c spread_ic mask_kc: (B, n) from spread (B, n, 2ⁿ)."""
    return np.asarray(spread.sum(1) @ mask.T - np.einsum("bkc,kc->bk", spread, mask))


@dataclass(frozen=True)
class _Method:
    """An update direction and what else it looks at, beside the region's corners."""

    update: Callable[[_State], Bounds]
    uses_outer: bool = False
    uses_slopes: bool = False


METHODS = {
    "naive": _Method(_naive),
    "OIR_B": _Method(_oir_black, uses_outer=True),
    "OIR_W": _Method(_oir_white, uses_slopes=True),
    "trapezoid": _Method(_trapezoid, uses_slopes=True),
}


def _advance(
    bounds: Bounds,
    searches: IntArray,
    functions: tuple[ScoreFunction, GradientFunction],
    settings: RegionSettings,
) -> Bounds:
    """One gradient step of the given searches' bounds."""
    (low, high), (score, gradient) = bounds, functions
    method, size = METHODS[settings.method], high - low
    mask = corner_mask(low.shape[1])
    corners = low[:, None, :] + size[:, None, :] * mask.T
    margin = settings.alpha / 2 * size[:, None, :] * (2 * mask.T - 1)
    points = np.concatenate((corners, corners + margin), axis=1) if method.uses_outer else corners
    values = score(searches, points)
    slopes = gradient(searches, corners) if method.uses_slopes else np.zeros((0, 0, 0))
    inner, outer = np.split(values, [mask.shape[1]], axis=1)
    down_low, down_high = method.update(_State(size, mask, inner, outer, slopes, settings))
    return low - settings.step_size * down_low, high - settings.step_size * down_high


def _project(bounds: Bounds, domain: Domain, half_width: float) -> Bounds:
    """The nearest box inside the domain with sides of at least 2 ``half_width``."""
    low, high = _within_a_turn((domain.clip(bounds[0]), domain.clip(bounds[1])), domain)
    margin = np.full_like(low, half_width)
    held = np.clip((low + high) / 2, np.add(domain.low, margin), np.subtract(domain.high, margin))
    middle = np.where(domain.circular, (low + high) / 2, held)
    thin = high - low < 2 * half_width
    return np.where(thin, middle - half_width, low), np.where(thin, middle + half_width, high)


def _within_a_turn(bounds: Bounds, domain: Domain) -> Bounds:
    """Regions that go round a circle more than once are cut to once, about their own middle."""
    low, high = bounds
    round_ = domain.circular & (high - low > domain.sides)
    middle = (low + high) / 2
    return np.where(round_, middle - domain.sides / 2, low), np.where(round_, middle + domain.sides / 2, high)


def _standing(before: Bounds, after: Bounds, tolerance: float) -> BoolArray:
    """Whether no bound of a region moved by more than ``tolerance`` of its side: (B,)."""
    size = np.abs(before[1] - before[0])
    moves = np.maximum(np.abs(after[0] - before[0]), np.abs(after[1] - before[1]))
    return np.asarray((moves <= tolerance * size).all(1))
