"""Verbs on what a run left: `show`, `records` and `rm`. Nothing heavy is imported before one is used."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assay.commands.options import pasted
from assay.common.errors import UserError

if TYPE_CHECKING:
    from assay.results.document import ResultDocument

app = typer.Typer()


@app.command(epilog="Example: assay show out/first/results/efficientnet_lite0/adversarial/imagenet20.json")
def show(
    result: Annotated[Path, typer.Argument(help="A result document, or a run's folder for all of its.")],
    as_json: Annotated[
        bool, typer.Option("--json", help="The documents as JSON, a list for a folder.")
    ] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="The figures as a Markdown table.")] = False,
    latex: Annotated[bool, typer.Option("--latex", help="The figures as a LaTeX table (booktabs).")] = False,
) -> None:
    """Print one result, or all of a run: figures, guards, and the command that repeats each."""
    from assay.results.document import read_result
    from assay.results.tables import results_text

    if as_json + markdown + latex > 1:
        raise UserError("--json, --markdown, --latex: choose one")
    paths = sorted((result / "results").rglob("*.json")) if result.is_dir() else [result]
    if not paths:
        raise UserError(f"{result}: holds no results; give a run's folder or a result document")
    documents = [read_result(path) for path in paths]
    if as_json:
        shown = [document.model_dump(mode="json") for document in documents]
        print(json.dumps(shown if result.is_dir() else shown[0], indent=1, ensure_ascii=False))
    elif markdown or latex:
        print(results_text(documents, "markdown" if markdown else "latex"))
    else:
        for place, document in zip(paths, documents, strict=True):
            _print_result(place, document)


def _print_result(result: Path, document: "ResultDocument") -> None:
    from assay.common.tables import text_table
    from assay.results.tables import display_status, terminal_table

    print(f"{document.title}\n{document.model.name}: {display_status(document)}")
    if document.reason:
        print(document.reason)
    for guard in document.failed_guards:
        print(f"GUARD FAILED: {guard.name}: {guard.detail}")
    for note in document.model.notes:
        print(f"{document.model.name}: {note}")
    for remark in document.data.remarks:
        print(f"{document.data.name}: {remark}")
    print(terminal_table([document]))
    guards = [
        [guard.name, "passed" if guard.passed else "FAILED", guard.value, guard.limit, guard.detail]
        for guard in sorted(document.guards, key=lambda guard: guard.passed)
    ]
    print("\n" + text_table(guards, headers=["guard", "outcome", "figure", "limit", "what was looked at"]))
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
    """Print a job's per-unit records as CSV.

    Where others sent adversarial images (`assay rescore RUN --challenge`), rows with the method `best known` follow.
    """
    from assay.board.submissions.challenged_run import found_elsewhere
    from assay.runner.assemble import records_csv, stored_job
    from assay.runner.store import RunFolder

    folder = RunFolder.existing(directory)
    wanted = Path(task).stem if task.endswith((".yaml", ".yml")) else task
    job = stored_job(folder, model, wanted)
    if job is not None:
        sys.stdout.write(records_csv(job, found_elsewhere(job)))
        return
    there = (
        "; ".join(f"--model {entry['model']} --task {entry['task']}" for entry in folder.index()) or "nothing"
    )
    raise UserError(f"{directory}: holds no records of model {model!r} and task {task!r}; it holds: {there}")


@app.command(epilog="Example: assay rm out/first --model resnet18")
def rm(
    directory: Annotated[Path, typer.Argument(help="A run's folder.")],
    model: Annotated[str | None, typer.Option("--model", help="Of this model.")] = None,
    task: Annotated[str | None, typer.Option("--task", help="Of this task.")] = None,
) -> None:
    """Remove a model's or a task's results from a run, and write its CSV and page again."""
    from assay.commands.running import print_report
    from assay.runner.lock import exclusive
    from assay.runner.remove import remove
    from assay.runner.store import RunFolder

    if model is None and task is None:
        raise UserError(
            "rm: say which results, by --model, --task or both; delete the folder yourself for all of it"
        )
    folder = RunFolder.existing(directory)
    with exclusive(directory):
        for gone in remove(folder, model, task):
            print(f"removed: {' · '.join(gone)}", file=sys.stderr)
        print_report(folder)
