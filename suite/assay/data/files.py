"""The files of one data set, found in one folder; each may also lie there as ``NAME.gz``."""

import gzip
import re
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from assay.data.hashes import is_packed
from assay.errors import UserError

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})


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


def image_names(folder: Path, below: str = ".") -> list[str]:
    """Relative names of the image files in and under ``folder/below``, sorted; hidden ones are left out."""
    start = folder / below
    if not start.is_dir():
        return []
    found = (path.relative_to(folder) for path in start.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    names = sorted(path.as_posix() for path in found if not any(part.startswith(".") for part in path.parts))
    for name in names:
        if not name.isprintable():
            raise UserError(
                f"{folder}: the file name {name!a} has characters that cannot be printed; rename it"
            )
    return names


@dataclass(frozen=True)
class DataFiles:
    """A folder and the names of the data set's files in it.

    Attributes:
        folder: where they lie.
        names: relative paths with forward slashes, sorted.
    """

    folder: Path
    names: tuple[str, ...]

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
