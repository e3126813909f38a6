"""The notebooks are executed anew, and say what they said: the same words, and numbers that agree."""

import re

import nbformat
import pytest
from execute_notebooks import executed

from documents_code import REPOSITORY

NOTEBOOKS = sorted((REPOSITORY / "docs" / "notebooks").glob("*.ipynb"))
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e-?\d+)?")
AGREE_WITHIN = 0.1
"""Of a number, or of 1: another processor rounds otherwise, and a picture or two of a hundred may then fall."""


def said(cell):
    """What a cell printed and showed as text; charts and pictures are known by their kinds."""
    for output in cell.get("outputs", ()):
        yield output["text"] if output.output_type == "stream" else output["data"]["text/plain"]
        if output.output_type != "stream":
            yield " ".join(sorted(output["data"]))


def numbers(text):
    return [float(found) for found in NUMBER.findall(text)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_says_again_what_it_says(path):
    stored = nbformat.read(path, as_version=4)
    again = executed(nbformat.read(path, as_version=4))
    for cell, anew in zip(stored.cells, again.cells, strict=True):
        before, after = (" ".join("\n".join(said(each)).split()) for each in (cell, anew))
        assert NUMBER.sub("#", before) == NUMBER.sub("#", after), cell.source
        assert numbers(after) == pytest.approx(numbers(before), rel=AGREE_WITHIN, abs=AGREE_WITHIN), (
            cell.source
        )


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_executed_and_small_and_names_no_machine(path):
    text = path.read_text(encoding="utf-8")
    notebook = nbformat.reads(text, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert len(text) < 500_000
    assert re.findall(r"/(?:home|root|tmp|work|usr)/[\w./-]+", text) == []
