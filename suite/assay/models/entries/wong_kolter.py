"""The two provably robust convnets of Wong and Kolter (arXiv 1711.00851), trained for L-infinity eps = 0.1.

Their checkpoints are published at locuslab/convex_adversarial (MIT) and not shipped. Give a file as ``--weights``, or
put it under its own name in ``ASSAY_DATA`` or the cache; there it must have the published hash.
"""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from assay.common.errors import UserError
from assay.models.info import Card, Preprocessing
from assay.models.places import find_weights, weight_folders
from assay.models.registry import Registry, entry_of

if TYPE_CHECKING:
    from torch import nn

    from assay.models.loaded import LoadedModel

_SHA256 = {
    "wk_mnist": "a3f730ab1291a5d583ad486043932cca221e8fbfaf727335b3e597f61c05e3ea",
    "wk_fashion_mnist": "7665f7a1ae64f9696cd2ddda31b0110524b26a879ab1d097d7e21d9197b015d2",
}


def register(registry: Registry) -> None:
    """Adds ``wk_mnist`` and ``wk_fashion_mnist``."""
    for name in _SHA256:
        card = Card(
            name=name,
            source="locuslab/convex_adversarial, commit 2cd8149",
            licence="MIT",
            architecture="wong-kolter-convnet",
            label_space=name.removeprefix("wk_").replace("_", "-"),
            num_classes=10,
            preprocessing=Preprocessing(crop=(28, 28), mean=(0.0,), std=(1.0,)),
        )
        title = f"Wong-Kolter robust convnet, {card.label_space}, eps = 0.1"
        registry.add(entry_of(card, title, partial(_load, card), partial(_missing, name)))


def convnet() -> "nn.Module":
    """The architecture with fresh weights: (N, 1, 28, 28) to (N, 10); tensors are named as published."""
    from torch import nn

    return nn.Sequential(
        nn.Conv2d(1, 16, kernel_size=4, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, kernel_size=4, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * 7 * 7, 100),
        nn.ReLU(),
        nn.Linear(100, 10),
    )


def _missing(name: str) -> str | None:
    if find_weights(f"{name}.safetensors") is not None:
        return None
    folders = ", ".join(str(folder) for folder in weight_folders())
    return f"{name}.safetensors is in none of {folders}"


def _load(card: Card, weights: Path | None) -> "LoadedModel":
    from assay.models.build import assemble
    from assay.models.weights import load_weights

    path = weights or find_weights(f"{card.name}.safetensors")
    if path is None:
        raise UserError(f"{card.name}: {_missing(card.name)}; put it there or give it as --weights")
    net = convnet()
    taken = load_weights(net, path)
    published = taken.sha256 == _SHA256[card.name]
    if weights is None and not published:
        raise UserError(
            f"{path}: is not the published {card.name} (SHA-256 {taken.sha256[:8]}…, published "
            f"{_SHA256[card.name][:8]}…); replace it, or give it as --weights if that is meant"
        )
    return assemble(net, (card if published else card.of_user()).noting(*taken.notes), taken.sha256)
