import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.common.errors import UserError
from assay.tasks.srvr.domain import VIEW_DOMAIN, Domain
from assay.tasks.srvr.metric import intersection_over_union
from assay.tasks.srvr.published import METHOD_NAMES, load_published
from assay.tasks.srvr.regions import (
    METHODS,
    RegionSettings,
    central_differences,
    complement,
    corner_mask,
    grow_regions,
)

UNIT = Domain(("a", "b"), (0.0, 0.0), (10.0, 10.0))


def plateau(centre, half, sharpness=20.0):
    """A smooth box: 1 inside ``centre ± half``, 0 outside."""

    def score(searches, points):
        inside = 1 / (1 + np.exp(-sharpness * (np.asarray(half) - np.abs(points - centre))))
        return inside.prod(-1)

    return score


def linear(slopes, constant=0.3):
    return lambda _searches, points: constant + points @ np.asarray(slopes)


def one_step(score, low, high, method, **changes):
    """The update (-η ∂a, -η ∂b) / -η of a region [low, high], through the public function only."""
    middle, half = (np.array(low) + high) / 2, (np.array(high) - low)[0] / 2
    assert np.allclose(np.subtract(high, low), 2 * half)
    wide = Domain(tuple("abcd"[: len(low)]), (-1e6,) * len(low), (1e6,) * len(low))
    setting = RegionSettings(method, steps=1, step_size=1.0, half_width=half, as_published=True, **changes)
    found = grow_regions(score, [middle], wide, setting)
    return -(found.low[0] - low), -(found.high[0] - high)


def test_the_mask_counts_in_binary():
    assert corner_mask(2).tolist() == [[0, 1, 0, 1], [0, 0, 1, 1]]


def test_one_naive_step_in_one_dimension_follows_leibniz():
    """n = 1: V = r/2, so ∂a = f(a) - λ r and ∂b = -f(b) + λ r."""
    down_a, down_b = one_step(linear([0.1]), [1.0], [3.0], "naive", regulariser=0.05)
    assert down_a == pytest.approx([0.4 - 0.1])
    assert down_b == pytest.approx([-0.6 + 0.1])


def test_one_black_box_step_in_one_dimension():
    """∂a = 2 f(a) - (1+α/2) f(A) - α/2 f(B), from the paper's one-dimensional form."""
    alpha, low, high = 0.2, 1.0, 3.0
    f = lambda x: 0.3 + 0.1 * x  # noqa: E731
    outer_low, outer_high = low - alpha * 1.0, high + alpha * 1.0
    down_a, down_b = one_step(linear([0.1]), [low], [high], "OIR_B", alpha=alpha)
    assert down_a == pytest.approx([2 * f(low) - (1 + alpha / 2) * f(outer_low) - alpha / 2 * f(outer_high)])
    assert down_b == pytest.approx(
        [-2 * f(high) + (1 + alpha / 2) * f(outer_high) + alpha / 2 * f(outer_low)]
    )


def test_one_white_box_step_in_two_dimensions_matches_the_sums_written_out():
    low, high, beta = np.array([1.0, 2.0]), np.array([3.0, 4.0]), 0.01
    slopes = np.array([0.01, 0.02])
    down_a, down_b = one_step(linear(slopes), low, high, "OIR_W", beta=beta)
    size, volume = high - low, 4.0 / 4
    corners = [(i, j) for j in (0, 1) for i in (0, 1)]
    value = {c: 0.3 + slopes @ (low + size * np.array(c)) for c in corners}
    for k in (0, 1):
        upper, lower = (sum(value[c] for c in corners if c[k] == side) for side in (1, 0))
        other = 1 - k
        cross = sum(size[other] * (2 * c[other] - 1) * slopes[other] for c in corners if c[k] == 1) / size[k]
        expected_b = volume * (
            -((2 - 3 * beta) * upper - beta * lower) / size[k] + beta * 2 * slopes[k] + beta * cross
        )
        cross_low = (
            sum(-size[other] * (2 * c[other] - 1) * slopes[other] for c in corners if c[k] == 0) / size[k]
        )
        expected_a = volume * (
            ((2 - 3 * beta) * lower - beta * upper) / size[k] + beta * 2 * slopes[k] + beta * cross_low
        )
        assert down_a[k] == pytest.approx(expected_a)
        assert down_b[k] == pytest.approx(expected_b)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_the_trapezoid_step_is_the_gradient_of_the_trapezoid_loss(n):
    """L = -V Σf_D + λ/2 |r|²: its numerical gradient is the update, for any n."""
    generator = np.random.default_rng(n)
    weights = generator.uniform(-0.2, 0.2, (n, n))

    def score(searches, points):
        return 0.5 + 0.1 * np.sin(points @ weights).sum(-1)

    low, high, regulariser = np.full(n, 1.0), np.full(n, 2.5), 0.07

    def loss(a, b):
        corners = a + (b - a) * corner_mask(n).T
        volume = np.prod(b - a) / 2**n
        return -volume * score(None, corners[None]).sum() + regulariser / 2 * ((b - a) ** 2).sum()

    down_a, down_b = one_step(score, low, high, "trapezoid", regulariser=regulariser, difference_step=1e-4)
    for k in range(n):
        step = 1e-5 * np.eye(n)[k]
        assert down_a[k] == pytest.approx((loss(low + step, high) - loss(low - step, high)) / 2e-5, rel=1e-4)
        assert down_b[k] == pytest.approx((loss(low, high + step) - loss(low, high - step)) / 2e-5, rel=1e-4)


@pytest.mark.parametrize("method", ["OIR_B", "OIR_W"])
def test_without_emphasis_or_margin_both_ratios_are_the_naive_step_up_to_a_factor(method):
    score = plateau((2.0, 2.0), (1.5, 1.5), 2.0)
    limits = {"alpha": 0.0} if method == "OIR_B" else {"beta": 0.0}
    naive = one_step(score, [1.0, 1.5], [3.0, 3.5], "naive", regulariser=0.0)
    other = one_step(score, [1.0, 1.5], [3.0, 3.5], method, **limits)
    assert np.allclose(other, np.array(naive) * 1.0)


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("method", ["OIR_B", "naive"])
def test_a_region_grows_to_a_plateau_of_any_dimension(n, method):
    domain = Domain(tuple("abc"[:n]), (0.0,) * n, (10.0,) * n)
    centre, half = np.full(n, 5.0), np.full(n, 2.0)
    found = grow_regions(
        plateau(centre, half),
        [np.full(n, 4.5)],
        domain,
        RegionSettings(method, steps=1500, step_size=0.05, regulariser=0.01, half_width=0.2),
    )
    assert np.abs(found.low - 3.0).max() < 0.8
    assert np.abs(found.high - 7.0).max() < 0.8


@given(
    st.sampled_from(sorted(METHODS)),
    st.lists(st.tuples(st.floats(0, 360), st.floats(-10, 90)), min_size=1, max_size=4),
    st.integers(0, 100),
)
@settings(max_examples=25, deadline=None)
def test_regions_stay_inside_the_domain_with_ordered_bounds(method, points, seed):
    phase = np.random.default_rng(seed).uniform(0, 6, 2)

    def score(searches, where):
        return 0.5 + 0.5 * np.sin(np.deg2rad(where) * [1, 3] + phase).prod(-1)

    found = grow_regions(score, points, VIEW_DOMAIN, RegionSettings(method, steps=150))
    assert (found.low >= np.array(VIEW_DOMAIN.low)).all()
    assert (found.high <= np.array(VIEW_DOMAIN.high)).all()
    assert (found.high > found.low).all()


@given(st.permutations(range(5)), st.sampled_from(sorted(METHODS)))
@settings(max_examples=15, deadline=None)
def test_a_search_does_not_depend_on_its_companions(order, method):
    points = np.array([[50.0, 20], [130, 30], [200, 15], [310, 50], [5, 80]])

    def score(searches, where):
        return 0.5 + 0.4 * np.cos(np.deg2rad(where[..., 0]) + searches_phase[searches][:, None])

    searches_phase = np.arange(5.0)
    together = grow_regions(score, points, VIEW_DOMAIN, RegionSettings(method, steps=60))
    searches_phase = np.arange(5.0)[list(order)]
    shuffled = grow_regions(score, points[list(order)], VIEW_DOMAIN, RegionSettings(method, steps=60))
    assert np.allclose(together.low[list(order)], shuffled.low, atol=1e-12)
    assert np.array_equal(together.steps[list(order)], shuffled.steps)


def test_where_the_score_is_nought_the_region_stays_a_point_and_converges():
    found = grow_regions(linear([0.0, 0.0], 0.0), [[5.0, 5.0]], UNIT, RegionSettings("naive"))
    assert found.converged.all()
    assert found.steps[0] < 5
    assert np.allclose(found.high - found.low, 2e-5)


def test_where_the_score_is_one_the_ratio_methods_fill_the_domain_and_stop():
    found = grow_regions(linear([0.0, 0.0], 1.0), [[5.0, 5.0]], UNIT, RegionSettings("OIR_W"))
    assert np.allclose(found.low, 0)
    assert np.allclose(found.high, 10)
    assert found.converged.all()
    assert found.steps[0] < 600


def test_stopping_when_converged_does_not_change_the_answer():
    score = plateau((5.0, 5.0), (2.0, 2.0), 5.0)
    kwargs = {"steps": 2000, "regulariser": 0.05}
    early = grow_regions(score, [[4.5, 5.5]], UNIT, RegionSettings("naive", **kwargs))
    late = grow_regions(score, [[4.5, 5.5]], UNIT, RegionSettings("naive", tolerance=-1.0, **kwargs))
    assert early.converged.all()
    assert early.steps[0] < late.steps[0] == 2000
    assert np.allclose(early.low, late.low, atol=1e-3)


def test_as_published_leaves_the_domain_and_never_stops():
    found = grow_regions(
        linear([0.0, 0.0], 1.0), [[9.5, 5.0]], UNIT, RegionSettings("OIR_B", as_published=True)
    )
    assert found.high.max() > 10
    assert found.steps.tolist() == [600]
    assert not found.converged.any()


def test_the_trace_starts_at_the_point_and_ends_at_the_region():
    found = grow_regions(
        plateau((5.0, 5.0), (2.0, 2.0)), [[4.5, 5.5]], UNIT, RegionSettings("naive", steps=50)
    )
    assert found.trace.shape == (51, 1, 2, 2)
    assert np.allclose(found.trace[0, 0], [[4.49999, 5.49999], [4.50001, 5.50001]])
    assert np.array_equal(found.trace[-1, :, 0], found.low)
    assert np.array_equal(found.trace[-1, :, 1], found.high)


def test_a_search_that_diverges_is_marked_and_the_others_go_on():
    def score(searches, points):
        values = np.full(points.shape[:2], 0.5)
        values[searches == 0] = np.nan
        return values

    found = grow_regions(score, [[5.0, 5.0], [5.0, 5.0]], UNIT, RegionSettings("naive", steps=20))
    assert found.diverged.tolist() == [True, False]
    assert np.isfinite(found.low).all()
    assert found.steps.tolist() == [0, 20]


def test_central_differences_are_exact_for_a_linear_score():
    gradient = central_differences(linear([0.2, -0.1]), 0.5)
    slopes = gradient(np.arange(3), np.zeros((3, 4, 2)))
    assert np.allclose(slopes, np.broadcast_to([0.2, -0.1], (3, 4, 2)))


def test_a_given_gradient_is_used():
    calls = []

    def gradient(searches, points):
        calls.append(points.shape)
        return np.zeros_like(points)

    grow_regions(linear([0, 0]), [[5.0, 5.0]], UNIT, RegionSettings("OIR_W", steps=3), gradient)
    assert calls == [(1, 4, 2)] * 3


def test_adversarial_regions_are_robust_regions_of_the_complement():
    hole = plateau((5.0, 5.0), (2.0, 2.0), 5.0)
    found = grow_regions(
        complement(complement(hole)), [[4.5, 5.0]], UNIT, RegionSettings("OIR_B", steps=400, step_size=0.05)
    )
    same = grow_regions(hole, [[4.5, 5.0]], UNIT, RegionSettings("OIR_B", steps=400, step_size=0.05))
    assert np.allclose(found.low, same.low)
    assert complement(hole)(np.array([0]), np.array([[[5.0, 5.0]]]))[0, 0] < 1e-3


@pytest.mark.parametrize("point", [(400.0, 0.0), (0.0, -11.0), (math.nan, 0.0)])
def test_an_initial_point_outside_the_domain_is_a_clear_error(point):
    with pytest.raises(UserError, match=r"outside the domain; give azimuth_deg 0\.\.360"):
        grow_regions(linear([0, 0]), [point], VIEW_DOMAIN, RegionSettings("naive"))


def test_an_unknown_method_and_an_empty_domain_are_clear_errors():
    with pytest.raises(UserError, match="naive, OIR_B, OIR_W, trapezoid"):
        RegionSettings("oir")
    with pytest.raises(UserError, match="low must be below high"):
        Domain(("a",), (1.0,), (1.0,))


@pytest.mark.parametrize(("method", "median"), [("naive", 0.74), ("OIR_B", 0.56)])
def test_regions_regrown_on_the_published_maps_agree_with_the_published_ones(shared_srvr, method, median):
    agreement = []
    for network in load_published(shared_srvr / "published_dev.npz"):
        count, points = len(network.maps.unit_id), len(network.initial)
        found = grow_regions(
            network.maps.score(np.repeat(np.arange(count), points)),
            np.tile(network.initial, (count, 1)),
            VIEW_DOMAIN,
            RegionSettings(method),
        )
        published = network.regions_after[:, METHOD_NAMES.index(method)].reshape(-1, 2, 2)
        area = np.prod(np.diff(VIEW_DOMAIN.clip(published), axis=1)[:, 0], axis=1)
        overlap = intersection_over_union(np.stack((found.low, found.high), axis=1), published, VIEW_DOMAIN)
        agreement.extend(overlap[area > 100])
    assert len(agreement) > 200
    assert np.median(agreement) >= median


@pytest.mark.parametrize("tolerance", [-1.0, 1e9])
def test_the_shares_of_the_work_add_up_however_soon_the_searches_stop(tolerance):
    shares = []
    settings = RegionSettings("naive", steps=7, tolerance=tolerance)
    found = grow_regions(linear([0, 0], 1.0), [[5.0, 5.0]], UNIT, settings, advance=shares.append)
    assert sum(shares) == pytest.approx(1)
    assert len(shares) == found.steps[0] + 1


def test_a_point_of_too_few_coordinates_is_called_so():
    with pytest.raises(UserError, match=r"\(5\): it needs 2 coordinates"):
        grow_regions(linear([0, 0]), [[5.0]], UNIT, RegionSettings("naive"))
