"""Verbs on what there is: `list`, `fetch` and `validate`. Nothing heavy is imported before one is used."""

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from assay.commands.options import DataRoots
from assay.common.errors import UserError

app = typer.Typer()


class Listing(StrEnum):
    """What ``assay list`` can list."""

    MODELS = "models"
    TASKS = "tasks"
    DATA = "data"
    RECIPES = "recipes"
    TRACKS = "tracks"


@app.command(name="list", epilog="Example: assay list models --sort licence --filter available=yes")
def list_(
    what: Annotated[Listing, typer.Argument(help="models, tasks, tracks, data or recipes")],
    sort: Annotated[str, typer.Option("--sort", help="The column to sort by.")] = "name",
    keep: Annotated[
        list[str] | None,
        typer.Option(
            "--filter",
            help="Only rows with this text in them, or with it in one column: COLUMN=TEXT (repeat it: all must hold).",
        ),
    ] = None,
    data_root: DataRoots = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """List what there is: where it comes from, and whether it is available offline now."""
    from assay.commands import listing
    from assay.common.tables import text_table

    rows = listing.rows(what.value, tuple(data_root or ()))
    if sort not in rows[0]:
        raise UserError(f"--sort: unknown column {sort!r}; choose one of {', '.join(rows[0])}")
    ordered = sorted(listing.filtered(rows, keep or ()), key=lambda row: row[sort])
    if not ordered:
        raise UserError(
            f"--filter {' '.join(keep or ())}: fits none of {len(rows)} {what.value}; leave it out to see all"
        )
    print(json.dumps(ordered, indent=1) if as_json else text_table(ordered, headers="keys"))


@app.command(epilog="Example: assay fetch cifar10-test")
def fetch(
    manifest: Annotated[str, typer.Argument(help="A data set's name, or a path to a manifest of your own.")],
    root: Annotated[
        Path | None,
        typer.Argument(
            help="The folder to put it in, which is then given to `run` as --data-root; left out, one that is always "
            "looked in.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Download a data set from the addresses in its manifest, verify and unpack it; an interrupted one goes on."""
    from assay.commands.downloads import shown
    from assay.data.fetch import fetch as fetch_files
    from assay.data.manifest import load_manifest
    from assay.data.places import fetched_root

    with shown() as advance:
        folder = fetch_files(load_manifest(manifest), root or fetched_root(), advance)
    use = f"use it with --data-root {root}" if root else "every verb finds it there"
    print(f"{folder}: complete; {use}")


@app.command(epilog="Example: assay validate my_task.yaml my_data.yaml out/first/results/m/t.json")
def validate(
    files: Annotated[
        list[Path], typer.Argument(help="Task specs, recipes, data manifests or result documents.")
    ],
) -> None:
    """Check files. Every wrong one gets one line, and the exit code is then 2."""
    from assay.commands import listing

    wrong = 0
    for path in files:
        try:
            print(f"{path}: valid {listing.kind_of(path)}")
        except UserError as error:
            wrong += 1
            print(f"assay: {error}", file=sys.stderr)
    if wrong:
        raise typer.Exit(2)
