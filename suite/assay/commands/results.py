"""Verbs that read what a run left: `show` and `records`. Nothing heavy is imported before one is used."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from assay.commands.options import pasted
from assay.common.errors import UserError

app = typer.Typer()


@app.command(epilog="Example: assay show out/first/results/efficientnet_lite0/adversarial/imagenet20.json")
def show(result: Annotated[Path, typer.Argument(help="A result document.")]) -> None:
    """Print one result: its figures, its guards, and the command that repeats it."""
    from tabulate import tabulate

    from assay.results.document import read_result
    from assay.results.tables import display_status, terminal_table

    document = read_result(result)
    print(f"{document.title}\n{document.model.name}: {display_status(document)}")
    if document.reason:
        print(document.reason)
    for note in document.model.notes:
        print(f"{document.model.name}: {note}")
    for remark in document.data.remarks:
        print(f"{document.data.name}: {remark}")
    print(terminal_table([document]))
    guards = [
        [guard.name, "passed" if guard.passed else "FAILED", guard.value, guard.limit, guard.detail]
        for guard in document.guards
    ]
    print("\n" + tabulate(guards, headers=["guard", "outcome", "figure", "limit", "what was looked at"]))
    print(f"\nrepeat: {pasted(document.command, _run_of(result))}")


def _run_of(result: Path) -> Path:
    """The run's folder that a result document lies in: ``DIR/results/MODEL/TASK.json``; ``out`` where it is in none."""
    places = [place.parent for place in result.resolve().parents if place.name == "results"]
    return next((place for place in places if (place / "jobs").is_dir()), Path("out"))


@app.command(
    epilog="Example: assay records out/first --model efficientnet_lite0 --task adversarial/imagenet20 > r.csv"
)
def records(
    directory: Annotated[Path, typer.Argument(help="A run's folder.")],
    model: Annotated[str, typer.Option("--model", help="The model's name.")],
    task: Annotated[str, typer.Option("--task", help="The task's id.")],
) -> None:
    """Print a job's per-unit records as CSV."""
    from assay.runner.assemble import records_csv, stored_jobs
    from assay.runner.store import RunFolder

    folder = RunFolder.existing(directory)
    wanted = Path(task).stem if task.endswith((".yaml", ".yml")) else task
    for job in stored_jobs(folder):
        if (job.document["model"]["name"], job.document["task"]) == (model, wanted):
            sys.stdout.write(records_csv(job))
            return
    there = (
        "; ".join(f"--model {entry['model']} --task {entry['task']}" for entry in folder.index()) or "nothing"
    )
    raise UserError(f"{directory}: holds no records of model {model!r} and task {task!r}; it holds: {there}")
