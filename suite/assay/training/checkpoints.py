"""Checkpoints: written whole or not at all, checked by their hash when read; the last two are kept."""

from __future__ import annotations

import hashlib
import io
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from assay.common.atomic import write_atomically
from assay.common.errors import UserError

_MAGIC = b"assay-checkpoint 1 "
_NAME = re.compile(r"\d{10,}\.ckpt")  # other tools' files, such as best.ckpt, are left alone
_HASH = 64


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one training.

    Attributes:
        folder: where they lie.
        key: of the training; another training's checkpoints are refused.
    """

    folder: Path
    key: str
    _damaged: set[Path] = field(default_factory=set, repr=False)

    def save(self, steps: int, state: dict[str, Any]) -> None:
        """Store the state after ``steps`` steps, then drop all but it and the whole one before it.

        Raises:
            UserError: the disk is full, or the folder cannot be written; older checkpoints are whole.
        """
        buffer = io.BytesIO()
        torch.save({"key": self.key, **on_host(state)}, buffer)
        content = buffer.getvalue()
        digest = hashlib.sha256(content).hexdigest().encode()
        path = self.folder / f"{steps:010d}.ckpt"
        write_atomically(path, _MAGIC + digest + b"\n" + content)
        before = [other for other in self._whole() if _steps(other) < steps]
        self._drop_all_but(path, *before[-1:])

    def newest(self) -> tuple[dict[str, Any] | None, list[str]]:
        """The newest whole state, and a sentence for each damaged file that was passed over.

        The damaged files stay until the next one is saved.

        Raises:
            UserError: it is of another training.
        """
        state = None
        for path in reversed(stored(self.folder)):
            state = _read(path)
            if state is not None:
                self._check_key(path, state)
                break
            self._damaged.add(path)
        return state, [self._complaint(path) for path in sorted(self._damaged, key=_steps, reverse=True)]

    @property
    def newest_steps(self) -> int | None:
        """After how many steps the newest one was stored; None where there is none."""
        whole = self._whole()
        return _steps(whole[-1]) if whole else None

    def clear(self) -> None:
        """Remove all of them, once the training is finished; what is not a checkpoint of Assay stays."""
        self._drop_all_but()
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _check_key(self, path: Path, state: dict[str, Any]) -> None:
        if state["key"] != self.key:
            raise UserError(
                f"{path}: is a checkpoint of another recipe, other data or another teacher; continue with those, "
                "or choose another folder with --out"
            )

    def _complaint(self, path: Path) -> str:
        steps = self.newest_steps
        if steps is None:
            return (
                f"{path}: is damaged, and there is no whole checkpoint before it; the training starts again"
            )
        return f"{path}: is damaged; the training goes on from the checkpoint of step {steps} before it"

    def _whole(self) -> list[Path]:
        """Those that were not found damaged, oldest first."""
        return [path for path in stored(self.folder) if path not in self._damaged]

    def _drop_all_but(self, *kept: Path) -> None:
        for path in stored(self.folder):
            if path not in kept:
                path.unlink(missing_ok=True)
        self._damaged.clear()


def on_host(state: Any) -> Any:
    """The state with its tensors on the host, so that a training may go on where there is another device."""
    if isinstance(state, torch.Tensor):
        return state.cpu()
    if isinstance(state, dict):
        return {name: on_host(value) for name, value in state.items()}
    return [on_host(value) for value in state] if isinstance(state, list) else state


def stored(folder: Path) -> list[Path]:
    """The files in a folder that are checkpoints of Assay by their names, oldest first."""
    found = (path for path in folder.glob("*.ckpt") if _NAME.fullmatch(path.name) and path.is_file())
    return sorted(found, key=_steps)


def _steps(path: Path) -> int:
    return int(path.stem)


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
