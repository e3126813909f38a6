"""The files of one data set, found in one folder; each may also lie there as ``NAME.gz``."""

import gzip
import os
import re
import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from assay.common.errors import UserError
from assay.data.hashes import is_packed

# Those that torchvision's ImageFolder reads.
IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
# These are pictures too, but they are never read; they are counted as left out.
_OTHER_SUFFIXES = frozenset(
    {
        ".apng",
        ".avif",
        ".dds",
        ".dng",
        ".gif",
        ".heic",
        ".heif",
        ".ico",
        ".jfif",
        ".jp2",
        ".jpe",
        ".pbm",
        ".pcx",
    }
    | {".svg", ".tga"}
)


def is_safe_name(name: str) -> bool:
    """Whether ``name`` is a relative path with forward slashes that stays inside its folder."""
    parts = PurePosixPath(name).parts
    return (
        bool(parts) and "/".join(parts) == name and ".." not in parts and not re.search(r"^/|[\\\0:]", name)
    )


def stored_path(folder: Path, name: str) -> Path | None:
    """Where the file lies in ``folder``: as itself, packed as ``NAME.gz``, or nowhere."""
    plain = folder / name
    if plain.is_file():
        return plain
    packed = folder / f"{name}.gz"
    return packed if packed.is_file() else None


def all_names(folder: Path, below: str = ".") -> list[str]:
    """Relative names of all files in and under ``folder/below``, hidden ones too, sorted; links are followed.

    Raises:
        OSError: a folder cannot be read.
    """
    start, names, entered = folder / below, [], set()
    if not start.is_dir():
        return []
    for path, folders, files in os.walk(start, onerror=_raise, followlinks=True):
        entered.add(os.path.realpath(path))
        # A link to a folder above would lead round in circles.
        folders[:] = [name for name in folders if os.path.realpath(Path(path, name)) not in entered]
        names += [Path(path, name).relative_to(folder).as_posix() for name in files]
    return sorted(names)


def _raise(error: OSError) -> None:
    raise error


def is_hidden(name: str) -> bool:
    """Whether the file, or a folder that it lies in, has a name that starts with a dot."""
    return any(part.startswith(".") for part in PurePosixPath(name).parts)


def image_names(folder: Path, below: str = ".") -> list[str]:
    """Relative names of the image files in and under ``folder/below``, sorted; hidden ones are left out."""
    names = [
        name
        for name in all_names(folder, below)
        if PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES
        and not is_hidden(name)
        and (folder / name).is_file()
    ]
    for name in names:
        if not name.isprintable():
            raise UserError(
                f"{folder}: the file name {name!a} has characters that cannot be printed; rename it"
            )
    return names


UNREADABLE = "unreadable"
"""Why a file is left out that is named like a picture and is none."""


def why_left_out(folder: Path, names: Iterable[str], otherwise: str) -> dict[str, int]:
    """How many of ``names`` were left out, by reason; no layout took them.

    Args:
        folder: where they lie.
        names: relative names of files.
        otherwise: the reason for pictures of a known format that are not hidden.
    """
    reasons = Counter(_why_left_out(folder, name, otherwise) for name in names)
    return dict(sorted(reasons.items()))


def _why_left_out(folder: Path, name: str, otherwise: str) -> str:
    if is_hidden(name):
        return "hidden"
    suffix = PurePosixPath(name).suffix.lower()
    if suffix not in IMAGE_SUFFIXES:
        return suffix or "no ending"
    return otherwise if (folder / name).is_file() else UNREADABLE


def pictures_among(names: Iterable[str]) -> list[str]:
    """Those of ``names`` that end like a picture of any format."""
    wanted = IMAGE_SUFFIXES | _OTHER_SUFFIXES
    return [name for name in names if PurePosixPath(name).suffix.lower() in wanted]


@dataclass(frozen=True)
class DataFiles:
    """A folder and the names of the data set's files in it.

    Attributes:
        folder: where they lie.
        names: relative paths with forward slashes, sorted.
    """

    folder: Path
    names: tuple[str, ...]

    def left_out(self, otherwise: str, below: str = ".") -> dict[str, int]:
        """:func:`why_left_out` for the other pictures in and under the folder ``below``."""
        there = pictures_among(all_names(self.folder, below))
        return why_left_out(self.folder, set(there) - set(self.names), otherwise)

    def path(self, name: str) -> Path:
        """Where ``name`` lies.

        Raises:
            UserError: it is no longer there.
        """
        path = stored_path(self.folder, name)
        if path is None:
            raise UserError(f"{self.folder / name}: no such file; put it back or get the data set again")
        return path

    def read(self, name: str) -> bytes:
        """The (unpacked) bytes of ``name``.

        Raises:
            UserError: it cannot be read or unpacked.
        """
        path = self.path(name)
        try:
            data = path.read_bytes()
            return gzip.decompress(data) if is_packed(path, name) else data
        except (OSError, EOFError, zlib.error) as error:
            raise UserError(f"{path}: cannot be read ({error}); get it again") from error

    def read_text(self, name: str) -> str:
        """The UTF-8 text of ``name``.

        Raises:
            UserError: it cannot be read or is not UTF-8.
        """
        try:
            return self.read(name).decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise UserError(f"{self.path(name)}: is not UTF-8 text; save it as UTF-8") from error
