"""One call from a network to a run."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from assay.api.arguments import fields, one_of, texts
from assay.api.run import Run, run_in
from assay.common.errors import UserError
from assay.tasks.tracks import Scale, load_track, shipped_tracks

if TYPE_CHECKING:
    from torch import nn

    from assay.models.in_memory import Said
    from assay.runner.jobs import JobRequest
    from assay.runner.progress import Display


def evaluate(
    model: "str | Path | nn.Module",
    task: str | Path | Sequence[str | Path],
    *,
    preprocessing: "Said" = None,
    name: str | None = None,
    data: str | Path | None = None,
    limit: int | None = None,
    settings: Mapping[str, Any] | None = None,
    scale: str = "embedded",
    device: str = "auto",
    batch_size: int | None = None,
    threads: int = 1,
    weights: str | Path | None = None,
    data_roots: Sequence[str | Path] = (),
    out: str | Path | None = None,
    progress: bool = True,
) -> Run:
    """Ask a network one task, several, or a track's, in this process.

    Args:
        model: a name of `assay list models`, a model card's path, ``package.module:factory``, or a module in memory,
            which is copied and left as it is.
        task: a task's id, a spec file's path, a track's name, a family (its tasks of the model's label space), or
            several of them.
        preprocessing: of a module in memory: a dictionary of a model card's fields (``input``, ``label_space``, …) or
            of ``crop``, ``mean``, ``std``, ``resize`` and ``label_space``; where it is left out, pixels in [0, 1].
        name: under which a module in memory is filed; its class's name where it is left out.
        data: pictures instead of the task's: a data set's name, a manifest, or a folder with one folder per class.
        limit: only so many pictures or shapes, as many of each class; the result says so.
        settings: other values of the task's fields, such as ``{"eps": "3/255", "attacks": "fgsm"}``, as `--set` takes
            them; in the key and in the title.
        scale: of a track: ``embedded``, ``medium`` or ``full``.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
        batch_size: images in one pass; None for what the family takes. No part of the answer.
        threads: of the CPU; part of the answer's last bits.
        weights: a checkpoint for a model that is given by name.
        data_roots: folders to look for data in.
        out: the run's folder, which a later call goes on with; a temporary one, gone with the run, where left out.
        progress: show a line for each job.

    Returns:
        The run: its results, its figures and its card.

    Raises:
        UserError: anything that a user can mend, in one sentence.
    """
    from torch import nn

    from assay.models.given import whole_number
    from assay.runner.executors import InProcess
    from assay.runner.jobs import JobRequest
    from assay.runner.plan import plan_jobs
    from assay.runner.precision import Precision
    from assay.runner.progress import display
    from assay.runner.run import Runtime, run_jobs

    for what, number in (("limit", limit), ("batch_size", batch_size), ("threads", threads)):
        whole_number(what, number)
    wanted, size = texts("task", task), one_of(Scale, "scale", scale)
    place = _device(device)
    in_memory = isinstance(model, nn.Module)
    called = (name or type(model).__name__) if in_memory else str(model)
    _check_given(model, name, preprocessing, weights)
    asked = JobRequest(
        model=called,
        task="",
        weights=str(weights) if weights is not None else None,
        limit=limit,
        precision=Precision(threads=threads),
        device=place,
        batch_size=batch_size,
        data_roots=tuple(texts("data_roots", data_roots)),
        data=str(data) if data is not None else None,
        settings=tuple(f"{key}={_as_yaml(value)}" for key, value in fields("settings", settings).items()),
    )
    shown: Display = display(quiet=not progress)
    with ExitStack() as stack:
        stack.enter_context(_torch_left_as_it_is())
        if isinstance(model, nn.Module):
            from assay.models.in_memory import known_as

            stack.enter_context(known_as(called, model, preprocessing))
        jobs = plan_jobs([replace(asked, task=each) for each in tasks_of(wanted, size, asked)])
        kept = None if out is not None else TemporaryDirectory(prefix="assay-")
        folder = Path(out) if out is not None else Path(kept.name) / "run" if kept else Path()
        run_jobs(jobs, folder, Runtime(InProcess(place), shown, shown.say))
    return run_in(folder, kept)


def tasks_of(given: Sequence[str], scale: Scale, asked: "JobRequest") -> list[str]:
    """Ids and spec files, with every track's and family's name replaced by its tasks, each once.

    Args:
        given: names.
        scale: of tracks.
        asked: whose model chooses among a family's tasks.

    Raises:
        UserError: none is named, or a family has none for the model.
    """
    found = [each for name in given for each in _tasks_called(name, scale, asked)]
    if not found:
        raise UserError("task: name at least one (`assay list tasks`, `assay list tracks`)")
    return list(dict.fromkeys(found))


def _tasks_called(name: str, scale: Scale, asked: "JobRequest") -> Sequence[str]:
    from assay.tasks.families import tasks_for

    if name in shipped_tracks():
        return load_track(name).at(scale).tasks
    return tasks_for(name, asked.model, asked.weights, f"task={name!r}", lambda _: "name one")


def _as_yaml(value: Any) -> str:
    """A value as it would be typed."""
    return str(value) if isinstance(value, str | Fraction) else json.dumps(value, default=str)


def _device(device: str) -> str:
    import torch

    from assay.models.loaded import torch_device

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return str(torch_device(device))


def _check_given(model: Any, name: str | None, preprocessing: "Said", weights: str | Path | None) -> None:
    from torch import nn

    in_memory = isinstance(model, nn.Module)
    if not in_memory and not isinstance(model, str | Path):
        from assay.models.in_memory import no_model

        raise no_model(model)
    if in_memory and weights is not None:
        raise UserError("weights: belong to a model that is given by name; load them into the module")
    if not in_memory and preprocessing is not None:
        raise UserError("preprocessing: belongs to a module in memory; a name or card brings its own")
    if not in_memory and name is not None:
        raise UserError("name: belongs to a module in memory; another model has its own name")


@contextmanager
def _torch_left_as_it_is() -> Iterator[None]:
    """Give the caller's process its threads and its arithmetic back: a job sets its own."""
    import torch

    threads = torch.get_num_threads()
    tf32 = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    cudnn = torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = tf32
        torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = cudnn
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
