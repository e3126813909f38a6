"""Where an export is written: aside first, and moved to its place when it is whole."""

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from assay.common.atomic import as_user_error
from assay.common.errors import UserError


@contextmanager
def new_place(out: Path) -> Iterator[Path]:
    """A path beside ``out`` to write a file or folder at; it becomes ``out`` when the block ends well.

    Raises:
        UserError: there is something at ``out`` already, or its folder cannot be written.
    """
    if out.exists() or out.is_symlink():
        raise UserError(f"{out}: is there already, and is not replaced; name another place with --out")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    except OSError as error:
        raise as_user_error(out, error) from error
    try:
        yield aside / out.name
        (aside / out.name).rename(out)
    except OSError as error:
        raise as_user_error(out, error) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def portable(name: str) -> str:
    """A name as one part of a path that every system takes, and that no part of a path means something else by."""
    flat = re.sub(r"[^A-Za-z0-9._-]", "_", name)
    return flat if flat.strip(".") and not flat.endswith(".") else f"{flat}_"
