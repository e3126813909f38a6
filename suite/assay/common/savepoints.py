"""Work that a stop does not lose: finished steps, and the state of the step under way, on the disk every few seconds.

A piece of work consists of steps, each with a name that says all that decides its result. When the same work is done
again, it is given what is stored of each step, and goes on from there. What is stored is exact, so the answer is the
same as if the work had never stopped.

::

    FOLDER/000000.part   the first finished steps, results by name; 000001.part: those after them, and so on
    FOLDER/state.part    the name and the last saved state of the step under way

Each file begins with the SHA-256 of the rest. A file that is not whole counts as missing.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import shutil
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from assay.common.atomic import write_atomically
from assay.common.errors import UserError

Tree = Any
"""Tensors, numbers, text, None, and lists, tuples and dictionaries of them."""

EVERY_SECONDS = 5.0
_SHARE = 0.01  # of the time, which saving may take: states that take long to write are written less often


class Savepoints:
    """The steps of one piece of work; without a folder, every step is simply made."""

    def __init__(self, folder: Path | None = None, on_save: Callable[[], None] = lambda: None) -> None:
        """See what the folder holds; it may be missing. ``on_save`` is called whenever something was written."""
        self._folder, self._on_save = folder, on_save
        self._asked: Counter[str] = Counter()
        self._part_of: dict[str, int] = {}
        self._last_read: tuple[int, dict[str, Tree]] = (-1, {})
        self._unsaved: dict[str, Tree] = {}
        self._state: tuple[str, Tree] | None = None
        self._parts = 0
        self._due = time.monotonic() + EVERY_SECONDS
        if folder is not None and folder.is_dir():
            while self._read_part(self._parts):
                self._part_of |= dict.fromkeys(self._last_read[1], self._parts)
                self._parts += 1
            self._state = _read(folder / "state.part")

    def step(self, name: str, make: Callable[[], Tree]) -> Tree:
        """The result of the next step: the stored one, or what ``make`` gives."""
        return self.loop(name, lambda _loop: make())

    def loop(self, name: str, work: Callable[[Loop], Tree]) -> Tree:
        """The same for a step of many rounds: it is given its last state and offers each new one."""
        if self._folder is None:
            return work(Loop())
        self._asked[name] += 1
        name = f"{name} {self._asked[name]}"
        if name in self._part_of:
            if self._last_read[0] != self._part_of[name]:
                self._read_part(self._part_of[name])
            if name in self._last_read[1]:
                return _copied(self._last_read[1][name])
        found, self._state = self._state, None
        state = found[1] if found is not None and found[0] == name else None
        result = work(Loop(state, lambda pack: self._save(name, pack)))
        self._unsaved[name] = _copied(result)  # callers may go on to change what they are given
        self._save(name)
        return result

    def _save(self, name: str, pack: Callable[[], Tree] | None = None) -> None:
        """Write what is finished, and the state of the step under way, when it is time."""
        started = time.monotonic()
        if self._folder is None or started < self._due:
            return
        if self._unsaved:
            _write(self._folder / f"{self._parts:06d}.part", self._unsaved)
            self._parts, self._unsaved = self._parts + 1, {}
        if pack is not None:
            _write(self._folder / "state.part", (name, pack()))
        self._on_save()
        now = time.monotonic()
        self._due = now + max(EVERY_SECONDS, (now - started) / _SHARE)

    def _read_part(self, part: int) -> bool:
        assert self._folder is not None
        self._last_read = part, _read(self._folder / f"{part:06d}.part") or {}
        return bool(self._last_read[1])


class Loop:
    """A step of many rounds.

    Attributes:
        state: what was last saved of it, by a process that was stopped; None where it begins.
    """

    def __init__(
        self, state: Tree = None, offer: Callable[[Callable[[], Tree]], None] = lambda _pack: None
    ) -> None:
        """Where it stands, and who is offered its states."""
        self.state, self.offer = state, offer


NONE = Savepoints()
"""Saves nothing."""


def remove(folder: Path) -> None:
    """Remove what a piece of work saved, once its answer is stored."""
    if folder.is_dir():
        shutil.rmtree(folder, ignore_errors=True)


def _copied(tree: Tree) -> Tree:
    if isinstance(tree, dict):
        return {name: _copied(value) for name, value in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(_copied(value) for value in tree)
    return tree.clone() if hasattr(tree, "clone") else tree


def _write(path: Path, tree: Tree) -> None:
    """Write a file; where the disk is full, there is one savepoint less."""
    import torch

    buffer = io.BytesIO()
    torch.save(tree, buffer)
    content = buffer.getvalue()
    with suppress(UserError):
        write_atomically(path, hashlib.sha256(content).digest() + content, sync_folder=False)


def _read(path: Path) -> Tree:
    """What a file holds; None where it is missing or not what was written. Nothing in it is ever executed."""
    import torch

    try:
        content = path.read_bytes()
    except OSError:
        return None
    if hashlib.sha256(content[32:]).digest() != content[:32]:
        return None
    try:
        return torch.load(io.BytesIO(content[32:]), weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, ValueError, EOFError):
        return None
