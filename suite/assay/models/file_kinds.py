"""Recognises files that were given as a network or its weights and are something else (no torch)."""

import codecs
import zipfile
from pathlib import Path

from assay.common.errors import UserError

_HEAD = 512  # bytes; the magic of a tar archive lies at 257
_SHOWN = 40
_MEMBERS_SHOWN = 3
_SAVE_WEIGHTS = "save the state dict alone: torch.save(model.state_dict(), 'weights.pth')"
_UNPACK = "unpack it and give the weight file inside"

_MAGIC = (
    (b"\x1f\x8b", "a gzip archive", _UNPACK),
    (b"BZh", "a bzip2 archive", _UNPACK),
    (b"\xfd7zXZ\x00", "an xz archive", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", _UNPACK),
    (b"Rar!", "a RAR archive", _UNPACK),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras writes it", "convert it, or give the PyTorch weights"),
    (b"\x93NUMPY", "a NumPy array", "give a state dict saved as .safetensors or .pth"),
)


def refuse_page(path: Path) -> None:
    """Refuse a file of text that stands for the file that is wanted: a pointer to it, or a server's page.

    Raises:
        UserError: says what it is.
    """
    text = _text(_head(path))
    _refuse(path, None if text is None else _page(text))


def refuse_foreign(path: Path) -> None:
    """Refuse a file that is known to be something else than weights: a pointer, a page, an archive, a program.

    Raises:
        UserError: says what it is.
    """
    _refuse(path, _foreign(path))


def _refuse(path: Path, found: tuple[str, str] | None) -> None:
    if found is not None:
        what, remedy = found
        raise UserError(f"{path}: is {what}; {remedy}")


def _head(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(_HEAD)


def _foreign(path: Path) -> tuple[str, str] | None:
    """What a file is and what to do, or None where it may be weights."""
    head = _head(path)
    if not head:
        return "an empty file", "get it again"
    for magic, what, remedy in _MAGIC:
        if head.startswith(magic):
            return what, remedy
    if head[257:262] == b"ustar":
        return "a tar archive", _UNPACK
    if head.startswith(b"PK"):
        return _zip(path)
    text = _text(head)
    if text is None:
        return None
    first = " ".join(text.split())[:_SHOWN]
    other = f"a text that begins with {first!r}", "give a state dict saved as .safetensors or .pth"
    return _page(text) or other


def _page(text: str) -> tuple[str, str] | None:
    """What kind of text stands here for another file; None where it is some other text."""
    start = text.lstrip("\ufeff \t\r\n").lower()
    if start.startswith("version https://git-lfs"):
        return "a Git LFS pointer, not the file that it stands for", "run `git lfs pull` in its repository"
    if start.startswith(("<!doctype html", "<html")):
        return "an HTML page, such as a server sends in place of a file", "download the file itself"
    if start.startswith("<"):
        return "an XML page, such as a server sends in place of a file", "download the file itself"
    return None


def _text(head: bytes) -> str | None:
    """The beginning of a file as text, or None where it is none."""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return None
    return text if all(letter.isprintable() or letter in "\ufeff\t\r\n" for letter in text) else None


def _zip(path: Path) -> tuple[str, str] | None:
    """What a zip archive is; None for a PyTorch checkpoint, and for one that is damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError):
        return None
    inside = {name.partition("/")[2] for name in names}
    if "constants.pkl" in inside:
        return "a TorchScript file, which holds a program, and programs are not run", _SAVE_WEIGHTS
    if "data.pkl" in inside:
        return None
    if "models/model.json" in inside or "serialized_exported_program.json" in names:
        return "an exported program, not weights", "name it in a model card: `network: {program: FILE.pt2}`"
    more = ", …" if len(names) > _MEMBERS_SHOWN else ""
    shown = f" of {', '.join(names[:_MEMBERS_SHOWN])}{more}" if names else ""
    return f"a zip archive{shown}", _UNPACK
