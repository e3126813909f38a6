"""Archives: what a manifest says of one, and how it is unpacked."""

import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated
from urllib.parse import urlparse

from pydantic import AfterValidator, StringConstraints

from assay.common.errors import UserError
from assay.common.validation import StrictModel
from assay.data.files import is_safe_name

Url = Annotated[str, StringConstraints(pattern=r"^https?://")]
#: As pooch spells it; MD5 only where a publisher states nothing better.
FileHash = Annotated[str, StringConstraints(pattern=r"^(sha256:[0-9a-f]{64}|md5:[0-9a-f]{32})$")]

_TAR = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_DAMAGED = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError)


def safe_folder(folder: str) -> str:
    """The folder, if it is relative and stays inside.

    Raises:
        ValueError: it is not.
    """
    if Path(folder).is_absolute() or ".." in Path(folder).parts:
        raise ValueError("expected a relative folder without `..`")
    return folder


def _packed(url: str) -> str:
    if not _name(url).endswith((*_TAR, ".zip")):
        raise ValueError(f"expected an address that ends in {', '.join(_TAR)} or .zip")
    return url


def _name(url: str) -> str:
    return urlparse(url).path.rpartition("/")[2].lower()


class Archive(StrictModel):
    """A packed folder that a publisher serves.

    Attributes:
        url: its address, whose ending says how it is packed.
        hash: of its bytes, as ``sha256:HEX`` or ``md5:HEX``.
        folder: where in a data root it is unpacked.
    """

    url: Annotated[Url, AfterValidator(_packed)]
    hash: FileHash
    folder: Annotated[str, AfterValidator(safe_folder)] = "."

    @property
    def name(self) -> str:
        """The file's name at its publisher, in lower case."""
        return _name(self.url)


def unpack(path: Path, into: Path) -> None:
    """Unpack a tar or zip file into the folder ``into``.

    Raises:
        UserError: it is damaged, or a member would lie outside of ``into`` or is no plain file; nothing is unpacked
            then.
        OSError: the disk is full, or ``into`` cannot be written.
    """
    import pooch  # type: ignore[import-untyped]

    processor = (pooch.Unzip if path.suffix == ".zip" else pooch.Untar)(extract_dir=str(into.absolute()))
    try:
        for name in _unsafe(path):
            raise UserError(
                f"{path.name}: its member {name!r} is no plain file inside the archive's own folder, so nothing of it "
                "was unpacked; tell its publisher"
            )
        processor(str(path.absolute()), "download", None)
    except _DAMAGED as error:
        raise UserError(f"{path.name}: cannot be unpacked ({error}); tell its publisher") from error


def _unsafe(path: Path) -> Iterator[str]:
    """Members that pooch's unpackers must not see: on older Pythons they write wherever a name leads."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as pack:
            yield from (name for name in pack.namelist() if not _is_safe(name))
        return
    with tarfile.open(path) as tar:
        for member in tar:
            if not (member.isreg() or member.isdir()) or not _is_safe(member.name):
                yield member.name


def _is_safe(name: str) -> bool:
    """Whether a member's name stays inside; ``./`` before it and ``/`` behind it are usual."""
    inner = name.removeprefix("./").rstrip("/")
    return inner in ("", ".") or is_safe_name(inner)
