"""A user's own model: ``package.module:factory``, a callable without arguments, importable from here too.

It returns a module that takes pixels in [0, 1], a ``LoadedModel``, or ``(module, description)``. The description is a
dictionary of a model card's fields (``input``, ``output``, ``num_classes``, ``label_space``, ``clean_accuracy``,
``source``, ``licence``, ``trained_on``). Or it has the fields of :class:`Preprocessing`, with ``label_space``,
``source``, ``licence`` and ``trained_on`` if wanted.

The working directory is on the import path while the factory is imported and called, and at no other time.
"""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from assay.common.errors import UserError
from assay.common.validation import describe
from assay.models.card_file import CardFields, as_card_fields, trained_on_of
from assay.models.info import UNSTATED, Card, Preprocessing
from assay.models.registry import CODE, Family, Registry, ZooEntry, pattern_row

if TYPE_CHECKING:
    from torch import nn

    from assay.models.loaded import LoadedModel
    from assay.models.weights import TakenWeights

_SOURCE = "the user's factory"
_SAY_SHAPE = (
    "return (module, preprocessing), such as (net, {'crop': (32, 32), 'mean': (0, 0, 0), 'std': (1, 1, 1)})"
)
_COMMON_SHAPES = ((3, 224, 224), (3, 32, 32), (1, 28, 28), (1, 8, 8))
_IMAGENET_CLASSES = 1000


class Description(Preprocessing):
    """What a factory may return besides its module."""

    label_space: str = UNSTATED
    source: str = _SOURCE
    licence: str = "unstated"
    trained_on: str | None = None

    def preprocessing(self) -> Preprocessing:
        """The part that changes the answer."""
        return Preprocessing(**{name: getattr(self, name) for name in Preprocessing.model_fields})

    def fields(self) -> CardFields:
        """The rest."""
        return CardFields(
            label_space=self.label_space,
            source=self.source,
            licence=self.licence,
            trained_on=self.trained_on,
        )


@dataclass(frozen=True)
class FactoryProduct:
    """What a factory made.

    Attributes:
        name: the factory's.
        module: with its weights, on the CPU.
        preprocessing: as the factory says; None where it says no size.
        fields: what else it says.
    """

    name: str
    module: "nn.Module"
    preprocessing: Preprocessing | None
    fields: CardFields

    @property
    def architecture(self) -> str:
        """The module's class."""
        return f"{type(self.module).__module__}.{type(self.module).__qualname__}"

    @property
    def code(self) -> tuple[str, ...]:
        """The modules of Python whose text decides what it does: the factory's, where there is one."""
        module, colon, _ = self.name.partition(":")
        return (module,) if colon else ()

    def weights(self, file: Path | None = None, key: str | None = None) -> "TakenWeights":
        """Put in the weights of a file, if one is given, in place of the factory's own; errors are UserErrors."""
        from assay.models.weights import TakenWeights, load_weights, state_dict_sha256

        if file is not None:
            return load_weights(self.module, file, key)
        return TakenWeights(state_dict_sha256(self.module.state_dict()), ())


def register(registry: Registry) -> None:
    """Adds the pattern ``package.module:factory``."""
    row = pattern_row("package.module:factory", "your own callable that returns a module", _SOURCE)
    registry.add_family(Family(resolve=_resolve, listed=lambda: [row], names=lambda: [], leads_to=CODE))


def _resolve(name: str) -> ZooEntry | None:
    module, colon, attribute = name.partition(":")
    if not colon or module == "onnx" or not attribute.isidentifier():
        return None
    return ZooEntry(name, name, _SOURCE, "unstated", UNSTATED, partial(_load, name), lambda: None)


def _load(name: str, weights: Path | None) -> "LoadedModel":
    return load_product(name, _product(name), weights)


def load_product(name: str, product: object, weights: Path | None = None) -> "LoadedModel":
    """The model called ``name`` from what a factory returned, or a user in Python has in memory.

    Raises:
        UserError: it is no network, or is not what it says.
    """
    from assay.models.adapters import in_layout
    from assay.models.build import assemble
    from assay.models.loaded import LoadedModel

    if isinstance(product, LoadedModel):
        if weights is not None:
            raise UserError(f"{name}: returns a LoadedModel, which has its weights; leave out --weights")
        return _described(product, name)
    made = _made(name, product)
    taken = made.weights(weights)
    fields = made.fields
    preprocessing = made.preprocessing or fields.input.preprocessing(_guessed(made), name)
    card = Card(
        name=name,
        source=fields.source if fields.source != UNSTATED else _SOURCE,
        licence=fields.licence,
        architecture=made.architecture,
        label_space=UNSTATED if fields.classes else str(fields.label_space),
        num_classes=fields.class_count,
        preprocessing=preprocessing,
        classes=fields.classes,
        clean_accuracy=fields.clean_accuracy,
        output=fields.output,
        notes=taken.notes,
        trained_on=trained_on_of(fields.trained_on) if weights is None else None,
    )
    return assemble(in_layout(made.module, preprocessing.layout), card, taken.sha256, made.code)


def made_by(name: str) -> FactoryProduct:
    """What the factory called ``name`` makes.

    Raises:
        UserError: it cannot be imported or called, or what it makes is no network to be described.
    """
    return _made(name, _product(name))


def _made(name: str, product: object) -> FactoryProduct:
    from torch import nn

    net, said = product if isinstance(product, tuple) and len(product) == 2 else (product, None)
    if not isinstance(net, nn.Module):
        raise UserError(
            f"{name}: returned {type(product).__name__}; return a torch module, (module, description) "
            "or, where no card describes it, a LoadedModel"
        )
    preprocessing, fields = _said(name, said)
    return FactoryProduct(name, net.cpu().eval(), preprocessing, fields)


def _described(model: "LoadedModel", name: str) -> "LoadedModel":
    """A model that the factory made whole, with its network's real structure, which the card may not state."""
    from assay.common.canonical import canonical_sha256
    from assay.models.fingerprint import fingerprint
    from assay.models.structure import structure_sha256
    from assay.models.weights import state_dict_sha256

    structure = structure_sha256(model.module, [name.partition(":")[0]])
    found = {
        "structure_sha256": canonical_sha256([structure, state_dict_sha256(model.module.state_dict())]),
        "fingerprint": fingerprint(model.module, model.info.input_shape),
    }
    return replace(model, info=model.info.model_copy(update=found))


@contextmanager
def _importable_from_here() -> Iterator[None]:
    """Let modules of the working directory be imported while a factory that the user named is at work.

    Only then: what lies there later may be somebody else's.
    """
    here = str(Path.cwd())
    if here in sys.path:
        yield
        return
    sys.path.append(here)
    try:
        yield
    finally:
        sys.path.remove(here)


@_importable_from_here()
def _product(name: str) -> Any:
    """What the factory returns.

    Raises:
        UserError: it cannot be imported or called; its own words are quoted.
    """
    from assay.models.check import quoted

    module_name, _, attribute = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # a user's module may fail in any way
        raise UserError(f"{name}: importing {module_name} {_ended(error, quoted(error))}") from error
    factory = getattr(module, attribute, None)
    if not callable(factory):
        raise UserError(f"{name}: {module_name} has no callable {attribute!r}; check its spelling")
    try:
        return factory()
    except UserError:
        raise
    except (Exception, SystemExit) as error:  # a user's factory may fail in any way
        raise UserError(f"{name}: calling it without arguments {_ended(error, quoted(error))}") from error


def _ended(error: BaseException, words: str) -> str:
    """How a call ended that did not return, and what to do about it."""
    if isinstance(error, SystemExit):
        return f"ended the program ({words}); raise an exception, or return the network"
    return f"failed ({words})"


def _said(name: str, said: object) -> tuple[Preprocessing | None, CardFields]:
    """What a factory says of its module: the preprocessing, None where it gives no size, and the other fields.

    Raises:
        UserError: it is no dictionary, or a field is wrong.
    """
    if said is None:
        return None, CardFields()
    if isinstance(said, Preprocessing):
        said = said.model_dump()
    if not isinstance(said, dict):
        raise UserError(f"{name}: its preprocessing is a {type(said).__name__}; return a dictionary")
    if not said.keys() & Preprocessing.model_fields.keys():
        fields = as_card_fields(said, f"{name}: its description")
        return fields.input.preprocessing(None, name) if fields.input.size else None, fields
    try:
        description = Description.model_validate(said, strict=False)
    except ValidationError as error:
        raise UserError(f"{name}: its preprocessing is wrong: {describe(error)}") from error
    return description.preprocessing(), description.fields()


def _guessed(made: FactoryProduct) -> Preprocessing:
    """The card of a bare module: plain pixels of the only common shape that it accepts (1,000 classes: ImageNet's)."""
    import torch

    from assay.models.adapters import in_layout
    from assay.models.check import ForwardError
    from assay.models.outputs import IMAGES, read_output

    net = in_layout(made.module, made.fields.input.layout or "nchw")
    accepted: dict[tuple[int, int, int], int] = {}
    failures: dict[str, tuple[int, int, int]] = {}
    for shape in _COMMON_SHAPES:
        images = torch.full((IMAGES, *shape), 0.5)
        try:
            reading = read_output(net, images, made.name, made.fields.output, made.fields.class_count)
            accepted[shape] = reading.num_classes
        except ForwardError as error:
            failures.setdefault(error.words, shape)
    if not accepted:
        shown = ", ".join(f"{' x '.join(map(str, shape))}: {words}" for words, shape in failures.items())
        raise UserError(
            f"{made.name}: its input shape cannot be told from the module, which fails on those that are tried "
            f"({shown}); mend it, or {_SAY_SHAPE}"
        )
    if len(accepted) > 1 and next(iter(accepted.items())) != (_COMMON_SHAPES[0], _IMAGENET_CLASSES):
        raise UserError(f"{made.name}: its input shape cannot be told from the module; {_SAY_SHAPE}")
    shape, count = next(iter(accepted.items()))
    resize = 256 if (shape, count) == (_COMMON_SHAPES[0], _IMAGENET_CLASSES) else None
    return Preprocessing(resize=resize, crop=shape[1:], mean=(0.0,) * shape[0], std=(1.0,) * shape[0])
