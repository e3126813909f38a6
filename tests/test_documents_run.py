"""The code on the pages is run: every block of a page in its order, in one folder, as a reader would."""

import re
import shutil
import sys
from contextlib import chdir
from pathlib import Path

import matplotlib.image
import pytest
from sklearn.datasets import load_digits

from documents_code import PAGES, REPOSITORY, blocks, words

READ_ONLY = {
    "README.md": "its two commands make the set-up; their card is that of the quick start",
    "CONTRIBUTING.md": "set-up and tests",
    "leaderboard/README.md": "how the admitted rows were made: hours, on data that are not here",
    "docs/boards.md": "figures of the board, whose rows took hours",
    "docs/command_line.md": "capitals stand for what the reader has",
    "docs/corruptions.md": "its measurements take minutes, on networks that are not here",
    "docs/data.md": "names a folder that the reader has; the cookbook runs it",
    "docs/families.md": "tests/tasks/test_toy_family.py runs its files, word for word",
    "docs/measured.md": "how the figures were measured: hours, on data that are not here",
    "docs/models.md": "names networks that the reader has; the cookbook runs it",
    "docs/results.md": "capitals stand for what the reader has",
    "docs/search.md": "its run takes minutes, on networks of which one is not here",
    "docs/study.md": "names networks that the reader has; tests/board/test_board_study.py runs the verb",
}
"""Pages whose commands are only held against the command line, and why."""
RUN = [
    page
    for page in PAGES
    if page.relative_to(REPOSITORY).as_posix() not in READ_ONLY
    and any(block.kind == "python" or block.commands for block in blocks(page))
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A reader's folder: Assay's documents, a leaderboard without rows, and a picture of her own."""
    (tmp_path / "benchmarks").symlink_to(REPOSITORY / "benchmarks")
    shutil.copytree(
        REPOSITORY / "leaderboard",
        tmp_path / "leaderboard",
        ignore=shutil.ignore_patterns("submissions", "tiers"),
    )
    matplotlib.image.imsave(tmp_path / "digit.png", load_digits().images[1400] / 16, cmap="gray")
    monkeypatch.setattr(sys, "path", sys.path.copy())
    before = set(sys.modules)
    with chdir(tmp_path):
        yield tmp_path
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "/").is_relative_to(tmp_path):
            del sys.modules[name]


@pytest.mark.parametrize("page", RUN, ids=lambda page: page.relative_to(REPOSITORY).as_posix())
def test_a_page_s_code_does_what_it_says(page, folder, assay, one_thread):
    """A block that begins with a file's name as a remark is that file; of commands, those of Assay are run."""
    names = {"__name__": "__main__"}
    for block in blocks(page):
        if block.not_run:
            continue
        named = re.match(r"# ([\w./-]+\.(?:py|yaml))\n", block.body)
        if named:
            (folder / named[1]).write_text(block.body)
        elif block.kind == "python":
            exec(compile(block.body, page.name, "exec"), names)
        for command in block.commands:
            _run(command, assay)


def _run(command, assay):
    program, *rest = words(command)
    if program != "assay":
        return
    into = rest.index(">") if ">" in rest else None
    code, output, complaint = assay(*rest[:into])
    assert code == 0, f"{command}: {complaint or output}"
    if into is not None:
        Path(rest[into + 1]).write_text(output)


def test_pages_that_are_only_read_are_there():
    assert [name for name in READ_ONLY if not (REPOSITORY / name).is_file()] == []
