"""The options that several verbs share, and the requests that follow from them."""

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assay.common.errors import UserError
from assay.tasks.families import SWITCHES, option_of
from assay.tracks import Scale, load_track, track_of

if TYPE_CHECKING:
    from assay.runner.jobs import JobRequest


BOARD = Path("leaderboard")
"""The leaderboard's folder, where a checkout has one."""


class Dtype(StrEnum):
    """In which precision a network computes."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


Tasks = Annotated[
    list[str] | None, typer.Option("--task", help="A task's id, or a path to a spec of your own (repeat it).")
]
Tracks = Annotated[
    list[str] | None,
    typer.Option(
        "--track",
        help="All tasks of a label space (repeat it; `assay list tracks`); the model's own without --task.",
    ),
]
TrackScales = Annotated[
    Scale,
    typer.Option("--scale", help="Of a track: embedded, minutes and no download; full, the field's data."),
]
Models = Annotated[
    list[str] | None,
    typer.Option("--model", help="A model's name (repeat it); the task's default model when left out."),
]
Weights = Annotated[
    Path | None,
    typer.Option("--weights", help="A checkpoint of your own for the model (.safetensors or .pth)."),
]
Limit = Annotated[
    int | None, typer.Option("--limit", min=1, help="Only the first N units; the result says so.")
]
Dtypes = Annotated[
    Dtype,
    typer.Option("--dtype", help="Precision of the network, where the task allows it; in the job's key."),
]
Tf32 = Annotated[bool, typer.Option("--tf32", help="Let CUDA round products to TF32; in the job's key.")]
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
    str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, or several: cuda:0,cuda:1 (a worker each).")
]
DataRoots = Annotated[
    list[Path] | None, typer.Option("--data-root", help="A folder to look for data in (repeat it for more).")
]
OwnData = Annotated[
    str | None,
    typer.Option(
        "--data",
        help="Pictures instead of the task's: a folder with one folder a class (named by WordNet id, ImageNet's or the "
        "model's class names), or a data set's name or manifest.",
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


def with_switches(verb: Callable[..., None]) -> Callable[..., None]:
    """Give a verb a flag for each switch of the families; it gets the fields that are on as ``switches``."""
    shown = inspect.signature(verb)
    flags = {
        name: inspect.Parameter(
            name,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=False,
            annotation=Annotated[bool, typer.Option(option_of(name), help=text)],
        )
        for name, text in SWITCHES.items()
    }

    @functools.wraps(verb)
    def taking_flags(**given: Any) -> None:
        on = tuple(name for name in flags if given.pop(name))
        verb(**given, switches=on)

    kept = [parameter for name, parameter in shown.parameters.items() if name != "switches"]
    taking_flags.__signature__ = shown.replace(parameters=[*kept, *flags.values()])  # type: ignore[attr-defined]
    taking_flags.__annotations__ = {
        parameter.name: parameter.annotation for parameter in (*kept, *flags.values())
    }
    return taking_flags


@dataclass(frozen=True)
class Asked:
    """What a user asked for, before it is taken apart into jobs; the values here are those of options left out."""

    tasks: Sequence[str] = ()
    models: Sequence[str] = ()
    weights: Path | None = None
    limit: int | None = None
    dtype: Dtype = Dtype.FLOAT32
    tf32: bool = False
    threads: int = 1
    batch_size: str = "auto"
    data_roots: Sequence[Path] = ()
    switches: Sequence[str] = ()
    data: str | None = None
    trusted: Sequence[str] = ()
    tracks: Sequence[str] = ()
    scale: Scale = Scale.EMBEDDED

    def requests(self, device: str) -> "list[JobRequest]":
        """One request per model and task.

        Raises:
            UserError: neither task nor track nor model; an unknown track, or a model that has none; no batch size;
                weights for other than one model; a task without a default model.
        """
        from assay.runner.jobs import JobRequest
        from assay.runner.precision import Precision

        if self.weights is not None and len(self.models) != 1:
            raise UserError("--weights: belongs to exactly one model; name it with one --model")
        return [
            JobRequest(
                model=model,
                task=task,
                weights=str(self.weights) if self.weights else None,
                limit=self.limit,
                precision=Precision(self.dtype.value, self.tf32, self.threads),
                device=device,
                batch_size=_batch_size(self.batch_size),
                data_roots=tuple(str(root) for root in self.data_roots),
                switches=tuple(self.switches),
                data=self.data,
                trusted=tuple(self.trusted),
            )
            for model, task in self._pairs()
        ]

    def _pairs(self) -> list[tuple[str, str]]:
        """Model and task of every job, each once: tasks first, then tracks, in the order of the command."""
        pairs = [(model, task) for task in self.tasks for model in self.models or [default_model(task)]]
        for name in self.tracks:
            track = load_track(name)
            models = self.models or [track.default_model]
            pairs += [(model, task) for model in models for task in track.at(self.scale).tasks]
        if not self.tasks and not self.tracks:
            pairs = [(model, task) for model in self.models for task in self._own_track(model)]
        if not pairs:
            raise UserError(
                "name a --model, which is run on its own track, or a --task or --track "
                "(`assay list models`, `assay list tasks`, `assay list tracks`)"
            )
        return list(dict.fromkeys(pairs))

    def _own_track(self, model: str) -> Sequence[str]:
        """The tasks of the track of the model's label space."""
        from assay.models.zoo import label_space_of

        space = label_space_of(model, self.weights)
        found = track_of(space)
        if found is None:
            raise UserError(
                f"model {model!r}: there is no track of its label space {space!r}; name tasks with --task"
            )
        return found[1].at(self.scale).tasks


def _batch_size(text: str) -> int | None:
    if text == "auto":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise UserError(f"--batch-size: expected a number from 1 or auto (got {text!r})")
    return int(text)


def default_model(task: str) -> str:
    """The model that a task is run on when none is named.

    Raises:
        UserError: unknown task, or it names none.
    """
    from assay.tasks.families import load_spec

    default = load_spec(task).spec.default_model
    if default is None:
        raise UserError(f"task {task!r} names no default model; choose one with --model")
    return default


def devices(text: str) -> list[str]:
    """``auto`` or a list such as ``cuda:0,cuda:1`` as devices that are there.

    Raises:
        UserError: an unknown device, or one that is not there.
    """
    if text == "auto":
        import torch

        return ["cuda" if torch.cuda.is_available() else "cpu"]
    from assay.models.loaded import torch_device

    return [str(torch_device(name.strip())) for name in text.split(",")]
