"""Files that appear whole or not at all."""

import errno
import os
import tempfile
from pathlib import Path

from assay.common.errors import UserError


def write_atomically(path: Path, content: str | bytes, sync_folder: bool = True) -> None:
    """Write to a temporary name in the same folder, flush to the disk, rename; the older file survives a failure.

    With ``sync_folder`` the rename itself outlasts a loss of power too.

    Raises:
        UserError: the disk is full, or the folder cannot be written.
    """
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        if sync_folder:
            _sync_folder(path.parent)
    except OSError as error:
        raise as_user_error(path, error) from error


def make_writable(folder: Path) -> None:
    """Make the folder and try to write into it, before long work whose results could not be kept.

    Raises:
        UserError: it cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise as_user_error(folder, error) from error


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable, where the file system lets a folder be synced."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)


def as_user_error(path: Path, error: OSError) -> UserError:
    """Why ``path`` could not be written, and what to do."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UserError(
            f"{path}: the disk is full; what was stored before is whole: free some space and run the same command again"
        )
    return UserError(
        f"{path}: cannot be written ({error.strerror}); choose a folder that you may write to with --out"
    )
