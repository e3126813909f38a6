"""A table is as wide as it is where a program reads it, and folds where a person's terminal is narrower."""

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.common.tables import folded_table

HEADERS = ["name", "what it is", "N"]
ROWS = [
    ["adversarial/digits", "Accuracy under attack, 450 digits of 8 x 8 pixels", 450],
    ["b", "short", 0.25],
]


def words(text):
    return sorted(word for word in text.split() if set(word) != {"-"})


@pytest.mark.parametrize("width", [None, 200])
def test_a_table_that_fits_stays_as_it_is(width):
    table = folded_table(ROWS, HEADERS, width)
    assert table.splitlines()[2].split("  ")[0] == "adversarial/digits"
    assert len(table.splitlines()) == 4


def test_a_narrow_terminal_folds_sentences_and_breaks_no_word():
    table = folded_table(ROWS, HEADERS, 50)
    assert max(map(len, table.splitlines())) <= 50
    assert words(table) == words(folded_table(ROWS, HEADERS, None))


def test_where_no_folding_helps_each_row_is_a_block():
    blocks = folded_table(ROWS, HEADERS, 30).split("\n\n")
    assert [block.splitlines()[0] for block in blocks] == ["name        adversarial/digits", "name        b"]
    assert blocks[1].splitlines()[1:] == ["what it is  short", "N           0.25"]


@given(
    st.lists(
        st.tuples(st.text("ab c", max_size=60), st.integers(0, 9), st.text("xy z", max_size=9)), max_size=4
    ),
    st.integers(25, 90),
)
def test_no_line_is_wider_than_the_terminal_and_no_letter_is_lost(rows, width):
    table = folded_table(rows, ["1", "2", "3"], width)
    whole = folded_table(rows, ["1", "2", "3"], None)
    assert max(map(len, table.splitlines()), default=0) <= width
    assert [table.count(each) for each in "abcxyz"] == [whole.count(each) for each in "abcxyz"]


def test_rows_of_names_are_taken_too_and_nothing_is_no_row():
    table = folded_table([{"name": "a" * 20, "size": 1.23456}], "keys", 24, floatfmt=".3g")
    assert table.splitlines() == ["name  aaaaaaaaaaaaaaaaaa", "      aa", "size  1.23"]
    assert folded_table([], "keys", 20) == ""


def test_a_verb_folds_on_a_terminal_and_not_in_a_pipe():
    pty = pytest.importorskip("pty", reason="terminals of Windows are others")
    verb = [sys.executable, "-m", "assay.cli", "list", "tasks", "--filter", "digits"]
    environment = os.environ | {"COLUMNS": "60"}
    piped = subprocess.run(verb, capture_output=True, text=True, check=True, env=environment).stdout
    ours, theirs = pty.openpty()
    with subprocess.Popen(verb, stdout=theirs, env=environment) as running:
        os.close(theirs)
        shown = b""
        while part := _read(ours):
            shown += part
    assert running.returncode == 0
    assert max(map(len, piped.splitlines())) > 60
    assert max(map(len, shown.decode().splitlines())) <= 60


def _read(descriptor):
    """What the other end of a terminal wrote; nothing where it is closed."""
    try:
        return os.read(descriptor, 65536)
    except OSError:
        return b""
