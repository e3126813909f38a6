"""The small ReLU networks: one each on digits, MNIST and Fashion-MNIST that ship, and two on MNIST to be trained."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from assay.common.errors import UserError
from assay.models.info import Card, Preprocessing, TrainedOn
from assay.models.places import find_weights, weight_folders
from assay.models.registry import Registry, entry_of
from assay.models.trained import TRAINED_ON_FILE, WEIGHTS_FILE

if TYPE_CHECKING:
    from assay.models.loaded import LoadedModel

_CLASSES = 10
_SHIPPED = Path(__file__).parents[1] / "weights"


class _Net(NamedTuple):
    recipe: str
    architecture: str
    label_space: str
    side: int
    """Height and width of its pictures, in pixels."""
    title: str


_NETS = {
    "digits_fnn": _Net("munakata/digits", "digits-fnn", "digits", 8, "64-32-32-10 on 8x8 digits, 64 ReLUs"),
    "mnist_fnn_200": _Net("munakata/mnist/fnn_200", "mnist-fnn-200", "mnist", 28, "784-100-100-10, 200 ReLUs"),
    "fashion_fnn_200": _Net(
        "munakata/fashion_mnist", "mnist-fnn-200", "fashion-mnist", 28, "784-100-100-10 on clothes, 200 ReLUs"
    ),
    "mnist_fnn_800": _Net(
        "munakata/mnist/fnn_800", "mnist-fnn-800", "mnist", 28, "784-200-200-200-200-10, 800 ReLUs"
    ),
    "mnist_cnn_2028": _Net(
        "munakata/mnist/cnn_2028", "mnist-cnn-2028", "mnist", 28,
        "two strided convolutions and a hidden layer, 2,028 ReLUs",
    ),
}  # fmt: skip


def register(registry: Registry) -> None:
    """Adds the five networks."""
    for name, net in _NETS.items():
        card = Card(
            name=name,
            source=f"trained by Assay's recipe {net.recipe}",
            licence="Apache-2.0",
            architecture=net.architecture,
            label_space=net.label_space,
            num_classes=_CLASSES,
            preprocessing=Preprocessing(crop=(net.side, net.side), mean=(0.0,), std=(1.0,)),
        )
        registry.add(entry_of(card, net.title, partial(_load, card), partial(_missing, name)))


def _find(name: str) -> Path | None:
    """``NAME.safetensors``, or the folder ``NAME`` that `assay train` made."""
    return find_weights(f"{name}.safetensors", _SHIPPED) or find_weights(f"{name}/{WEIGHTS_FILE}")


def _missing(name: str) -> str | None:
    if _find(name) is not None:
        return None
    folders = ", ".join(str(folder) for folder in weight_folders())
    return f"neither {name}.safetensors nor {name}/{WEIGHTS_FILE} is in one of {folders}"


def _trained_on(weights: Path, labels: str) -> TrainedOn | None:
    """The list of training images beside the weights; older weights have none."""
    named = weights.with_suffix(f".{TRAINED_ON_FILE}")
    path = weights.parent / TRAINED_ON_FILE if weights.name == WEIGHTS_FILE else named
    return TrainedOn(data=f"{labels}-train", file=str(path)) if path.is_file() else None


def _load(card: Card, weights: Path | None) -> "LoadedModel":
    from assay.models.architectures import build
    from assay.models.build import assemble
    from assay.models.weights import load_weights

    path = weights or _find(card.name)
    if path is None:
        raise UserError(
            f"{card.name}: {_missing(card.name)}; make it with `assay train {_NETS[card.name].recipe} --out "
            f"nets/{card.name} --data-root DIR` (DIR has MNIST) and set ASSAY_DATA=nets, or give a file with --weights"
        )
    shape = (len(card.preprocessing.mean), *card.preprocessing.crop)
    net = build(card.architecture, shape, _CLASSES)
    taken = load_weights(net, path)
    known = replace(
        card if weights is None else card.of_user(), trained_on=_trained_on(path, card.label_space)
    )
    return assemble(net, known.noting(*taken.notes), taken.sha256)
