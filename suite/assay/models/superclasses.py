"""A network that is asked about groups of its classes: cat, dog, and whatever else it answers."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from assay.common.canonical import canonical_sha256
from assay.common.errors import UserError
from assay.models.class_names import ClassNames, class_names
from assay.models.fingerprint import fingerprint
from assay.models.info import UNSTATED
from assay.models.loaded import LoadedModel

OTHER = "other"
"""What stands for all classes of no group."""

Groups = Mapping[str, Sequence[int | str]]
"""Superclass to the classes in it: by index, or by name or WordNet id where the model's classes have names."""


class SuperclassNetwork(nn.Module):
    """A network with one logit per superclass: the highest among its classes.

    So it answers a superclass exactly where the network's own answer is a class in it.
    """

    def __init__(self, net: nn.Module, groups: Sequence[Sequence[int]]) -> None:
        super().__init__()
        self.net = net
        self.groups = [list(group) for group in groups]

    def forward(self, pixels: Tensor) -> Tensor:
        """pixels: (N, C, H, W) in [0, 1]; returns (N, superclasses)."""
        logits: Tensor = self.net(pixels)
        return torch.stack([logits[:, group].amax(1) for group in self.groups], 1)


def grouped(model: LoadedModel, groups: Groups, where: str) -> LoadedModel:
    """The model asked about superclasses; the classes of no group, where there are some, are one more, :data:`OTHER`.

    Args:
        model: with all its classes.
        groups: as a card has them.
        where: of the card, for messages.

    Raises:
        UserError: a class that is none, is meant by no or several names, or stands in two groups.
    """
    found = {name: [_index(each, name, model, where) for each in classes] for name, classes in groups.items()}
    taken = [index for group in found.values() for index in group]
    twice = next((index for index in taken if taken.count(index) > 1), None)
    if twice is not None:
        raise UserError(f"{where}: `superclasses` names the class {twice} twice; leave one out")
    rest = [index for index in range(model.info.num_classes) if index not in taken]
    parts = found | ({OTHER: rest} if rest else {})
    module = SuperclassNetwork(model.module, list(parts.values()))
    info = model.info.model_copy(
        update={
            "num_classes": len(parts),
            "classes": tuple(parts),
            "label_space": UNSTATED,
            "piecewise_linear": False,
            "clean_accuracy": None,
            "structure_sha256": canonical_sha256([model.info.structure_sha256, list(parts.values())]),
            "fingerprint": fingerprint(module, model.info.input_shape),
        }
    )
    return replace(model, info=info, module=module)


def _index(said: int | str, group: str, model: LoadedModel, where: str) -> int:
    """The class that a card's entry means."""
    count = model.info.num_classes
    if isinstance(said, int):
        if not 0 <= said < count:
            raise UserError(
                f"{where}: `superclasses.{group}`: {model.info.name} has the classes 0..{count - 1}, not {said}"
            )
        return said
    names = class_names(model.info)
    if names is None:
        raise UserError(
            f"{where}: `superclasses.{group}`: nobody states the names of {model.info.name}'s classes; give the "
            f"index of {said!r}"
        )
    meant = names.classes_of(said)
    if len(meant) != 1:
        which = (
            f"may be {' or '.join(map(str, meant))}; give the index"
            if meant
            else f"is none; {_near(said, names)}"
        )
        raise UserError(f"{where}: `superclasses.{group}`: the class {said!r} of {model.info.name} {which}")
    return meant[0]


def _near(said: str, names: ClassNames) -> str:
    known = [name for each in names.first for name in each]
    near = difflib.get_close_matches(said, known, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(near)}?" if near else "give its index"
