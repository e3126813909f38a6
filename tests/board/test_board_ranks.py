"""Places: certain where intervals are apart, shared where they overlap."""

from hypothesis import given
from hypothesis import strategies as st

from assay.board.site.ranks import Interval, Places, tied_places


def interval(value, below, above):
    return Interval(value, value - below, value + above)


SPREAD = st.floats(0, 3)
intervals = st.lists(st.builds(interval, st.floats(-9, 9), SPREAD, SPREAD), max_size=25)


def test_apart_overlapping_and_apart_again():
    figures = [
        Interval(0.9, 0.85, 0.95),
        Interval(0.5, 0.4, 0.6),
        Interval(0.55, 0.45, 0.65),
        Interval(0.1, 0, 0.2),
    ]
    assert tied_places(figures) == [Places(1, 1), Places(2, 3), Places(2, 3), Places(4, 4)]
    assert tied_places(figures, "lower") == [Places(4, 4), Places(2, 3), Places(2, 3), Places(1, 1)]


@given(intervals, st.sampled_from(["higher", "lower"]))
def test_places_are_what_counting_pairs_gives(figures, better):
    sign = 1 if better == "higher" else -1
    for figure, places in zip(figures, tied_places(figures, better), strict=True):
        low, high = sorted((sign * figure.low, sign * figure.high))
        ahead = sum(min(sign * other.low, sign * other.high) > high for other in figures)
        behind = sum(max(sign * other.low, sign * other.high) < low for other in figures)
        assert places == (1 + ahead, len(figures) - behind)


@given(intervals)
def test_the_best_value_may_be_first_and_every_place_can_be_filled(figures):
    places = tied_places(figures)
    assert all(1 <= one.best <= one.worst <= len(figures) for one in places)
    if figures:
        assert places[max(range(len(figures)), key=lambda at: figures[at].value)].best == 1
        assert min(one.best for one in places) == 1
        assert max(one.worst for one in places) == len(figures)


def test_figures_without_intervals_rank_as_usual():
    figures = [Interval(value, value, value) for value in (3.0, 1.0, 2.0, 2.0)]
    assert tied_places(figures) == [Places(1, 1), Places(4, 4), Places(2, 3), Places(2, 3)]


def test_no_figures_no_places():
    assert tied_places([]) == []
