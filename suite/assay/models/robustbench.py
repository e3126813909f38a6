"""RobustBench's model zoo, read off the Python package of that name: architectures, preprocessing, file names.

The package's own loader is not used: it downloads, and unpickles what it downloads. The package's ``__init__`` is not
imported either: it needs download tools and the ``pkg_resources`` that setuptools has dropped; its model zoo needs
neither.
"""

from __future__ import annotations

import importlib.util
import re
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from assay.common.errors import UserError
from assay.models.info import IMAGENET, Interpolation, Preprocessing, Resize
from assay.models.timm_data import timm_preprocessing

if TYPE_CHECKING:
    from torch import Tensor, nn

PACKAGE = "robustbench"
HOW_TO_INSTALL = (
    "pip install 'assay[robustbench]', then pip install --no-deps robustbench==1.1.1 "
    "(the package asks for a timm of its own, which it does not need)"
)

_LABEL_SPACES = {"cifar10": ("cifar-10", 10), "cifar100": ("cifar-100", 100), "imagenet": (IMAGENET, 1000)}
_IMAGENET_SIZES: Mapping[str, tuple[Resize, int, Interpolation]] = {
    "Res256Crop224": (256, 224, "bilinear"),
    "BicubicRes256Crop224": (256, 224, "bicubic"),
    "Res224": ("direct", 224, "bilinear"),
    "Crop288": (None, 288, "bilinear"),
}
_MEAN, _STD = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)  # its networks take pixels in [0, 1] and normalise inside
_CONSTANTS = ("mean", "std", "mu", "sigma")  # buffers that some published checkpoints lack
_LEFT_OUT = re.compile(r"(^|\.)model_preact_hl1\.|\.scores$")  # tensors that some have and no prediction uses


@dataclass(frozen=True)
class Published:
    """One network of the zoo.

    Attributes:
        dataset: ``cifar10``, ``cifar100`` or ``imagenet``.
        threat: ``Linf``, ``L2`` or ``corruptions``.
        name: RobustBench's own.
        described: the package's dictionary on it.
    """

    dataset: str
    threat: str
    name: str
    described: Mapping[str, Any]

    @property
    def full_name(self) -> str:
        """``DATASET/NAME:THREAT``."""
        return f"{self.dataset}/{self.name}:{self.threat}"

    @property
    def label_space(self) -> str:
        """The meaning of the logits' indices."""
        return _LABEL_SPACES[self.dataset][0]

    @property
    def num_classes(self) -> int:
        """The number of logits."""
        return _LABEL_SPACES[self.dataset][1]

    @property
    def file(self) -> Path:
        """The weight file in the folder that its loader fills."""
        return Path(self.dataset) / self.threat / f"{self.name}.pt"

    @property
    def inside(self) -> str | None:
        """The key of the checkpoint under which the weights lie, where they lie under one of its own."""
        several = "Kireev2021Effectiveness" in self.name or self.name == "Andriushchenko2020Understanding"
        return "last" if several else None

    @property
    def timm_name(self) -> str | None:
        """The name under which the package registers the network in timm, if it does."""
        import timm

        name = f"{self.name.lower().replace('-', '_')}_{self.dataset}_{self.threat.lower()}"
        return name if timm.is_model(name) else None

    @property
    def timm_file(self) -> str | None:
        """The file under which timm keeps the weights of a network that is registered there."""
        import timm

        config = timm.models.get_pretrained_cfg(self.timm_name) if self.timm_name is not None else None
        return config.url.rsplit("/", 1)[-1] if config is not None and config.url else None

    def network(self) -> nn.Module:
        """The architecture with fresh weights.

        Raises:
            UserError: it is an ensemble, or has no weight file of its own.
        """
        import timm

        if self.timm_name is not None:
            net: nn.Module = timm.create_model(self.timm_name, pretrained=False, num_classes=self.num_classes)
            return net
        files = self.described.get("gdrive_id")
        if isinstance(files, list):
            raise UserError(
                f"{self.full_name}: is an ensemble of {len(files)} weight files, which Assay does not put together; "
                "load it by a factory of your own"
            )
        if not files:  # its builder would fetch weights itself
            raise UserError(
                f"{self.full_name}: has torchvision's weights and none of its own; name torchvision's network"
            )
        built: nn.Module = self.described["model"]()
        return built

    def preprocessing(self, net: nn.Module) -> Preprocessing:
        """From image to input: RobustBench's own transforms, without a normalisation, which is inside the network.

        Raises:
            UserError: a transform that Assay does not know.
        """
        if self.dataset != "imagenet":
            return Preprocessing(crop=(32, 32), mean=_MEAN, std=_STD)
        if self.timm_name is not None:
            inner: Any = getattr(net, "model", net)  # behind a normalisation of the package's
            return timm_preprocessing(self.full_name, {**inner.pretrained_cfg, "mean": _MEAN, "std": _STD})
        said = str(self.described.get("preprocessing"))
        if said not in _IMAGENET_SIZES:
            raise UserError(
                f"{self.full_name}: its preprocessing {said!r} is not known; load it by a factory of your own, which "
                "returns (module, preprocessing)"
            )
        resize, side, interpolation = _IMAGENET_SIZES[said]
        return Preprocessing(
            resize=resize, crop=(side, side), interpolation=interpolation, mean=_MEAN, std=_STD
        )


def installed() -> bool:
    """Whether the package is there (it is not imported)."""
    return importlib.util.find_spec(PACKAGE) is not None


def published() -> list[Published]:
    """Every network of the zoo.

    Raises:
        UserError: the package or what its zoo needs is not installed.
    """
    try:
        with _without_its_init(), warnings.catch_warnings(action="ignore"):  # on timm's older module names
            from robustbench.model_zoo import model_dicts
    except ImportError as error:
        raise UserError(f"RobustBench's model zoo cannot be imported ({error}); {HOW_TO_INSTALL}") from error
    return [
        Published(dataset.value, threat.value, name, described)
        for dataset, threats in model_dicts.items()
        for threat, models in threats.items()
        for name, described in models.items()
    ]


@contextmanager
def _without_its_init() -> Iterator[None]:
    """Within the block, the package is a plain folder of modules, unless it has been imported already."""
    spec = importlib.util.find_spec(PACKAGE)
    if PACKAGE in sys.modules or spec is None or spec.submodule_search_locations is None:
        yield
        return
    folder = ModuleType(PACKAGE)
    folder.__path__ = list(spec.submodule_search_locations)
    sys.modules[PACKAGE] = folder
    try:
        yield
    finally:
        del sys.modules[PACKAGE]  # a later `import robustbench` is the real one


def fitted(net: nn.Module, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """A published checkpoint under the network's names; ``state`` unchanged where no renaming makes it fit.

    Checkpoints of the zoo have ``module.`` and ``model.`` too many or ``model.`` too few, older names of timm's Swin,
    lack the constants of a normalisation, or have tensors that no prediction uses.
    """
    own = net.state_dict()
    for renamed in _renamings(net, state):
        used = {name: value for name, value in renamed.items() if name in own or not _LEFT_OUT.search(name)}
        missing = [name for name in own if name not in used and not name.endswith("num_batches_tracked")]
        if used.keys() <= own.keys() and all(name.split(".")[-1] in _CONSTANTS for name in missing):
            return used | {name: own[name] for name in own if name not in used}
    return state


def _renamings(net: nn.Module, state: Mapping[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    bare = {name.removeprefix("module.").removeprefix("model."): value for name, value in state.items()}
    yield dict(state)
    yield {name.removeprefix("module."): value for name, value in state.items()}
    yield bare
    yield {f"model.{name}": value for name, value in bare.items()}
    inner = getattr(net, "model", None)
    if type(inner).__name__ == "SwinTransformer":
        from timm.models.swin_transformer import checkpoint_filter_fn

        today = checkpoint_filter_fn(bare, inner)
        yield {f"model.{name}": value for name, value in today.items()}
