"""The options that several verbs share, and the requests that follow from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assay.errors import UserError

if TYPE_CHECKING:
    from assay.runner.jobs import JobRequest


class Dtype(StrEnum):
    """In which precision a network computes."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


Tasks = Annotated[
    list[str] | None, typer.Option("--task", help="A task's id, or a path to a spec of your own (repeat it).")
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
SaveAdversarial = Annotated[
    bool,
    typer.Option(
        "--save-adversarial", help="Keep adversarial images (`assay verify-adversarial`); in the job's key."
    ),
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
    save_adversarial: bool = False
    data: str | None = None
    trusted: Sequence[str] = ()

    def requests(self, device: str) -> "list[JobRequest]":
        """One request a model and task.

        Raises:
            UserError: no task; no batch size; weights for other than one model; a task without a default model.
        """
        from assay.runner.jobs import JobRequest
        from assay.runner.precision import Precision

        if not self.tasks:
            raise UserError("--task: name at least one task; see `assay list tasks`")
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
                switches=("save_adversarial",) if self.save_adversarial else (),
                data=self.data,
                trusted=tuple(self.trusted),
            )
            for task in self.tasks
            for model in self.models or [default_model(task)]
        ]


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
