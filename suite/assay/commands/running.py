"""The verbs that compute or look at what was computed: plan, run, merge, report, status."""

import json
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from assay.commands.around_a_run import (
    nothing_ran,
    requests_here,
    say,
    say_board,
    say_remarks,
)
from assay.commands.options import BOARD, Devices, Quiet, SkipUnavailable, TrackScales, devices, pasted
from assay.commands.papers import ScaleOption, print_plan
from assay.commands.run_options import RunOptions, with_asked_options
from assay.common.errors import UserError
from assay.common.shown import on_one_line
from assay.tasks.tracks import Scale

app = typer.Typer()


class ExecutorName(StrEnum):
    """What computes the chunks."""

    AUTO = "auto"
    HERE = "here"
    POOL = "pool"
    RAY = "ray"


class PlanScale(StrEnum):
    """How much of a track (embedded, medium, full) or of a paper (the others, and full) is planned."""

    EMBEDDED = "embedded"
    MEDIUM = "medium"
    SMOKE = "smoke"
    CPU = "cpu"
    CPU_FASHION = "cpu-fashion"
    CPU_CIFAR10 = "cpu-cifar10"
    FULL = "full"


FullTable = Annotated[
    bool, typer.Option("--table", help="Print every figure, and the commands that repeat them, not the card.")
]


class ReportForm(StrEnum):
    """How a run's figures are printed."""

    CARD = "card"
    TABLE = "table"
    MARKDOWN = "markdown"
    LATEX = "latex"
    JSON = "json"
    CSV = "csv"


Out = Annotated[Path, typer.Option("--out", help="The run's folder; a run that is there already goes on.")]


@app.command(
    epilog="Example: assay run --model efficientnet_lite0 --task adversarial/imagenet20 --out out/first --limit 5"
)
@with_asked_options
def run(
    out: Out,
    asked: RunOptions,
    scale: TrackScales = Scale.EMBEDDED,
    skip_unavailable: SkipUnavailable = False,
    plan: Annotated[
        Path | None,
        typer.Option(
            "--plan",
            help="Run exactly what this plan says (`assay plan --json > FILE`); models and files of "
            "your own are named again.",
        ),
    ] = None,
    device: Devices = "auto",
    executor: Annotated[
        ExecutorName,
        typer.Option("--executor", help="here: this process; pool: worker processes; ray: a cluster."),
    ] = ExecutorName.AUTO,
    workers: Annotated[
        str,
        typer.Option("--workers", help="Worker processes per device: a number, or auto (one per CPU core)."),
    ] = "1",
    address: Annotated[
        str, typer.Option("--address", help="Ray's address (local: one of its own).")
    ] = "auto",
    shard: Annotated[
        str, typer.Option("--shard", help="Only part i of n, as i/n; then `assay merge`.")
    ] = "1/1",
    unit_timeout: Annotated[
        float | None, typer.Option("--unit-timeout", min=0.001, help="Seconds a unit may take.")
    ] = None,
    chunk_timeout: Annotated[
        float | None, typer.Option("--chunk-timeout", min=0.001, help="Seconds a chunk may take.")
    ] = None,
    retry_errors: Annotated[bool, typer.Option("--retry-errors", help="Compute failed units again.")] = False,
    with_host: Annotated[
        bool, typer.Option("--hostname", help="Note this host's name in provenance.")
    ] = False,
    quiet: Quiet = False,
    table: FullTable = False,
) -> None:
    """Run tasks on models; only what is not stored yet is computed."""
    # How batch systems announce the end of the time: stop as after Ctrl-C, with the lock freed and the log closed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if not quiet and sys.stderr.isatty():  # for who waits; elsewhere a mistake is the one line
        say(f"{out}: getting networks and data ready")  # torch alone takes seconds to be there

    from assay.runner import progress
    from assay.runner.choice import Choice
    from assay.runner.jobs import JobRequest
    from assay.runner.plan import WHOLE, Shard, plan_jobs
    from assay.runner.planfile import NamedAgain, read_plan
    from assay.runner.run import Runtime, run_jobs
    from assay.runner.store import RunFolder
    from assay.runner.worker import Limits

    # This machine only plans; the GPUs are those of the cluster.
    on_cluster = executor is ExecutorName.RAY
    chosen = ["cpu"] if on_cluster else devices(device)
    asked = replace(asked, scale=scale)
    part = Shard.parse(shard)
    places = (device,) if on_cluster else tuple(chosen)
    choice = Choice(executor.value, places, workers, address, Limits(unit_timeout, chunk_timeout))
    named = NamedAgain(asked.models, asked.tasks, asked.weights, asked.trusted, asked.data, asked.settings)
    if plan and asked != RunOptions(
        named.tasks,
        named.models,
        named.weights,
        data=named.data,
        trusted=named.trusted,
        settings=named.settings,
    ):
        raise UserError(
            "--plan: says what to run and in which precision; leave out the options that `assay plan` was given, but "
            "for the --model, --weights, --task, --data, --set and --trust that are your own"
        )
    requests: Sequence[JobRequest] = ()
    if plan:
        jobs = read_plan(plan, chosen[0], named)
    else:
        requests = requests_here(asked, chosen[0], skip_unavailable)
        jobs = plan_jobs(requests)
    runs_on = choice.executor(max(job.request.precision.threads for job in jobs))
    display = progress.display(quiet)
    say_remarks(jobs)
    RunFolder(out)  # refuses what is no place for a run, before anything is printed
    if requests and not quiet:
        say_board(requests)
    folder = run_jobs(jobs, out, Runtime(runs_on, display, say, part, retry_errors, with_host))
    if part == WHOLE:
        print_report(folder, ReportForm.TABLE if table else ReportForm.CARD)
    else:
        print(f"shard {shard} is stored in {out}; when all are: assay merge DIR... --out DIR")


@app.command(epilog="Example: assay merge out/shard1 out/shard2 --out out/whole")
def merge(
    directories: Annotated[list[Path], typer.Argument(help="The folders of all shards.")],
    out: Annotated[Path, typer.Option("--out", help="A new folder for the whole run.")],
) -> None:
    """Put the shards of a run together; everything is checked before anything is written."""
    from assay.runner.shards import merge as merge_shards

    print_report(merge_shards(directories, out))


@app.command(epilog="Example: assay report out/first")
def report(
    directory: Annotated[Path, typer.Argument(help="A run's folder.")],
    form: Annotated[
        ReportForm,
        typer.Option("--format", help="card; table: every figure; markdown, latex, json, csv: these alone."),
    ] = ReportForm.CARD,
    table: FullTable = False,
) -> None:
    """Write the CSV and the page again from what is stored, and print the card or the figures in another form."""
    from assay.runner.lock import exclusive
    from assay.runner.store import RunFolder

    folder = RunFolder.existing(directory)
    with exclusive(directory):
        print_report(folder, ReportForm.TABLE if table else form)


@app.command(epilog="Example: assay status out/first")
def status(
    directory: Annotated[Path, typer.Argument(help="A run's folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show how far a run is, from any shell: running, finished, stopped or dead."""
    from assay.runner.status import run_status, status_text

    found = run_status(directory)
    print(json.dumps(found.as_dict(), indent=1) if as_json else status_text(found))


@app.command(epilog="Example: assay plan --model efficientnet_lite0 --task adversarial/imagenet20")
@with_asked_options
def plan(
    asked: RunOptions,
    skip_unavailable: SkipUnavailable = False,
    device: Devices = "cpu",
    out: Annotated[
        Path | None,
        typer.Option("--out", help="The run's folder: what is stored there need not be computed."),
    ] = None,
    calibrate: Annotated[
        float, typer.Option("--calibrate", min=0, help="Seconds to spend on measuring jobs; 0 for none.")
    ] = 20.0,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for `assay run --plan`.")] = False,
    paper: Annotated[
        str | None, typer.Option("--paper", help="Instead of tasks: a paper that `assay reproduce` knows.")
    ] = None,
    scale: Annotated[
        PlanScale | None,
        typer.Option(
            "--scale", help="A track's: embedded, medium or full; a paper's: as `assay reproduce` has."
        ),
    ] = None,
    times: Annotated[
        int | None,
        typer.Option(
            "--times", min=1, help="With --paper: also the time that N times the images would take."
        ),
    ] = None,
) -> None:
    """Show what a run would do: jobs, keys, chunks, what is stored, and estimates of time and memory."""
    from assay.runner.estimate import estimates
    from assay.runner.plan import plan_jobs, survey
    from assay.runner.planfile import plan_document, plan_table

    if paper is not None:
        if asked != RunOptions(data_roots=asked.data_roots) or as_json:
            raise UserError("--paper: goes with --scale, --out, --data-root, --device and --times alone")
        size = _scale_of(scale, ScaleOption, ScaleOption.SMOKE)
        print_plan(paper, size, out, asked.data_roots, device, times)
        return
    if times is not None:
        raise UserError("--times: goes with --paper alone")
    asked = replace(asked, scale=_scale_of(scale, Scale, Scale.EMBEDDED))
    chosen = devices(device)[0] if device != "cpu" else "cpu"
    jobs = plan_jobs(requests_here(asked, chosen, skip_unavailable))
    say_remarks(jobs)
    surveys = survey(jobs, out)
    document = plan_document(surveys, estimates(surveys, out, calibrate))
    print(json.dumps(document, indent=1) if as_json else plan_table(document))


ScaleT = TypeVar("ScaleT", bound=StrEnum)


def _scale_of(given: PlanScale | None, kind: type[ScaleT], default: ScaleT) -> ScaleT:
    """The scale that was given as one of ``kind``."""
    if given is None:
        return default
    if given.value not in {member.value for member in kind}:
        raise UserError(
            f"--scale: expected {' or '.join(member.value for member in kind)} (got {given.value})"
        )
    return kind(given.value)


def print_report(folder: Any, form: ReportForm = ReportForm.CARD) -> None:
    """Write the report and print its card, or its figures in another form; exit code 1 when a result is partial."""
    from assay.board.background import background_of
    from assay.board.page import run_page
    from assay.common.tables import terminal_width
    from assay.results.card import WIDTH, card
    from assay.results.document import Status
    from assay.results.tables import results_text, terminal_table
    from assay.runner.assemble import write_report
    from assay.runner.files import write_atomically

    written = write_report(folder)
    page = folder.path / "index.html"
    background = background_of(written.results, BOARD)
    write_atomically(page, run_page(written.results, written.figures, background))
    places = [f"csv:    {folder.path / 'results.csv'}", f"page:   {page}"]
    if form is ReportForm.TABLE:
        print(terminal_table(written.results))
        print()
        for command in dict.fromkeys(result.command for result in written.results):
            print(f"repeat: {pasted(command, folder.path)}")
        print("\n".join(places))
    elif form is not ReportForm.CARD:
        print(results_text(written.results, form.value))
    else:
        places.append(f"all:    assay report {folder.path} --table")
        print(card(written.results, background, places, terminal_width() or WIDTH))
    partial = [result for result in written.results if result.status is Status.PARTIAL]
    for result in partial:
        why = on_one_line(f"{result.model.name} · {result.task}: {result.reason}")
        print(f"partial: {why}", file=sys.stderr)
    if partial or nothing_ran(written.results):
        raise typer.Exit(1)
