"""What a user asked for, taken apart into one request per model and task."""

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from assay.commands.options import (
    BatchSize,
    ChannelsLast,
    DataRoots,
    Draws,
    Dtype,
    Dtypes,
    Limit,
    Models,
    Name,
    OwnData,
    Settings,
    Tasks,
    Tf32,
    Threads,
    Tracks,
    Trusted,
    Weights,
    with_options_of,
    with_switches,
)  # fmt: skip
from assay.commands.requested_models import RequestedModel, asked_models, checked_name
from assay.common.errors import UserError
from assay.data.draw import Draw
from assay.tasks.families import families, tasks_for
from assay.tasks.tracks import Scale, load_track, shipped_tracks, track_of

if TYPE_CHECKING:
    from assay.runner.jobs import JobRequest


@dataclass(frozen=True)
class RunOptions:
    """What a user asked for, before it is taken apart into jobs; the defaults here are those of the options."""

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
    name: str | None = None
    settings: Sequence[str] = ()
    draw: Draw = Draw.BALANCED
    channels_last: bool = False

    @cached_property
    def chosen(self) -> list[RequestedModel]:
        """The models that ``--model``, ``--name`` and ``--weights`` name.

        Raises:
            UserError: a pattern that nothing fits; a name or weights, but not exactly one model.
        """
        found = asked_models(self.models)
        for option, given in (("--weights", self.weights), ("--name", self.name)):
            if given is not None and len(found) != 1:
                raise UserError(f"{option}: belongs to exactly one model; name it with one --model")
        if self.weights is not None:
            found = [found[0]._replace(weights=str(self.weights))]
        if self.name is not None:
            found = [found[0]._replace(name=checked_name(self.name, "--name"))]
        return found

    def requests(self, device: str) -> "list[JobRequest]":
        """One request per model and task.

        Raises:
            UserError: no task, track or model; an unknown track, or a model without one; a bad batch size; a name or
                weights, but not exactly one model; a task without a default model.
        """
        from assay.runner.jobs import JobRequest
        from assay.runner.precision import Precision

        return [
            JobRequest(
                model=model.model,
                task=task,
                name=model.name,
                weights=model.weights,
                limit=self.limit,
                draw=self.draw,
                precision=Precision(self.dtype.value, self.tf32, self.threads, self.channels_last),
                device=device,
                batch_size=_batch_size(self.batch_size),
                data_roots=tuple(str(root) for root in self.data_roots),
                switches=tuple(self.switches),
                data=self.data,
                trusted=tuple(self.trusted),
                settings=tuple(self.settings),
            )
            for model, task in self._pairs()
        ]

    def _pairs(self) -> list[tuple[RequestedModel, str]]:
        """Model and task of every job, each once: tasks first, then tracks, in the order of the command."""
        shipped = shipped_tracks()
        tracks = [*(name for name in self.tasks if name in shipped), *self.tracks]
        tasks = [name for name in self.tasks if name not in shipped]
        pairs = [
            (model, task)
            for name in tasks
            for model in self.chosen or _default_models(name)
            for task in tasks_for(name, model.model, model.weights, f"--task {name}", _where_tasks_are)
        ]
        for name in tracks:
            track = load_track(name)
            models = self.chosen or [RequestedModel(track.default_model)]
            pairs += [(model, task) for model in models for task in track.at(self.scale).tasks]
        if not self.tasks and not self.tracks:
            pairs = [(model, task) for model in self.chosen for task in self._own_track(model)]
        if not pairs:
            raise UserError(
                "name a --model, which is run on its own track, or a --task or --track "
                "(`assay list models`, `assay list tasks`, `assay list tracks`)"
            )
        return list(dict.fromkeys(pairs))

    def _own_track(self, model: RequestedModel) -> Sequence[str]:
        """The tasks of the track of the model's label space."""
        from assay.models.zoo import label_space_of

        space = label_space_of(model.model, Path(model.weights) if model.weights else None)
        found = track_of(space)
        if found is None:
            hint = like_a_known(space) or "name tasks with --task"
            raise UserError(f"model {model.model!r}: there is no track of its label space {space!r}; {hint}")
        return found[1].at(self.scale).tasks


@with_switches
def asked_options(
    task: Tasks = None,
    track: Tracks = None,
    model: Models = None,
    name: Name = None,
    weights: Weights = None,
    setting: Settings = None,
    limit: Limit = None,
    draw: Draws = Draw.BALANCED,
    dtype: Dtypes = Dtype.FLOAT32,
    tf32: Tf32 = False,
    channels_last: ChannelsLast = False,
    threads: Threads = 1,
    batch_size: BatchSize = "auto",
    data: OwnData = None,
    data_root: DataRoots = None,
    switches: Sequence[str] = (),
    trust: Trusted = None,
) -> RunOptions:
    """What the options that `run` and `plan` share ask for; the scale is each verb's own."""
    return RunOptions(
        task or (), model or (), weights, limit, dtype, tf32, threads, batch_size, data_root or (), switches, data,
        trust or (), track or (), name=name, settings=setting or (), draw=draw, channels_last=channels_last,
    )  # fmt: skip


def with_asked_options(verb: Callable[..., None]) -> Callable[..., None]:
    """The verb with these options; it gets what they ask for as ``asked``."""
    return with_options_of(asked_options, "asked", verb)


def like_a_known(label_space: str) -> str:
    """``did you mean cifar-10?``, or nothing where no known label space has a similar name."""
    from assay.data.manifest import PUBLIC_LABEL_SPACES

    if label_space in PUBLIC_LABEL_SPACES:
        return ""
    near = difflib.get_close_matches(label_space.lower(), PUBLIC_LABEL_SPACES, n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else ""


def _where_tasks_are(label_space: str) -> str:
    return like_a_known(label_space) or "`assay list tasks` shows all"


def _default_models(name: str) -> list[RequestedModel]:
    """The model that a task is run on where none is named; a family has none.

    Raises:
        UserError: there is none.
    """
    if name in families():
        raise UserError(
            f"--task {name}: a family's tasks need a --model, whose label space chooses among them"
        )
    return [RequestedModel(default_model(name))]


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
