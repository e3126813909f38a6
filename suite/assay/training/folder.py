"""The folder that a training writes: refuses foreign folders, and removes its own where nothing was stored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from assay.common.errors import UserError
from assay.models.trained import CARD_FILE
from assay.training.checkpoints import stored

CHECKPOINT_FOLDER = "checkpoints"


def check_folder(out: Path) -> None:
    """Refuse a folder of something else, which a training would write over or mix with its own.

    Raises:
        UserError: it holds files, but no trained network and no checkpoint.
    """
    if not out.is_dir() or (out / CARD_FILE).is_file() or stored(out / CHECKPOINT_FOLDER):
        return
    held = sorted(path.name for path in out.iterdir() if not path.name.startswith("."))
    strangers = [name for name in held if name != CHECKPOINT_FOLDER]
    if strangers:
        raise UserError(
            f"{out}: holds {_named(strangers)}, but no network and no checkpoint of Assay; choose another "
            "folder with --out"
        )


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{names[0]}{more}"


@contextmanager
def no_empty_folder(out: Path) -> Iterator[None]:
    """Remove the folders that a training made and stored nothing in."""
    places = (out / CHECKPOINT_FOLDER, out, *out.parents)
    made = [place for place in places if not place.exists()]
    try:
        yield
    except BaseException:
        for place in made:
            with suppress(OSError):  # it holds something
                place.rmdir()
        raise
