"""Images that somebody sends, by the names of their units: a folder of PNGs or an npz file. Nothing in them is run."""

import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from assay.common.errors import UserError
from assay.tasks.shared.png import read_png

_LARGEST = 2**30  # bytes of one file, packed or not


def named_images(place: Path) -> dict[str, Tensor]:
    """The images of a folder or an npz file, each (C, H, W) float32 in [0, 1], by the names of their units.

    A folder holds PNGs, each named as its unit (with odd characters as ``%2F``). An npz file holds ``unit_ids`` (n,)
    and ``images``, (n, H, W, C) uint8 or (n, C, H, W) float.

    Raises:
        UserError: nothing is there, or it cannot be read, is too large, or names an image twice.
    """
    if place.is_dir():
        paths = sorted(path for path in place.iterdir() if path.suffix == ".png" and path.is_file())
        if not paths:
            raise UserError(f"{place}: holds no PNG; name each image as its unit, such as {place}/0007.png")
        return {unquote(path.stem): _read(path) for path in paths}
    names, images = _arrays(place)
    if images.dtype == np.uint8 and images.ndim == 4:
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    elif images.dtype.kind == "f" and images.ndim == 4:
        pixels = torch.from_numpy(images.astype(np.float32))
    else:
        raise UserError(
            f"{place}: `images` is {images.dtype} {images.shape}; expected (n, H, W, C) uint8 or (n, C, H, W) float"
        )
    listed = [str(name) for name in names.tolist()]
    if len(listed) != len(pixels) or len(set(listed)) != len(listed) or not listed:
        raise UserError(
            f"{place}: `unit_ids` has {len(listed)} names for {len(pixels)} images; name each image once"
        )
    return dict(zip(listed, pixels, strict=True))


def _read(path: Path) -> Tensor:
    try:
        if path.stat().st_size > _LARGEST:
            raise ValueError("too large")
        return read_png(path.read_bytes())
    except Exception as error:  # Pillow raises many kinds on damaged files
        raise UserError(f"{path}: cannot be read as a PNG ({type(error).__name__}); save it anew") from error


def _arrays(place: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    """``unit_ids`` and ``images`` of an npz file without pickled content."""
    try:
        with zipfile.ZipFile(place) as packed:
            if sum(part.file_size for part in packed.infolist()) > _LARGEST:
                raise ValueError("more than a GiB unpacked")
        with np.load(place, allow_pickle=False) as arrays:
            names, images = arrays["unit_ids"], arrays["images"]
    except Exception as error:  # zipfile and NumPy raise many kinds on damaged files, and on sizes that lie
        raise UserError(
            f"{place}: expected a folder of PNGs, or an npz file of `unit_ids` and `images` of at most a GiB, "
            f"nothing pickled ({error})"
        ) from error
    if names.ndim != 1 or names.dtype.kind != "U":
        raise UserError(f"{place}: `unit_ids` is {names.dtype} {names.shape}; expected one text per image")
    return names, images
