"""A user's own model: ``package.module:factory``, a callable without arguments, importable from here too.

It returns a module that takes pixels in [0, 1], or ``(module, preprocessing)`` with a dictionary of the
fields of :class:`Preprocessing` (``label_space``, ``source`` and ``licence`` too if wanted), or a
``LoadedModel``.
"""

import importlib
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from assay.errors import UserError
from assay.models.info import UNSTATED, Card, Preprocessing
from assay.models.registry import Family, Registry, ZooEntry, pattern_row
from assay.validation import describe

if TYPE_CHECKING:
    from torch import nn

    from assay.models.loaded import LoadedModel

_SOURCE = "the user's factory"
_COMMON_SHAPES = ((3, 224, 224), (3, 32, 32), (1, 28, 28), (1, 8, 8))
_IMAGENET_CLASSES = 1000


class Description(Preprocessing):
    """What a factory may say beside its module."""

    label_space: str = UNSTATED
    source: str = _SOURCE
    licence: str = "unstated"

    def preprocessing(self) -> Preprocessing:
        """The part that changes the answer."""
        return Preprocessing(**{name: getattr(self, name) for name in Preprocessing.model_fields})


def register(registry: Registry) -> None:
    """Adds the pattern ``package.module:factory``."""
    row = pattern_row("package.module:factory", "your own callable that returns a module", _SOURCE)
    registry.add_family(Family(resolve=_resolve, listed=lambda: [row], names=lambda: []))


def _resolve(name: str) -> ZooEntry | None:
    module, colon, attribute = name.partition(":")
    if not colon or module == "onnx" or not attribute.isidentifier():
        return None
    return ZooEntry(name, name, _SOURCE, "unstated", UNSTATED, partial(_load, name), lambda: None)


def _load(name: str, weights: Path | None) -> "LoadedModel":
    from torch import nn

    from assay.models.build import assemble
    from assay.models.loaded import LoadedModel
    from assay.models.weights import file_sha256, load_strictly, read_state_dict, state_dict_sha256

    product = _call(name, _factory(name))
    if isinstance(product, LoadedModel):
        if weights is not None:
            raise UserError(f"{name}: returns a LoadedModel, which has its weights; leave out --weights")
        return _described(product, name)
    net, said = product if isinstance(product, tuple) and len(product) == 2 else (product, None)
    if not isinstance(net, nn.Module):
        raise UserError(
            f"{name}: returned {type(product).__name__}; return a torch module, (module, preprocessing) "
            "or a LoadedModel"
        )
    if weights is not None:
        load_strictly(net, read_state_dict(weights), str(weights))
    net.cpu().eval()
    description = _description(name, net, said)
    card = Card(
        name=name,
        source=description.source,
        licence=description.licence,
        architecture=f"{type(net).__module__}.{type(net).__qualname__}",
        label_space=description.label_space,
        num_classes=_num_classes(name, net, (len(description.mean), *description.crop)),
        preprocessing=description.preprocessing(),
    )
    weights_sha256 = file_sha256(weights) if weights else state_dict_sha256(net.state_dict())
    return assemble(net, card, weights_sha256, code=[name.partition(":")[0]])


def _described(model: "LoadedModel", name: str) -> "LoadedModel":
    """A model that the factory made whole, with what its network does: it need not be what its card says."""
    from assay.canonical import canonical_sha256
    from assay.models.fingerprint import fingerprint
    from assay.models.structure import structure_sha256
    from assay.models.weights import state_dict_sha256

    structure = structure_sha256(model.module, [name.partition(":")[0]])
    found = {
        "structure_sha256": canonical_sha256([structure, state_dict_sha256(model.module.state_dict())]),
        "fingerprint": fingerprint(model.module, model.info.input_shape),
    }
    return replace(model, info=model.info.model_copy(update=found))


def _factory(name: str) -> Callable[[], Any]:
    module_name, _, attribute = name.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # a user's module may fail in any way
        raise UserError(
            f"{name}: importing {module_name} failed ({type(error).__name__}: {error})"
        ) from error
    factory = getattr(module, attribute, None)
    if not callable(factory):
        raise UserError(f"{name}: {module_name} has no callable {attribute!r}; check its spelling")
    return factory  # type: ignore[no-any-return]


def _call(name: str, factory: Callable[[], Any]) -> Any:
    try:
        return factory()
    except UserError:
        raise
    except Exception as error:  # a user's factory may fail in any way
        raise UserError(
            f"{name}: calling it without arguments failed ({type(error).__name__}: {error})"
        ) from error


def _description(name: str, net: "nn.Module", said: object) -> Description:
    if said is None:
        return _guessed(name, net)
    if isinstance(said, Preprocessing):
        said = said.model_dump()
    if not isinstance(said, dict):
        raise UserError(f"{name}: its preprocessing is a {type(said).__name__}; return a dictionary")
    try:
        return Description.model_validate(said, strict=False)
    except ValidationError as error:
        raise UserError(f"{name}: its preprocessing is wrong: {describe(error)}") from error


def _guessed(name: str, net: "nn.Module") -> Description:
    """A bare module takes plain pixels in the one common shape it accepts; ImageNet's for 1,000 classes."""
    accepted = {shape: count for shape in _COMMON_SHAPES if (count := _classes(net, shape)) is not None}
    shape = next(iter(accepted), None)
    if shape is not None and accepted[shape] == _IMAGENET_CLASSES and shape == _COMMON_SHAPES[0]:
        return Description(resize=256, crop=shape[1:], mean=(0.0,) * 3, std=(1.0,) * 3)
    if shape is None or len(accepted) > 1:
        raise UserError(
            f"{name}: its input shape cannot be told from the module; return (module, preprocessing), "
            "such as (net, {'crop': (32, 32), 'mean': (0, 0, 0), 'std': (1, 1, 1)})"
        )
    return Description(crop=shape[1:], mean=(0.0,) * shape[0], std=(1.0,) * shape[0])


def _num_classes(name: str, net: "nn.Module", shape: tuple[int, int, int]) -> int:
    count = _classes(net, shape)
    if count is None:
        raise UserError(
            f"{name}: does not return (images, classes) for images of shape {shape}; correct its "
            "preprocessing's crop and mean, or the module"
        )
    return count


def _classes(net: "nn.Module", shape: tuple[int, int, int]) -> int | None:
    """The number of logits for images of ``shape``, or None if the network does not take them."""
    import torch

    try:
        with torch.no_grad():
            logits = net(torch.full((2, *shape), 0.5))
    except Exception:  # a foreign forward may refuse a shape in any way
        return None
    is_logits = isinstance(logits, torch.Tensor) and logits.ndim == 2 and len(logits) == 2
    return int(logits.shape[1]) if is_logits else None
