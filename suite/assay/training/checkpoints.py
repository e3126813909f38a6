"""Checkpoints: written whole or not at all, checked by their hash when read, the last two kept."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from assay.atomic import write_atomically
from assay.errors import UserError

_MAGIC = b"assay-checkpoint 1 "
_KEPT = 2
_HASH = 64


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one training.

    Attributes:
        folder: where they lie.
        key: of the training; those of another one are refused.
    """

    folder: Path
    key: str

    def save(self, steps: int, state: dict[str, Any]) -> None:
        """Store the state after ``steps`` steps, then drop all but the last two.

        Raises:
            UserError: the disk is full, or the folder cannot be written; older checkpoints are whole.
        """
        buffer = io.BytesIO()
        torch.save({"key": self.key, **state}, buffer)
        content = buffer.getvalue()
        digest = hashlib.sha256(content).hexdigest().encode()
        write_atomically(self.folder / f"{steps:010d}.ckpt", _MAGIC + digest + b"\n" + content)
        for path in self._stored()[:-_KEPT]:
            path.unlink(missing_ok=True)

    def newest(self) -> tuple[dict[str, Any] | None, list[str]]:
        """The newest whole state, and a sentence for each damaged file that was passed over.

        Raises:
            UserError: it is of another training.
        """
        complaints = []
        for path in reversed(self._stored()):
            state = _read(path)
            if state is None:
                complaints.append(f"{path}: is damaged; the checkpoint before it is used")
            elif state["key"] != self.key:
                raise UserError(
                    f"{path}: is a checkpoint of another recipe, other data or another teacher; continue with those, "
                    "or choose another folder with --out"
                )
            else:
                return state, complaints
        return None, complaints

    def clear(self) -> None:
        """Remove all of them, once the training is finished."""
        for path in self._stored():
            path.unlink(missing_ok=True)
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _stored(self) -> list[Path]:
        return sorted(self.folder.glob("*.ckpt"))


def _read(path: Path) -> dict[str, Any] | None:
    """The state in a file, or None where its bytes are not those that were written."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    start = len(_MAGIC) + _HASH + 1
    head, body = content[:start], content[start:]
    digest = hashlib.sha256(body).hexdigest().encode()
    if head != _MAGIC + digest + b"\n":
        return None
    state: dict[str, Any] = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
    return state
