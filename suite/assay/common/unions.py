"""Says where a document is wrong as its writer sees it, without pydantic's labels for a union's choices."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, Tag


@dataclass(frozen=True)
class Choices:
    """What one place of a document may hold.

    Attributes:
        models: the classes.
        labels: what pydantic calls choices that are no models.
    """

    models: tuple[type[BaseModel], ...]
    labels: frozenset[str] = frozenset()

    @property
    def key(self) -> str | None:
        """The key that tells several models apart, such as ``name``; None for a single model, or without such a key."""
        if len(self.models) < 2:
            return None
        names = self.models[0].model_fields
        return next((name for name in names if all(_words(each, name) for each in self.models)), None)

    @property
    def words(self) -> dict[str | int, type[BaseModel]]:
        """Each value of the key, and the model that it stands for."""
        key = self.key
        return {} if key is None else {word: each for each in self.models for word in _words(each, key)}

    def below(self, key: str | int) -> Choices:
        """What may stand under a key of the models; an item's number, or a mapping's own key, changes nothing."""
        found = [
            field.annotation
            for each in self.models
            for name, field in each.model_fields.items()
            if key in (name, field.alias)
        ]
        return _choices_within(found) if found else self


def place_of(model: type[BaseModel], location: Sequence[str | int]) -> tuple[str, Choices]:
    """The keys that lead to a place, joined by dots, and what may stand there.

    Args:
        model: of the whole document.
        location: pydantic's; there a choice's label (``sat``) follows the key of a union (``method``).
    """
    keys, here = [], Choices((model,))
    for part in location:
        if part in here.words:
            here = Choices((here.words[part],))
        elif part in here.labels:
            here = Choices(here.models)
        else:
            keys.append(str(part))
            here = here.below(part)
    return ".".join(keys), here


def _choices_within(annotations: Iterable[Any]) -> Choices:
    """The models, and the labels of others, anywhere within some annotations."""
    models: dict[type[BaseModel], None] = {}  # in their order
    labels: set[str] = set()
    left = list(annotations)
    while left:
        each = left.pop(0)
        if isinstance(each, type) and issubclass(each, BaseModel):
            models[each] = None
        elif isinstance(each, Tag):
            labels.add(each.tag)
        elif get_origin(each) is not Literal:
            left = [*get_args(each), *left]
    return Choices(tuple(models), frozenset(labels))


def _words(model: type[BaseModel], name: str) -> tuple[str, ...]:
    """The words that a model's field may be; () for a field of another kind."""
    field = model.model_fields.get(name)
    if field is None or get_origin(field.annotation) is not Literal:
        return ()
    return tuple(word for word in get_args(field.annotation) if isinstance(word, str))
