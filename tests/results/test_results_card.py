"""The card: few lines, none too long, and nothing that a reader must know left out."""

import re

import pytest

from assay.results.card import LINES, WIDTH, Background, card
from assay.results.document import Coverage, Guard, Metric, Status
from assay.results.tables import unit_and_direction
from result_documents import document

PLACES = ["csv:    o/results.csv", "page:   o/index.html", "all:    assay report o --table"]


def lines_of(results, demonstrations=None, meanings=None, without=None, standing=None):
    background = Background(demonstrations or {}, meanings or (), without or {}, standing or {})
    return card(results, background, PLACES).splitlines()


def of(model, **changes):
    named = document().model.model_copy(update={"name": model})
    return document(model=named, **changes)


def test_a_line_has_family_heading_figure_interval_and_count():
    metric = Metric(
        name="radius",
        value=0.5,
        ci_low=0.25,
        ci_high=0.75,
        n=20,
        unit="1/255",
        title="Radius withstood",
        direction="up",
    )
    lines = lines_of([document(metrics=(metric,), headline="radius")])
    assert lines[0] == "m"
    assert lines[1].split() == [
        "adversarial", "Radius", "withstood,", "1/255", "↑", "0.5", "[0.25,", "0.75]", "n", "20",
    ]  # fmt: skip


def test_of_several_tasks_of_a_family_each_line_says_which_it_is():
    lines = lines_of([document(task="adversarial/digits"), document(task="adversarial/digits-strong")])
    assert lines[1].split()[:3] == ["adversarial", "digits:", "clean_accuracy"]
    assert lines[2].split()[:3] == ["adversarial", "digits-strong:", "clean_accuracy"]


def test_where_the_figure_stands_on_the_board_is_said_after_it():
    lines = lines_of([document()], standing={("m", "adversarial/t"): "behind 3 to 5 of 9"})
    assert lines[1].endswith("n 4  behind 3 to 5 of 9")


@pytest.mark.parametrize(
    ("evidence", "direction", "said"),
    [
        ("found", "up", "↑ ≤ 0.5  n 20  found"),
        ("found", "down", "↓ ≥ 0.5  n 20  found"),
        ("looked at", "up", "↑ 0.5  n 20  found"),
        ("proved", "up", "↑ 0.5  n 20  proved"),
        ("", "up", "↑ 0.5  n 20"),
    ],
)
def test_what_was_found_is_told_from_what_was_proved_by_a_word_and_by_a_sign(evidence, direction, said):
    """The truth is no better than what was found, so better up is at most, better down at least so much."""
    metric = Metric(name="radius", value=0.5, n=20, unit="ratio", title="R", direction=direction)
    result = document(metrics=(metric,), headline="radius")
    line = card([result], Background(evidence={(result.task, "radius"): evidence}), PLACES).splitlines()[1]
    assert re.sub(r"(?<! ) +(?=[≤≥0])", " ", line).endswith(said)


def test_a_heading_too_long_for_its_line_goes_on_in_the_next_where_there_is_room():
    title = "At least: change of the attention found, median, brightness + patch"
    metric = Metric(
        name="r", value=0.5, ci_low=0.25, ci_high=0.75, n=20, unit="ratio", title=title, direction="down"
    )
    lines = lines_of([document(metrics=(metric,), headline="r")])
    assert lines[2].startswith(" " * 16)
    words = f"{lines[1][16:].split(' 0.5 ')[0].strip()} {lines[2].strip()}"
    assert words == f"{title}, ratio ↓"
    many = lines_of([of(f"m{number}", metrics=(metric,), headline="r") for number in range(9)])
    assert len(many) <= LINES
    assert all("…, ratio ↓" in line for line in many[1:18:2])


def test_a_reason_too_long_for_its_line_ends_where_its_first_part_ends():
    reason = (
        "the network has no convolution over a spatial map; name a layer, or choose a convolutional network"
    )
    line = lines_of([document(status=Status.NOT_APPLICABLE, reason=reason, metrics=())])[1]
    assert line.endswith("n/a: the network has no convolution over a spatial map")


def test_the_headline_is_shown_and_not_the_first_figure():
    figures = (
        Metric(name="a", value=1, n=1, unit="", headline=True),
        Metric(name="b", value=2, n=1, unit=""),
    )
    assert " b " in lines_of([document(metrics=figures, headline="b")])[1]
    assert " a " in lines_of([document(metrics=figures)])[1]  # a result of before


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"status": Status.NOT_APPLICABLE, "reason": "other labels", "metrics": ()}, "n/a: other labels"),
        ({"status": Status.PARTIAL, "reason": "two units failed"}, "! partial"),
        ({"coverage": Coverage(units=9, done=4, errors=0, limited=True)}, "! limited"),
        (
            {"guards": (Guard(name="enough_images", passed=False, detail="d"),)},
            "! guard failed: enough_images",
        ),
        ({"metrics": (), "reason": "nothing was run"}, "no figure: nothing was run"),
    ],
)
def test_what_a_reader_must_not_overlook_stands_in_the_line(changes, said):
    assert said in lines_of([document(**changes)])[1]


def test_on_a_narrow_terminal_nothing_that_a_reader_must_know_is_cut():
    guards = (Guard(name="gradient_not_zero", passed=False, detail="d"),)
    results = [of("a", guards=guards)]
    background = Background(meanings=[("adversarial", "adversarial: what stands under attack.")])
    narrow = card(results, background, PLACES, 60)
    assert max(map(len, narrow.splitlines())) <= 60
    assert narrow.split() == card(results, background, PLACES).split()
    assert "gradient_not_zero" in narrow


def test_a_demonstration_shows_its_reason_and_no_figure():
    line = lines_of([document()], demonstrations={"adversarial/t": "too few images"})[1]
    assert "demonstration: too few images" in line
    assert "75.0" not in line


def test_a_family_without_a_task_says_why_and_each_family_has_one_sentence():
    lines = lines_of(
        [document()], meanings=[("adversarial", "adversarial: what stands.")], without={"srvr": "no shapes"}
    )
    assert lines[2].split(maxsplit=1) == ["srvr", "n/a: no shapes"]
    assert lines[3:5] == ["", "adversarial: what stands."]
    assert lines[-3:] == PLACES


@pytest.mark.parametrize("models", [1, 5, 8, 9, 100])
def test_no_run_is_longer_or_wider_than_a_card(models):
    results = [
        of(f"model-{number}-{'y' * 90}", reason="x" * 200, status=Status.NOT_APPLICABLE)
        for number in range(models)
    ]
    lines = lines_of(results, meanings=[("adversarial", "word " * 60)])
    assert len(lines) <= LINES
    assert max(map(len, lines)) <= WIDTH
    assert lines[-3:] == PLACES
    assert any("more lines" in line for line in lines) == (2 * models > LINES - len(PLACES) - 2)


def test_a_unit_stands_with_the_direction_where_they_are_known():
    assert unit_and_direction("proportion", "up") == "% ↑"
    assert unit_and_direction("1/255", "lower") == "1/255 ↓"
    assert unit_and_direction("", "none") == ""
