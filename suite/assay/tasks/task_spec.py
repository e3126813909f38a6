"""Task specs: declarative, strict, versioned and hashable.

Every field of every spec is on one of two sides. An *identity* field changes the answer, so it is hashed into the job's
key. A *runtime* field does not. A test fails for a field on no side.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from assay.common.canonical import canonical_sha256
from assay.common.errors import UserError
from assay.common.fields import IDENTITY, RUNTIME, identity_of
from assay.common.resources import shipped_folder
from assay.common.validation import StrictModel


class TaskSpec(StrictModel):
    """What every family's spec has. ``data`` is on the runtime side because the data's own hash is in the key.

    ``headline`` is the key of the figure that ranks; it only chooses among figures, so it is a runtime field.
    ``demonstration`` says why the figures mean nothing, where a task is there to show how its family works.
    """

    schema_version: Annotated[Literal[1], IDENTITY] = Field(alias="schema")
    family: Annotated[str, IDENTITY]
    title: Annotated[str, RUNTIME]
    description: Annotated[str, RUNTIME] = ""
    data: Annotated[str, RUNTIME]
    default_model: Annotated[str | None, RUNTIME] = None
    seed: Annotated[int, IDENTITY] = Field(default=0, ge=0)
    demonstration: Annotated[str | None, RUNTIME] = Field(default=None, exclude_if=lambda why: why is None)
    headline: Annotated[str | None, RUNTIME] = Field(default=None, exclude_if=lambda key: key is None)

    def metric_keys(self) -> tuple[str, ...]:
        """The keys that a headline may name, the family's default first."""
        return ()

    @property
    def headline_key(self) -> str | None:
        """The key of the figure that ranks; None for a family without figures that could."""
        return self.headline or next(iter(self.metric_keys()), None)

    @model_validator(mode="after")
    def _headline_is_a_figure(self) -> "TaskSpec":
        known = self.metric_keys()
        if self.headline is not None and self.headline not in known:
            from difflib import get_close_matches

            near = get_close_matches(self.headline, known, n=3, cutoff=0.3) or known[:3]
            raise ValueError(
                f"headline: this spec gives no figure {self.headline!r}; choose one such as {', '.join(near)}"
            )
        return self

    def identity(self) -> dict[str, Any]:
        """The fields that change the answer, as plain JSON."""
        return identity_of(self)

    @property
    def sha256(self) -> str:
        """Hash of :meth:`identity`."""
        return canonical_sha256(self.identity())


_OWN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,79}")
_NOT_TASKS = ("papers", "recipes", "tracks")  # folders of benchmarks that hold other documents


def shipped_specs() -> dict[str, Path]:
    """Id (``family/name``) to file of every spec that ships with Assay, sorted by id."""
    folder = shipped_folder("benchmarks")
    found = {
        path.relative_to(folder).with_suffix("").as_posix(): path
        for path in folder.rglob("*.yaml")
        if path.relative_to(folder).parts[0] not in _NOT_TASKS
    }
    return dict(sorted(found.items()))


def locate_spec(task: str) -> tuple[str, Path]:
    """The id and file of a task: a shipped spec's id, or a path to a user's own YAML (its stem is then its id).

    ``NAME=FILE`` gives the file an id of the user's own.

    Raises:
        UserError: neither; names the nearest ids.
    """
    shipped = shipped_specs()
    if task in shipped:
        return task, shipped[task]
    name, equals, rest = task.partition("=")
    named = bool(equals) and not Path(task).is_file()
    path = Path(rest if named else task)
    if path.suffix in {".yaml", ".yml"}:
        if named and not _OWN_ID.fullmatch(name):
            raise UserError(
                f"task {task!r}: expected NAME=FILE with a name of 1 to 80 letters, digits and . _ + - (got {name!r})"
            )
        if path.is_file():
            return name if named else path.stem, path
        raise UserError(f"task {task!r}: there is no such file; check the path, or see `assay list tasks`")
    from difflib import get_close_matches

    nearest = get_close_matches(task, shipped, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(nearest)}? " if nearest else ""
    raise UserError(f"unknown task {task!r}; {hint}`assay list tasks` shows all")
