"""The options that several verbs share."""

import functools
import inspect
import shlex
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from assay.data.draw import Draw
from assay.tasks.families import SWITCHES, families, option_of
from assay.tasks.task_spec import shipped_specs
from assay.tasks.tracks import Scale, shipped_tracks

Made = TypeVar("Made")

BOARD = Path("leaderboard")
"""The leaderboard's folder, where a checkout has one."""


class Dtype(StrEnum):
    """The precision in which a network computes."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    AUTOCAST = "autocast"


def _tasks_beginning(incomplete: str) -> list[str]:
    """For the shell: ids of tasks, families and tracks that begin so."""
    names = (*shipped_specs(), *families(), *shipped_tracks())
    return [name for name in names if name.startswith(incomplete)]


def _tracks_beginning(incomplete: str) -> list[str]:
    return [name for name in shipped_tracks() if name.startswith(incomplete)]


Tasks = Annotated[
    list[str] | None,
    typer.Option(
        "--task",
        autocompletion=_tasks_beginning,
        help="A task's id, a spec file of your own (NAME=FILE: filed under NAME), a family (its tasks of "
        "the model's label space) or a track (repeat it).",
    ),
]
Tracks = Annotated[
    list[str] | None,
    typer.Option(
        "--track",
        autocompletion=_tracks_beginning,
        help="All tasks of a label space (repeat it; `assay list tracks`); the model's own without --task.",
    ),
]
TrackScales = Annotated[
    Scale,
    typer.Option(
        "--scale",
        help="Of a track: embedded, minutes and no download; medium, data that are free to fetch and a laptop's time; "
        "full, the field's data.",
    ),
]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        help="A model's name, a list with commas, a pattern such as 'nets/*.yaml', @FILE with one per line, or "
        "NAME=MODEL@WEIGHTS (repeat it); the task's default model when left out.",
    ),
]
Name = Annotated[
    str | None, typer.Option("--name", help="What the one model's results are filed under, not its own name.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="A field of the task, KEY=VALUE, such as eps=3/255 or attacks=fgsm (repeat it); in the job's key.",
    ),
]
SkipUnavailable = Annotated[
    bool, typer.Option("--skip-unavailable", help="Leave out what needs models or data that are not here.")
]
Weights = Annotated[
    Path | None,
    typer.Option("--weights", help="A checkpoint of your own for the model (.safetensors or .pth)."),
]
Limit = Annotated[
    int | None,
    typer.Option(
        "--limit",
        min=1,
        help="Only N pictures (of shapes: N shapes), as many of each class; the result says so.",
    ),
]
Draws = Annotated[
    Draw,
    typer.Option(
        "--draw", help="What --limit takes: a seeded draw with as many of each class, or the first units."
    ),
]
Dtypes = Annotated[
    Dtype,
    typer.Option("--dtype", help="Precision of the network, where the task allows it; in the job's key."),
]
Tf32 = Annotated[bool, typer.Option("--tf32", help="Let CUDA round products to TF32; in the job's key.")]
ChannelsLast = Annotated[
    bool, typer.Option("--channels-last", help="Weights in channels-last order; in the job's key.")
]
FastThreads = Annotated[
    int, typer.Option("--threads", min=1, help="CPU threads; more than free cores only wait for each other.")
]
Threads = Annotated[
    int,
    typer.Option("--threads", min=1, help="CPU threads of each worker; changes last bits: in the job's key."),
]
BatchSize = Annotated[
    str, typer.Option("--batch-size", help="Images in one pass: a number, or auto (the family chooses).")
]
Devices = Annotated[
    str,
    typer.Option(
        "--device",
        help="auto (every GPU, else cpu), cpu, cuda, cuda:1, or several: cuda:0,cuda:1 (one worker each).",
    ),
]
DataRoots = Annotated[
    list[Path] | None, typer.Option("--data-root", help="A folder to look for data in (repeat it for more).")
]
OwnData = Annotated[
    str | None,
    typer.Option(
        "--data",
        help="Pictures instead of the task's: a folder with one folder per class (named by WordNet id, ImageNet's "
        "or the model's class names), or a data set's name or manifest. With ~CORRUPTION:SEVERITY behind it, such as "
        "~fog:3, its pictures are corrupted.",
    ),
]
Trusted = Annotated[
    list[str] | None,
    typer.Option(
        "--trust",
        help="A model of your own that a spec or recipe may name, such as package.module:factory (repeat it).",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress, only the table.")]


def with_options_of(made: Callable[..., Any], name: str, verb: Callable[..., Made]) -> Callable[..., Made]:
    """The verb with the options that ``made`` takes in place of its parameter ``name``, which is made of them."""
    options = [*inspect.signature(made).parameters.values()]

    @functools.wraps(verb)
    def taking_options(**given: Any) -> Made:
        own = {option.name: given.pop(option.name) for option in options}
        return verb(**given, **{name: made(**own)})

    shown = inspect.signature(verb)
    parameters = [
        each for own in shown.parameters.values() for each in (options if own.name == name else [own])
    ]
    taking_options.__signature__ = shown.replace(parameters=parameters)  # type: ignore[attr-defined]
    taking_options.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return taking_options


def with_switches(verb: Callable[..., Made]) -> Callable[..., Made]:
    """The verb with a flag for each switch of the families; it gets the fields that are on as ``switches``."""

    def switched_on(**flags: bool) -> tuple[str, ...]:
        return tuple(name for name, on in flags.items() if on)

    flags = [
        inspect.Parameter(
            name,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=False,
            annotation=Annotated[bool, typer.Option(option_of(name), help=text)],
        )
        for name, text in SWITCHES.items()
    ]
    switched_on.__signature__ = inspect.Signature(flags)  # type: ignore[attr-defined]
    return with_options_of(switched_on, "switches", verb)


def pasted(command: str, folder: Path) -> str:
    """The command that repeats a job, with its real folder in place of the one that every document states."""
    return f"{command.removesuffix(' --out out')} --out {shlex.quote(str(folder))}"


def all_gpus(count: int) -> list[str]:
    """So many GPUs by their names; one alone is ``cuda``."""
    return ["cuda"] if count == 1 else [f"cuda:{number}" for number in range(count)]


def devices(text: str) -> list[str]:
    """``auto`` (every GPU, else the CPU) or a list such as ``cuda:0,cuda:1`` as devices that are there.

    Raises:
        UserError: an unknown device, or one that is not there.
    """
    if text == "auto":
        import torch

        return all_gpus(torch.cuda.device_count()) or ["cpu"]
    from assay.models.loaded import torch_device

    return [str(torch_device(name.strip())) for name in text.split(",")]
