"""YAML files into strict pydantic models, with errors that name file, key and what was expected."""

import json
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from assay.errors import UserError


class StrictModel(BaseModel):
    """Frozen, and unknown keys are errors: the base of every spec and manifest."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True)


ModelT = TypeVar("ModelT", bound=BaseModel)


class _UniqueKeyLoader(yaml.SafeLoader):
    """PyYAML's safe loader, but a key given twice is an error instead of the last one winning silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is given twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        UserError: the file is missing, not UTF-8, not YAML, or not a mapping.
    """
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeyLoader)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 text; save it as UTF-8") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise UserError(f"{path}: is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict):
        raise UserError(f"{path}: expected a mapping of keys to values, found {type(document).__name__}")
    return document


def validate(model: type[ModelT], document: dict[str, Any], where: str) -> ModelT:
    """``document`` as ``model``; ``where`` (a file's name) begins every complaint.

    Raises:
        UserError: one sentence with every wrong key and what was expected of it.
    """
    try:
        # Through JSON, because strict validation takes a JSON array for a tuple but not a Python list.
        return model.model_validate_json(json.dumps(document, default=str))
    except ValidationError as error:
        raise UserError(f"{where}: {describe(error)}") from error


def describe(error: ValidationError) -> str:
    """Pydantic's complaints as one line: ``key: what was expected (got value)``, joined by semicolons."""
    parts = []
    items = error.errors()
    inner = {item["loc"][:depth] for item in items for depth in range(len(item["loc"]))}
    for item in items:
        if item["loc"] in inner and item["type"] == "too_short":  # only as its wrong items do not count
            continue
        key = ".".join(str(part) for part in item["loc"]) or "document"
        if item["type"] == "extra_forbidden":
            parts.append(f"unknown key `{key}`; remove it or correct its spelling")
        elif item["type"] == "missing":
            parts.append(f"key `{key}` is missing")
        else:
            message = item["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
            # A rule over several keys names their values itself; the document as a whole would say nothing.
            parts.append(f"`{key}`: {message} (got {_short(item['input'])})" if item["loc"] else message)
    return "; ".join(parts)


def _short(value: object, limit: int = 60) -> str:
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"
