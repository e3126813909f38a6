"""Timm's evaluation transform, read off the configuration that comes with its weights (no torch)."""

import math
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from assay.common.errors import UserError
from assay.common.validation import describe
from assay.models.info import Preprocessing, Resize

_BLACK = (0, 0, 0)


def has_test_values(config: Mapping[str, Any]) -> bool:
    """Whether a ``pretrained_cfg`` states another input or crop for testing than for training."""
    return bool(config.get("test_input_size") or config.get("test_crop_pct"))


def timm_preprocessing(name: str, config: Mapping[str, Any], *, at_test: bool = False) -> Preprocessing:
    """The transform that ``timm.data.create_transform`` makes of a ``pretrained_cfg``.

    Args:
        name: of the model, for messages.
        config: the ``pretrained_cfg`` as a dictionary.
        at_test: use its ``test_input_size`` and ``test_crop_pct``.

    Raises:
        UserError: a crop mode or a filter that Assay does not know.
    """
    from timm.data import resolve_data_config

    data = resolve_data_config({}, pretrained_cfg=dict(config), use_test_size=at_test)
    _, *crop = data["input_size"]
    scaled = (math.floor(crop[0] / data["crop_pct"]), math.floor(crop[1] / data["crop_pct"]))
    enlarges = any(side < cropped for side, cropped in zip(scaled, crop, strict=True))
    fields = {
        **_resize(name, data["crop_mode"], scaled, (crop[0], crop[1])),
        "crop": tuple(crop),
        "interpolation": data["interpolation"],
        "mean": tuple(data["mean"]),
        "std": tuple(data["std"]),
    }
    if data["crop_mode"] == "border":
        fields["pad"] = tuple(round(255 * value) for value in data["mean"])
    elif enlarges:
        fields["pad"] = _BLACK
    try:
        return Preprocessing.model_validate(fields)
    except ValidationError as error:
        raise UserError(
            f"{name}: timm's data configuration is not supported: {describe(error)}; {_OWN}"
        ) from error


_OWN = "load it by a factory of your own, which returns (module, preprocessing)"


def _resize(name: str, mode: str, scaled: tuple[int, int], crop: tuple[int, int]) -> dict[str, Any]:
    """``resize`` and ``fit`` for one of timm's crop modes; ``scaled`` is the crop over ``crop_pct``."""
    exact: Resize = "direct" if scaled == crop else scaled
    shorter: dict[str, Any] = (
        {"resize": scaled[0]} if scaled[0] == scaled[1] else {"resize": scaled, "fit": "cover"}
    )
    modes = {"center": shorter, "squash": {"resize": exact}, "border": {"resize": scaled, "fit": "contain"}}
    if mode not in modes:
        raise UserError(f"{name}: timm's crop mode {mode!r} is not supported; {_OWN}")
    return modes[mode]
