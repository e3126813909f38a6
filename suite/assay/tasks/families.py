"""The families there are, found by name; each is imported only when it is needed."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from assay.common.errors import UserError
from assay.common.validation import describe, read_yaml, validate
from assay.data.manifest import DataManifest, load_manifest
from assay.tasks.base import Task
from assay.tasks.shared.overrides import overridden
from assay.tasks.task_spec import TaskSpec, locate_spec, shipped_specs

# A new family is one line here (docs/families.md): its name, and the module that holds its TASK.
MODULES = {
    "adversarial": "assay.tasks.adversarial.task",
    "verification": "assay.tasks.verification.task",
    "consistency": "assay.tasks.consistency.task",
    "srvr": "assay.tasks.srvr.task",
    "corruptions": "assay.tasks.corruptions.task",
}


SWITCHES = {"save_adversarial": "Keep adversarial images (`assay verify-adversarial`); in the job's key."}
"""Fields of specs that an option of ``assay run`` turns on, with its help; here, for options are read before families.

The families that have such a field say so in :attr:`assay.tasks.base.Task.switches`.
"""


def families() -> tuple[str, ...]:
    """The names of all families, in the order they are shown."""
    return tuple(MODULES)


def family(name: str) -> Task[Any, Any]:
    """The family's one implementation of the protocol.

    Raises:
        UserError: there is no such family.
        TypeError: what stands there does not follow the protocol.
    """
    if name not in MODULES:
        raise UserError(f"unknown family {name!r}; expected one of {', '.join(MODULES)}")
    task = import_module(MODULES[name]).TASK
    if not isinstance(task, Task):
        raise TypeError(f"{MODULES[name]}.TASK is no assay.tasks.base.Task")
    return task


@dataclass(frozen=True)
class LoadedSpec:
    """A validated spec, its id, and the folder that its relative paths start from."""

    id: str
    spec: TaskSpec
    folder: Path

    @property
    def manifest(self) -> DataManifest | None:
        """The manifest of its data; None where the task names something else, or nothing that is here."""
        try:
            return load_manifest(self.spec.data, self.folder)
        except UserError:
            return None

    def on_other_data(self, name: str) -> "LoadedSpec":
        """The same question about the data set ``name``; the title says so."""
        title = f"{self.spec.title} [here on {name} instead of {self.spec.data}]"
        return replace(self, spec=self.spec.model_copy(update={"title": title, "data": name}))


def load_spec(task: str, switches: Sequence[str] = (), settings: Sequence[str] = ()) -> LoadedSpec:
    """The spec of a shipped task's id or of a user's own YAML file.

    Args:
        task: the id, or the file.
        switches: fields to turn on.
        settings: other fields, ``KEY=VALUE`` each (:mod:`assay.tasks.shared.overrides`).

    Raises:
        UserError: no such task, the file is not a valid spec (file, key and what was expected), or it has no such
            field.
    """
    task_id, path = locate_spec(task)
    if "labels=predicted" in settings:
        why = family(read_spec(path).family).no_own_answers
        if why is not None:
            raise UserError(f"--set labels=predicted: has no meaning for {task_id}: {why}")
    spec = read_spec(path, settings)
    for switch in switches:
        if switch not in type(spec).model_fields:
            raise UserError(
                f"{option_of(switch)}: {task_id} is of the family {spec.family}, which has no such option; leave it out"
            )
    return LoadedSpec(task_id, spec.model_copy(update=dict.fromkeys(switches, True)), path.parent)


def tasks_for(
    name: str, model: str, weights: str | Path | None, said: str, hint: Callable[[str], str]
) -> Sequence[str]:
    """The task itself or, where ``name`` is a family, its shipped tasks on data with the model's labels.

    Args:
        name: a task's id, a spec file or a family.
        model: the name of the model that a family's tasks are for.
        weights: its checkpoint, if not the published one.
        said: how the user named the task, for messages.
        hint: what to do about a model's label space that no task has.

    Raises:
        UserError: the family has no such task.
    """
    if name not in MODULES:
        return [name]
    from assay.models.zoo import label_space_of

    space = label_space_of(model, Path(weights) if weights else None)
    found = [task for task in shipped_specs() if task.startswith(f"{name}/") and _labels_of(task) == space]
    if not found:
        raise UserError(f"{said}: none of its tasks has the label space {space!r} of {model}; {hint(space)}")
    return found


def _labels_of(task: str) -> str:
    """The label space of a shipped task's data."""
    spec = load_spec(task).spec
    own = family(spec.family).data_sets
    return (own.load(spec.data) if own else load_manifest(spec.data)).label_space


def spec_document(task: str) -> dict[str, Any]:
    """The document of a task's spec as its author wrote it, for who makes another of it.

    Raises:
        UserError: no such task, or no YAML.
    """
    return read_yaml(locate_spec(task)[1])


def option_of(switch: str) -> str:
    """The option of the command line that turns a field of a spec on."""
    return f"--{switch.replace('_', '-')}"


def stated_spec(family_name: str, document: Mapping[str, Any], where: str, mend: str) -> TaskSpec:
    """The spec that a stored result or job states.

    Raises:
        UserError: this version has no such spec; the sentence begins with ``where`` and ends with ``mend``.
    """
    try:
        spec: TaskSpec = family(family_name).spec_type.model_validate_json(json.dumps(document))
    except ValidationError as error:
        raise UserError(
            f"{where}: its `spec` is not one of this version: {describe(error)}; {mend}"
        ) from error
    return spec


def read_spec(path: Path, settings: Sequence[str] = ()) -> TaskSpec:
    """The spec in a YAML file, with fields set, validated by its family.

    Raises:
        UserError: as :func:`load_spec`.
    """
    document = read_yaml(path)
    name = document.get("family")
    if not isinstance(name, str) or name not in MODULES:
        raise UserError(f"{path}: `family`: expected one of {', '.join(MODULES)} (got {name!r})")
    where = f"{path} with {', '.join(settings)}" if settings else str(path)
    changed = overridden(document, settings) if settings else document
    spec: TaskSpec = validate(family(name).spec_type, changed, where)
    return spec
