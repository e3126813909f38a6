"""The documents keep to the program: their commands, files, specs and links are real ones."""

import re
from functools import cache

import click
import pytest
import typer

from assay.cli import app
from assay.common.validation import read_yaml, validate
from assay.data.manifest import DataManifest
from assay.models.card_file import CardFile
from assay.tasks.families import MODULES, family
from documents_code import FENCED, PAGES, REPOSITORY, blocks, prose, words

PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(REPOSITORY).as_posix())


@cache
def verbs():
    """Every verb, with the options that it has."""
    command = typer.main.get_command(app)
    context = click.Context(command)
    return {
        name: {text for parameter in command.get_command(context, name).params for text in parameter.opts}
        for name in command.list_commands(context)
    }


def commands(page):
    """Every command that the page shows: in blocks of the shell's, and between backticks."""
    inline = re.findall(r"`((?:assay|make) [^`]+)`", " ".join(prose(page).split("\n")))
    return [*(line for block in blocks(page) for line in block.commands), *inline]


def test_the_readme_is_short_and_fits_a_terminal():
    lines = (REPOSITORY / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 120
    assert [line for line in lines if len(line) > 100] == []


@PAGE
def test_every_command_has_a_verb_and_options_that_there_are(page):
    for command in commands(page):
        program, *rest = words(command)
        if program == "assay" and rest[0] not in {"VERB", "--help", "--install-completion"}:
            assert rest[0] in verbs(), command
            unknown = [word for word in rest if re.match(r"--[a-z]", word) and word not in verbs()[rest[0]]]
            assert [word for word in unknown if word != "--help"] == [], command


@PAGE
def test_every_line_of_a_shell_is_a_known_program_s(page):
    """What is neither Assay's nor make's: the set-up, the checks of the repository, a scheduler."""
    others = {"pip", "python", "python3", ".venv/bin/pip", ".venv/bin/pytest", ".venv/bin/pre-commit", "pytest",
              "apt-get", "srun", "export", "."}  # fmt: skip
    for block in blocks(page):
        for command in block.commands:
            program, *rest = words(command)
            assert program in {"assay", "make", *others}, command
            named = [word.partition("::")[0] for word in rest if word.startswith("tests/")]
            assert [name for name in named if not (REPOSITORY / name).exists()] == [], command


@PAGE
def test_every_make_target_is_in_the_makefile(page):
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    for command in commands(page):
        program, *rest = words(command)
        if program == "make":
            assert rest[0] in targets, command


@PAGE
def test_every_file_that_a_page_names_is_there(page):
    linked = re.findall(r"\]\(([^)#:]+)\)", prose(page))
    assert [name for name in linked if not (page.parent / name).exists()] == []
    roots = "suite|tests|docs|benchmarks|data_manifests|leaderboard"
    named = re.findall(rf"`((?:{roots})/[\w./-]+)`", prose(page))
    generated = ("leaderboard/submissions/", "leaderboard/site", "leaderboard/tiers", "docs/cards/*")
    assert [
        name for name in named if not name.startswith(generated) and not (REPOSITORY / name).exists()
    ] == []


@pytest.mark.parametrize(
    ("page", "model"),
    [
        ("docs/models.md", CardFile),
        ("docs/cookbook/own-pictures.md", CardFile),
        ("docs/data.md", DataManifest),
    ],
)
def test_the_documents_shown_are_valid(page, model, tmp_path):
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    shown = [body for kind, body in FENCED.findall(text) if kind == "yaml"]
    assert shown
    for block in shown:
        (tmp_path / "shown.yaml").write_text(block)
        validate(model, read_yaml(tmp_path / "shown.yaml"), page)


@PAGE
def test_the_specs_shown_are_valid(page, tmp_path):
    for block in blocks(page):
        named = re.search(r"^family: (\w+)$", block.body, re.MULTILINE) if block.kind == "yaml" else None
        if named and named[1] in MODULES:  # docs/families.md shows one of a family of its own
            (tmp_path / "shown.yaml").write_text(block.body)
            validate(family(named[1]).spec_type, read_yaml(tmp_path / "shown.yaml"), page.name)
