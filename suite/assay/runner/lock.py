"""One writer a folder: a lock file that says who holds it, and that is seen through when its owner is dead."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from assay.errors import UserError


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold ``folder``'s lock while the block runs.

    A lock whose owner ran on this host and is gone (no such process, or a younger one with its number) is taken over.

    Raises:
        UserError: another process holds it.
    """
    path = folder / "lock"
    _acquire(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _acquire(path: Path) -> None:
    for _ in range(2):
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            _clear_if_stale(path)
            continue
        except OSError as error:
            raise UserError(f"{path}: cannot be written ({error.strerror}); choose another --out") from error
        with os.fdopen(descriptor, "w") as file:
            json.dump(_owner(os.getpid()), file)
        return
    raise UserError(f"{path.parent}: another run took its lock just now; try again when it has ended")


def _owner(pid: int) -> dict[str, object]:
    return {"pid": pid, "host": socket.gethostname(), "started": psutil.Process(pid).create_time()}


def _clear_if_stale(path: Path) -> None:
    try:
        owner = json.loads(path.read_text())
        pid, host, started = int(owner["pid"]), str(owner["host"]), float(owner["started"])
    except FileNotFoundError:
        return
    except (ValueError, KeyError, TypeError):
        # Only a process that died between creating the file and filling it leaves this behind.
        path.unlink(missing_ok=True)
        return
    if host == socket.gethostname() and not _is_alive(pid, started):
        path.unlink(missing_ok=True)
        return
    raise UserError(
        f"{path.parent}: process {pid} on {host} is writing here; wait for it, or choose another --out "
        f"(if that process is gone, delete {path})"
    )


def _is_alive(pid: int, started: float) -> bool:
    try:
        return abs(psutil.Process(pid).create_time() - started) < 1.0
    except psutil.NoSuchProcess:
        return False
