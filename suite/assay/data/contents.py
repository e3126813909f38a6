"""What a picture shows, as a short hash: tells whether two data sets hold the same picture, however it is stored."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from assay.common.atomic import write_atomically
from assay.common.errors import UserError
from assay.data.dataset import Dataset
from assay.data.layouts import Sample
from assay.data.pixels import ImageError, Pixels

HASH_LETTERS = 16
"""Hexadecimal digits of a hash: 64 bits, so that a million pictures against a million meet by chance once in 10^7."""


def content_hash(pixels: Pixels) -> str:
    """The picture's hash: of its size and pixels, grey stored in three channels being the same as in one.

    Args:
        pixels: uint8 (H, W, C).
    """
    grey = (pixels == pixels[:, :, :1]).all()
    shown = pixels[:, :, :1] if grey else pixels
    digest = hashlib.sha256(f"{shown.shape}\0".encode())
    digest.update(shown.tobytes())
    return digest.hexdigest()[:HASH_LETTERS]


def content_hashes(data: Dataset, samples: Iterable[Sample]) -> set[str]:
    """The hashes of some of a data set's pictures; one that cannot be read has none."""
    found = (hash_of(data, sample) for sample in samples)
    return {each for each in found if each is not None}


def hash_of(data: Dataset, sample: Sample) -> str | None:
    """The hash of one of a data set's pictures as it is stored; None where it cannot be read.

    So a picture that a network was trained on is known again in noise and fog.
    """
    try:
        return content_hash(data.image_as_stored(sample))
    except ImageError:
        return None


def write_hashes(path: Path, hashes: Iterable[str]) -> None:
    """Write a list of hashes, sorted, one per line.

    Raises:
        UserError: the disk is full, or the folder cannot be written.
    """
    write_atomically(path, "".join(f"{each}\n" for each in sorted(set(hashes))))


def read_hashes(path: Path) -> frozenset[str]:
    """The hashes in a list.

    Raises:
        UserError: it cannot be read, or holds something else.
    """
    try:
        lines = path.read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path}: the list of training pictures cannot be read ({error}); put it back"
        ) from error
    wrong = next(
        (line for line in lines if len(line) != HASH_LETTERS or set(line) - set("0123456789abcdef")), None
    )
    if wrong is not None:
        raise UserError(
            f"{path}: expected {HASH_LETTERS} hexadecimal digits a line, as `assay train` writes them "
            f"(got {wrong[:40]!r})"
        )
    return frozenset(lines)
