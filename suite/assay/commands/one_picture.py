"""What the verbs about one picture share: the network, the picture's pixels, and settings as KEY=VALUE."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.commands.options import devices
from assay.common.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from assay.models.info import ModelInfo
    from assay.models.loaded import LoadedModel


def setting(text: str) -> tuple[str, Any]:
    """``samples=100`` as a key and a number, or text where it is none."""
    key, equals, value = text.partition("=")
    if not (key and equals and value):
        raise UserError(f"--set: expected KEY=VALUE, found {text!r}")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def loaded_model(model: str, weights: Path | None, device: str) -> "LoadedModel":
    """The network that the user named, on the first of the devices that are meant."""
    from assay.models.zoo import load_model

    return load_model(model, weights=weights, device=devices(device)[0])


def require_class(option: str, number: int | None, info: "ModelInfo") -> None:
    """Refuse a class that the network does not know; None stands for no class."""
    if number is not None and not 0 <= number < info.num_classes:
        raise UserError(
            f"{option} {number}: {info.name} has the classes 0..{info.num_classes - 1}; choose one of them"
        )


def picture_pixels(
    image: str, data: str | None, roots: list[Path], info: "ModelInfo"
) -> "np.ndarray[Any, Any]":
    """The picture, uint8 (H, W, C)."""
    from assay.data.pixels import read_picture

    if data is not None:
        return _sample(image, data, roots, info)
    if not Path(image).is_file():
        raise UserError(f"{image}: no such file; give a picture's path, or a sample's id with --data NAME")
    return read_picture(Path(image), info.input_shape[0])


def _sample(unit_id: str, data: str, roots: list[Path], info: "ModelInfo") -> "np.ndarray[Any, Any]":
    import difflib

    from assay.tasks.shared.own_pictures import open_pictures

    opened = open_pictures(data, info, roots)
    known = {sample.unit_id: sample for sample in opened.samples}
    if unit_id not in known:
        padded = [name for name in known if name.lstrip("0") == unit_id]
        near = padded or difflib.get_close_matches(unit_id, known, n=3, cutoff=0.3) or list(known)[:3]
        raise UserError(f"data set {data} has no sample {unit_id!r}; it has {', '.join(near)} and others")
    return opened.image(known[unit_id])
