"""The verb that writes a file to begin with: `assay init`. Every key has its sentence beside it."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from assay.common.errors import UserError

app = typer.Typer()


class StarterFile(StrEnum):
    """What ``assay init`` can write."""

    DATA = "data"
    TASK = "task"
    RECIPE = "recipe"
    SUBMISSION = "submission"


@app.command(epilog="Example: assay init task adversarial --out mine.yaml")
def init(
    kind: Annotated[StarterFile, typer.Argument(help="data, task, recipe or submission")],
    of: Annotated[
        str | None,
        typer.Argument(
            help="data: the folder with one folder per class; task: a family, or a task to begin from."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="The file to write; nothing there is replaced.")
    ] = None,
) -> None:
    """Write a file to begin with, each key with a comment: of a data set, a task, a recipe or a submission."""
    from assay.commands import templates

    if (of is None) == (kind in (StarterFile.DATA, StarterFile.TASK)):
        needs = {
            "data": "a folder: assay init data FOLDER",
            "task": "a family or a task: assay init task FAMILY",
        }
        raise UserError(f"init {kind.value}: {'takes nothing else' if of else f'needs {needs[kind.value]}'}")
    if kind is StarterFile.DATA:
        folder = Path(str(of))
        place, text = out or folder.with_name(f"{folder.name}.yaml"), templates.data(folder, out)
    elif kind is StarterFile.TASK:
        place, text = out or Path("task.yaml"), templates.task(str(of))
    elif kind is StarterFile.RECIPE:
        place, text = out or Path("recipe.yaml"), templates.recipe()
    else:
        place, text = out or Path("submission.yaml"), templates.submission()
    if place.exists():
        raise UserError(f"{place}: is there already, and is not replaced; name another file with --out")
    from assay.common.atomic import write_atomically

    write_atomically(place, text)
    print(f"{place}: edit it, then {_next(kind, place)}")


def _next(kind: StarterFile, place: Path) -> str:
    return {
        StarterFile.DATA: f"assay validate {place}; use it with --data {place}",
        StarterFile.TASK: f"assay validate {place}; use it with --task {place}",
        StarterFile.RECIPE: f"assay validate {place}; use it with assay train {place} --out DIR",
        StarterFile.SUBMISSION: f"assay submit DIR --metadata {place}",
    }[kind]
