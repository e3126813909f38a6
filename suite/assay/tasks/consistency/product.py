"""A product's files: each appears whole, once, and is never altered; so several processes may make one product."""

import csv
import io
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from assay.tasks.consistency.sets import SOURCE_COLUMN


def rows_path(folder: Path, index: int) -> Path:
    """The file that says whether a source has an adversarial image."""
    return folder / "rows" / f"{index:06d}.json"


def stored_rows(folder: Path, index: int) -> list[dict[str, Any]] | None:
    """What one source gave, or None while that is not known."""
    try:
        rows: list[dict[str, Any]] = json.loads(rows_path(folder, index).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    return rows


def stored_count(folder: Path) -> int:
    """How many sources are done."""
    return sum(1 for _ in (folder / "rows").glob("[0-9]*.json"))


def publish(path: Path, content: bytes) -> bytes:
    """Let ``path`` appear whole with this content, unless it is there already; returns what is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)  # unlike a rename it never replaces
    except FileExistsError:
        pass
    finally:
        Path(temporary).unlink(missing_ok=True)
    return path.read_bytes()


def table(rows: Sequence[dict[str, Any]]) -> bytes:
    """The rows as CSV, without their hashes."""
    columns = [name for name in rows[0] if name not in ("sha256", "file")]
    ordered = ["file", "label", "target", SOURCE_COLUMN]
    buffer = io.StringIO()
    writer = csv.DictWriter(
        buffer, [*ordered, *sorted(set(columns) - set(ordered))], extrasaction="ignore", lineterminator="\n"
    )
    writer.writeheader()
    plain = {True: "true", False: "false"}
    writer.writerows(
        {name: plain[cell] if isinstance(cell, bool) else cell for name, cell in row.items()} for row in rows
    )
    return buffer.getvalue().encode()
