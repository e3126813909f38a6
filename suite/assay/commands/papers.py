"""The verb that reproduces a paper; nothing heavy is imported before it runs."""

import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assay.commands.options import DataRoots, Devices, Quiet, devices

if TYPE_CHECKING:
    from assay.papers.plan import Reproduction

app = typer.Typer()


class ScaleOption(StrEnum):
    """How much of a paper is reproduced."""

    SMOKE = "smoke"
    CPU = "cpu"
    CPU_FASHION = "cpu-fashion"
    CPU_CIFAR10 = "cpu-cifar10"
    FULL = "full"


@app.command(epilog="Example: assay reproduce munakata --scale smoke --out out/munakata")
def reproduce(
    paper: Annotated[str, typer.Argument(help="karkehabadi, mangla, hamdi, dong, munakata, or a YAML file.")],
    scale: Annotated[
        ScaleOption,
        typer.Option(
            "--scale",
            help="smoke: minutes, embedded data; cpu, cpu-fashion, cpu-cifar10: under an hour; full: the paper's own.",
        ),
    ] = ScaleOption.SMOKE,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="The folder (out/papers/PAPER-SCALE); one that is there goes on."),
    ] = None,
    data_root: DataRoots = None,
    device: Devices = "cpu",
    workers: Annotated[
        str, typer.Option("--workers", help="Processes: a number, or auto (one per CPU core).")
    ] = "1",
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Say what would be done, what is missing, and how long it takes."),
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Reproduce a paper: train what is needed, run its tasks, and set published figures and claims beside ours."""
    if dry_run:
        print_plan(paper, scale, out, data_root, device)
    else:
        _carry_out(_planned(paper, scale, out, data_root, device), workers, quiet)


def print_plan(
    paper: str,
    scale: ScaleOption,
    out: Path | None,
    data_root: Sequence[Path] | None,
    device: str,
    times: int | None = None,
) -> None:
    """What ``assay plan --paper`` and ``assay reproduce --dry-run`` say."""
    from assay.papers.dry_run import plan_text

    print(plan_text(_planned(paper, scale, out, data_root, device), times))


def _planned(
    paper: str, scale: ScaleOption, out: Path | None, data_root: Sequence[Path] | None, device: str
) -> "Reproduction":
    from assay.papers.plan import Reproduction
    from assay.papers.spec.paper import load_paper

    found, home = load_paper(paper)
    return Reproduction(
        paper=found,
        scale_name=scale.value,
        home=home,
        out=out or Path("out/papers") / f"{found.paper}-{scale.value}",
        data_roots=tuple(str(root) for root in data_root or ()),
        device=devices(device)[0],
    )


def _carry_out(plan: "Reproduction", workers: str, quiet: bool) -> None:
    from assay.papers.execute import reproduce as carry_out
    from assay.papers.report import terminal_text, write
    from assay.runner import progress
    from assay.runner.choice import Choice, cores, worker_count
    from assay.runner.run import Runtime
    from assay.runner.worker import Limits

    choice = Choice("auto", (plan.device,), workers, "auto", Limits())
    count = worker_count(workers, cores())

    def runtime() -> Runtime:
        return Runtime(choice.executor(1), progress.display(quiet), _say)

    outcome = carry_out(plan, runtime, count, _say)
    written = write(outcome)
    print(terminal_text(outcome))
    print(f"\nfigures: {written.figures}\nclaims:  {written.claims}\npage:    {written.page}")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
