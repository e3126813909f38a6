"""Every pydantic model that a document is made of."""

import inspect
from typing import Any

from pydantic import BaseModel


def models_within(*roots: type[BaseModel]) -> list[type[BaseModel]]:
    """These models and all that are nested in their fields, by name."""
    found: set[type[BaseModel]] = set()
    waiting = list(roots)
    while waiting:
        model = waiting.pop()
        if model not in found:
            found.add(model)
            waiting += [part for field in model.model_fields.values() for part in _models(field.annotation)]
    return sorted(found, key=lambda model: model.__name__)


def _models(annotation: Any) -> list[type[BaseModel]]:
    arguments = getattr(annotation, "__args__", ())
    if arguments:
        return [model for argument in arguments for model in _models(argument)]
    return [annotation] if inspect.isclass(annotation) and issubclass(annotation, BaseModel) else []
