"""The command line. Nothing heavy is imported before a verb needs it, so that ``assay --help`` answers at once."""

import io
import os
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from assay import __version__
from assay.board.commands import app as board_commands
from assay.commands import accuracy, doctor, papers, running, saliency, srvr, srvr_maps, training
from assay.commands.options import DataRoots
from assay.errors import UserError
from assay.tasks.adversarial import commands as adversarial_commands
from assay.tasks.verification import commands as verification_commands

INTERRUPTED = 130  # a shell's code for what SIGINT ended

app = typer.Typer(
    name="assay",
    help="How far can an image classifier's answer, and what it looks at, be trusted when the input changes?",
    epilog="Example: assay run --model efficientnet_lite0 --task adversarial/imagenet20 --out out/first",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(srvr.app)
app.add_typer(srvr_maps.app)
app.add_typer(papers.app)
app.add_typer(board_commands)


class Listing(StrEnum):
    """What ``assay list`` can list."""

    MODELS = "models"
    TASKS = "tasks"
    DATA = "data"
    RECIPES = "recipes"
    TRACKS = "tracks"


for verb, example in (
    (running.plan, "plan --model efficientnet_lite0 --task adversarial/imagenet20"),
    (running.run, "run --model efficientnet_lite0 --task adversarial/imagenet20 --out out/first --limit 5"),
    (running.merge, "merge out/shard1 out/shard2 --out out/whole"),
    (running.report, "report out/first"),
    (running.status, "status out/first"),
    (accuracy.accuracy, "accuracy mine.yaml --data cifar10-test --limit 1000"),
    (doctor.doctor, "doctor onnx:net.onnx --data cifar10-test --write net.yaml"),
    (training.train, "train smoke/regular --out out/regular"),
    (saliency.saliency, "saliency efficientnet_lite0 dog.jpg --method grad_cam_pp --out dog.png"),
    (saliency.alignment, "alignment digits_fnn digits --limit 100"),
):
    app.command(epilog=f"Example: assay {example}")(verb)


@app.command(name="list", epilog="Example: assay list models --sort licence")
def list_(
    what: Annotated[Listing, typer.Argument(help="models, tasks, tracks, data or recipes")],
    sort: Annotated[str, typer.Option("--sort", help="The column to sort by.")] = "name",
    data_root: DataRoots = None,
) -> None:
    """List what there is: where it comes from, and whether it is available offline now."""
    from tabulate import tabulate

    from assay import catalogue

    rows = catalogue.rows(what.value, tuple(data_root or ()))
    if sort not in rows[0]:
        raise UserError(f"--sort: unknown column {sort!r}; choose one of {', '.join(rows[0])}")
    ordered = sorted(rows, key=lambda row: row[sort])
    print(tabulate(ordered, headers="keys", tablefmt="simple"))


@app.command(epilog="Example: assay fetch mnist-test data")
def fetch(
    manifest: Annotated[str, typer.Argument(help="A data set's name, or a path to a manifest of your own.")],
    root: Annotated[Path, typer.Argument(help="The folder to put it in; give it to `run` as --data-root.")],
) -> None:
    """Download a data set from the addresses in its manifest; every file's SHA-256 is checked."""
    from assay.data.fetch import fetch as fetch_files
    from assay.data.manifest import load_manifest

    print(f"{fetch_files(load_manifest(manifest), root)}: complete; use it with --data-root {root}")


@app.command(epilog="Example: assay validate my_task.yaml my_data.yaml out/first/results/m/t.json")
def validate(
    files: Annotated[
        list[Path], typer.Argument(help="Task specs, recipes, data manifests or result documents.")
    ],
) -> None:
    """Check files; every one that is wrong gets a line, and the exit code is then 2."""
    from assay import catalogue

    wrong = 0
    for path in files:
        try:
            print(f"{path}: valid {catalogue.kind_of(path)}")
        except UserError as error:
            wrong += 1
            print(f"assay: {error}", file=sys.stderr)
    if wrong:
        raise typer.Exit(2)


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
    print(f"\nrepeat: {document.command}")


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


def _stored_jobs(directory: Path) -> list[tuple[Any, Any]]:
    """The documents and records of a run's jobs."""
    from assay.runner.assemble import stored_jobs
    from assay.runner.store import RunFolder

    return [(job.document, job.records()) for job in stored_jobs(RunFolder.existing(directory))]


adversarial_commands.register(app, _stored_jobs)
verification_commands.register(app)


def _version(value: bool) -> None:
    if value:
        print(f"assay {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Hold the options that stand before a verb."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; what a user can mend is one line on standard error and exit code 2."""
    _print_anything()
    code = _guarded(lambda: app(args=arguments, standalone_mode=False))
    if code == INTERRUPTED:
        # All is stored and closed. An orderly exit would take torch apart for another second or more, and wait for
        # a thread that hangs at a picture.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _print_anything() -> None:
    """Let a string that no terminal can show be printed escaped: names in files of others may hold any code point."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _guarded(command: Callable[[], Any]) -> int:
    """The exit code of ``command``, with errors turned into one line each."""
    try:
        code = command()
    except UserError as error:
        print(f"assay: {error}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except BrokenPipeError:
        return 141
    except Exception as error:
        if (known := _message_and_code(error)) is None:
            raise
        print(known[0], file=sys.stderr)
        return known[1]
    if code == INTERRUPTED:  # so the option parser, too, says that it was Ctrl-C
        print("assay: stopped", file=sys.stderr)
    return code if isinstance(code, int) else 0


def _message_and_code(error: Exception) -> tuple[str, int] | None:
    """What to print and the exit code for a stopped run or a wrong option; None for a defect of ours."""
    if type(error).__name__ == "InterruptedRunError":
        return f"assay: {error}", INTERRUPTED
    usage = getattr(error, "format_message", None)  # how the option parser's exceptions speak
    if usage is None:
        return None
    message = usage()
    # `assay` alone raises its help text; anything else is one line.
    return message if "\n" in message else f"assay: {message} (see `assay --help`)", 2


if __name__ == "__main__":
    if not sys.flags.safe_path:
        del sys.path[0]  # `python -m` puts the working directory there, where a stranger's files may lie
    main()
