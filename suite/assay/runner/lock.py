"""One writer per folder: a lock that names its owner, and that the system drops when the owner dies.

The system's lock lies on a file of its own (``lock.held``): Windows lets nobody read a file that is locked, and
``assay status`` reads the owner's name in ``lock`` at any time.
"""

import errno
import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from assay.common.atomic import as_user_error, write_atomically
from assay.common.errors import UserError


@dataclass(frozen=True)
class Owner:
    """Who holds a lock; ``started`` (seconds since 1970) tells two processes of one number apart."""

    pid: int
    host: str
    started: float

    def is_elsewhere(self) -> bool:
        """Whether the owner runs on another host, where this one cannot look."""
        return self.host != socket.gethostname()

    def is_alive(self) -> bool:
        """Whether the owner still runs on this host."""
        try:
            return (
                not self.is_elsewhere() and abs(psutil.Process(self.pid).create_time() - self.started) < 1.0
            )
        except psutil.NoSuchProcess:
            return False


@contextmanager
def exclusive(folder: Path, say: Callable[[str], None] = lambda _line: None) -> Iterator[None]:
    """Hold ``folder``'s lock while the block runs; ``say`` gets a line if a dead owner's lock is taken over.

    Raises:
        UserError: another process holds it, here or on another host; the folder cannot be written.
    """
    path, held = folder / "lock", folder / "lock.held"
    lock = _acquired(held, path)
    try:
        _refuse_or_take_over(path, say)
        try:
            write_atomically(path, json.dumps(asdict(_this_process())))
            yield
        finally:
            path.unlink(missing_ok=True)
    finally:
        # While we hold it, so that nobody else's is removed; Windows refuses, and the empty file stays.
        with suppress(OSError):
            held.unlink(missing_ok=True)
        lock.release()


def owner_of(folder: Path) -> Owner | None:
    """Who wrote the folder's lock; None where there is no lock, or nothing readable in it."""
    try:
        owner = Owner(**json.loads((folder / "lock").read_text(encoding="utf-8")))
        known = (type(owner.pid), type(owner.host), type(owner.started)) == (int, str, float)
        return owner if known and 0 < owner.pid < 2**31 else None
    except (OSError, ValueError, TypeError, RecursionError):
        return None


def _this_process() -> Owner:
    return Owner(os.getpid(), socket.gethostname(), psutil.Process().create_time())


def _acquired(held: Path, path: Path) -> FileLock:
    """The system's lock on ``held``, taken at once or not at all.

    Raises:
        UserError: another process holds it, the folder cannot be written, or its file system has no locks.
    """
    lock = FileLock(held, timeout=0, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout:
        raise UserError(_busy(path, owner_of(path.parent))) from None
    except OSError as error:
        if error.errno in (errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP):
            raise UserError(
                f"{held}: cannot be locked ({error.strerror}); choose an --out on a file system that has locks"
            ) from error
        raise as_user_error(held, error) from error
    return lock


def _refuse_or_take_over(path: Path, say: Callable[[str], None]) -> None:
    """Nobody on this host holds the system's lock: the text is of a dead process, another host, or an older Assay."""
    owner = owner_of(path.parent)
    if owner is None:
        return
    if owner.is_elsewhere():
        raise UserError(f"{_busy(path, owner)} (if that process is gone, delete {path})")
    if owner.is_alive():
        raise UserError(_busy(path, owner))
    say(f"{path.parent}: process {owner.pid} died here without finishing; going on from what it stored")


def _busy(path: Path, owner: Owner | None) -> str:
    who = f"process {owner.pid} on {owner.host}" if owner else "another process"
    return f"{path.parent}: {who} is writing here; wait for it, or choose another --out"
