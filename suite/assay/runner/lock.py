"""One writer per folder: a lock that names its owner, and that the system drops when the owner dies."""

import fcntl
import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from assay.common.atomic import as_user_error
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
    """Hold ``folder``'s lock while the block runs; ``say`` is told of a dead owner whose lock is taken over.

    Raises:
        UserError: another process holds it, here or on another host; the folder cannot be written.
    """
    path = folder / "lock"
    descriptor = _acquire(path)
    try:
        _refuse_or_take_over(path, say)
        _sign(path, descriptor)
        yield
        path.unlink(missing_ok=True)
    except BaseException as error:
        if not isinstance(error, _HeldElsewhereError):
            path.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)


class _HeldElsewhereError(UserError):
    """The lock names an owner that cannot be looked at from here."""


def owner_of(folder: Path) -> Owner | None:
    """Who wrote the folder's lock; None where there is no lock, or nothing readable in it."""
    try:
        owner = Owner(**json.loads((folder / "lock").read_text()))
        known = (type(owner.pid), type(owner.host), type(owner.started)) == (int, str, float)
        return owner if known and 0 < owner.pid < 2**31 else None
    except (OSError, ValueError, TypeError, RecursionError):
        return None


def _this_process() -> Owner:
    return Owner(os.getpid(), socket.gethostname(), psutil.Process().create_time())


def _acquire(path: Path) -> int:
    """A descriptor of the lock file, with the system's lock held on it."""
    while True:
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o644)
        except OSError as error:
            raise as_user_error(path, error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if not isinstance(error, BlockingIOError):
                raise UserError(
                    f"{path}: cannot be locked ({error.strerror}); choose an --out on a file system that has locks"
                ) from error
            raise UserError(_busy(path, owner_of(path.parent))) from None
        if _is_current(path, descriptor):
            return descriptor
        os.close(descriptor)  # its owner ended and removed it between our two steps


def _sign(path: Path, descriptor: int) -> None:
    """Write who we are into the lock."""
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(asdict(_this_process())).encode(), 0)
    except OSError as error:
        raise as_user_error(path, error) from error


def _is_current(path: Path, descriptor: int) -> bool:
    try:
        return path.stat().st_ino == os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False


def _refuse_or_take_over(path: Path, say: Callable[[str], None]) -> None:
    """Nobody on this host holds the lock: its text was left by a dead process, or comes from another host."""
    owner = owner_of(path.parent)
    if owner is None:
        return
    if owner.is_elsewhere():
        raise _HeldElsewhereError(f"{_busy(path, owner)} (if that process is gone, delete {path})")
    say(f"{path.parent}: process {owner.pid} died here without finishing; going on from what it stored")


def _busy(path: Path, owner: Owner | None) -> str:
    who = f"process {owner.pid} on {owner.host}" if owner else "another process"
    return f"{path.parent}: {who} is writing here; wait for it, or choose another --out"
