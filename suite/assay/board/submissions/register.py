"""The register of admitted tasks: what the data of each hold, so that a submission can be checked without the data."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import yaml
from pydantic import Field

from assay.board.submissions.documents import Sha256
from assay.common.canonical import canonical_sha256
from assay.common.errors import UserError
from assay.common.resources import shipped_folder
from assay.common.validation import StrictModel, read_yaml, validate
from assay.runner.files import write_atomically

if TYPE_CHECKING:
    from assay.tasks.base import Task
    from assay.tasks.families import LoadedSpec

REGISTER = "tasks.yaml"
Better = Literal["higher", "lower"]


class AdmittedTask(StrictModel):
    """What every complete result of a task has in common.

    Attributes:
        data_sha256: of the data set.
        units: how many units the task has.
        unit_ids_sha256: of the list of the units' ids, in order.
        rank_by: the headline of the task's spec when it was admitted; today's ranks.
        better: whether more or less of it is better.
    """

    data_sha256: Sha256
    units: Annotated[int, Field(gt=0)]
    unit_ids_sha256: Sha256
    rank_by: str
    better: Better = "higher"


class Register(StrictModel):
    """All admitted tasks by id."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    tasks: dict[str, AdmittedTask] = Field(default_factory=dict)


def read_register(board: Path) -> Register:
    """The register in a leaderboard's folder.

    Raises:
        UserError: there is none, or it is not valid.
    """
    path = board / REGISTER
    if not path.is_file():
        raise UserError(
            f"{path}: there is no register of tasks; run from the root of the checkout, or name the folder with --board"
        )
    return validate(Register, read_yaml(path), str(path))


def shipped_register() -> Register:
    """The register that came with this installation; an empty one where none did."""
    try:
        return read_register(shipped_folder("leaderboard"))
    except (FileNotFoundError, UserError):
        return Register()


def unit_ids_sha256(unit_ids: Sequence[str]) -> str:
    """The hash of the ids in order."""
    return canonical_sha256(list(unit_ids))


def admit(board: Path, task_id: str, roots: Sequence[Path]) -> None:
    """Open a task's data here, count its units, and enter it into the register of ``board``.

    Raises:
        UserError: no such task, its spec has no headline, or its data are not here.
    """
    from assay.models.foreign import SHIPPED
    from assay.tasks.families import family, load_spec
    from assay.tasks.shared.images import DataSource

    loaded = load_spec(task_id)
    task = family(loaded.spec.family)
    rank_by, better = _headline(loaded, task)
    data = task.open_data(
        loaded.spec, DataSource(loaded.spec.data, loaded.folder, tuple(roots), trust=SHIPPED)
    )
    ids = [unit.id for unit in task.units(loaded.spec, data)]
    entry = AdmittedTask(
        data_sha256=data.sha256,
        units=len(ids),
        unit_ids_sha256=unit_ids_sha256(ids),
        rank_by=rank_by,
        better=better,
    )
    path = board / REGISTER
    known = read_register(board).tasks if path.is_file() else {}
    tasks = dict(sorted({**known, loaded.id: entry}.items()))
    document = Register(tasks=tasks).model_dump(mode="json", by_alias=True)
    write_atomically(path, yaml.safe_dump(document, sort_keys=False, width=120))


def _headline(loaded: "LoadedSpec", task: "Task[Any, Any]") -> tuple[str, Better]:
    """The figure that ranks, and which way is better: a family says so even of no records.

    Raises:
        UserError: the spec has none.
    """
    key, shown = loaded.spec.headline_key, loaded.spec.demonstration
    if shown is not None:
        raise UserError(f"{loaded.id}: its spec shows no figure, so nothing could rank: {shown}")
    if key is None:
        raise UserError(
            f"{loaded.id}: its spec has no headline, so no figure of it could rank; name one of its metrics as "
            "`headline: KEY` before the task is admitted"
        )
    stated = next((one.direction for one in task.summarise(loaded.spec, ()).metrics if one.name == key), "up")
    return key, "lower" if stated == "down" else "higher"
