"""The small ReLU networks of the verification tasks: digits (shipped), and three on MNIST that a recipe trains."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from assay.common.errors import UserError
from assay.models.info import Card, Preprocessing, TrainedOn
from assay.models.places import find_weights, weight_folders
from assay.models.registry import Registry, entry_of

if TYPE_CHECKING:
    from assay.models.loaded import LoadedModel

_SHIPPED = Path(__file__).parents[1] / "weights"
_LABELS = {
    "digits_fnn": ("digits", 8, "64-32-32-10 on 8x8 digits, 64 ReLUs"),
    "mnist_fnn_200": ("mnist", 28, "784-100-100-10, 200 ReLUs"),
    "mnist_fnn_800": ("mnist", 28, "784-200-200-200-200-10, 800 ReLUs"),
    "mnist_cnn_2028": ("mnist", 28, "two strided convolutions and a hidden layer, 2,028 ReLUs"),
}


def register(registry: Registry) -> None:
    """Adds the four networks."""
    for name, (labels, side, title) in _LABELS.items():
        card = Card(
            name=name,
            source="trained by Assay's seeded recipe (assay train-small)",
            licence="Apache-2.0",
            architecture=name.replace("_", "-"),
            label_space=labels,
            num_classes=10,
            preprocessing=Preprocessing(crop=(side, side), mean=(0.0,), std=(1.0,)),
        )
        registry.add(entry_of(card, title, partial(_load, card), partial(_missing, name)))


def _find(name: str) -> Path | None:
    return find_weights(f"{name}.safetensors", _SHIPPED)


def _missing(name: str) -> str | None:
    if _find(name) is not None:
        return None
    folders = ", ".join(str(folder) for folder in weight_folders())
    return f"{name}.safetensors is in none of {folders}"


def _trained_on(weights: Path, labels: str) -> TrainedOn | None:
    """The list of training images that `assay train-small` writes beside the weights; older weights have none."""
    path = small_list(weights)
    return TrainedOn(data=f"{labels}-train", file=str(path)) if path.is_file() else None


def small_list(weights: Path) -> Path:
    """Where the hashes of a small network's training images lie: beside its weights."""
    return weights.with_suffix(".trained_on.txt")


def _load(card: Card, weights: Path | None) -> "LoadedModel":
    from assay.models import small_nets
    from assay.models.build import assemble
    from assay.models.weights import load_weights

    path = weights or _find(card.name)
    if path is None:
        raise UserError(
            f"{card.name}: {_missing(card.name)}; make it with `assay train-small {card.name} --data-root DIR` "
            "(DIR has MNIST), or give a file with --weights"
        )
    net = small_nets.ARCHITECTURES[card.name]()
    taken = load_weights(net, path)
    known = replace(
        card if weights is None else card.of_user(), trained_on=_trained_on(path, card.label_space)
    )
    return assemble(net, known.noting(*taken.notes), taken.sha256)
