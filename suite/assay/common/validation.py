"""YAML files into strict pydantic models, with errors that name file, key and what was expected."""

import difflib
import json
import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from assay.common.errors import UserError
from assay.common.unions import Choices, place_of


class StrictModel(BaseModel):
    """Frozen, and unknown keys are errors: the base of every spec and manifest."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True)


ModelT = TypeVar("ModelT", bound=BaseModel)


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, but a key given twice is an error, and ``1e-3`` is a number.

    PyYAML lets the last of two equal keys win, and follows YAML 1.1, for which a number with an exponent needs a dot
    and a sign.
    """

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError, TypeError) as error:
            # `2026-13-45` looks like a date and is none; PyYAML lets Python's own complaint through.
            raise yaml.constructor.ConstructorError(
                None, None, f"a value that is not what it looks like ({error})", node.start_mark
            ) from error

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise yaml.constructor.ConstructorError(
                    None, None, "a key that is a list", key_node.start_mark
                )
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is given twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


# YAML 1.2's core schema; an exponent has at most three digits, as a longer one is no finite number but may be a hash.
_EXPONENTIAL = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]{1,3}\Z")
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENTIAL, list("-+.0123456789"))


def yaml_value(text: str) -> Any:
    """What a YAML file's value of this text is; the text itself where it is no YAML."""
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError:
        return text


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        UserError: the file is missing, not UTF-8, not YAML, or not a mapping.
    """
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 text; save it as UTF-8") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise UserError(f"{path}: is not valid YAML: {' '.join(str(error).split())}") from error
    except ValueError as error:  # a null byte in the path
        raise UserError(f"{path}: cannot be read ({error}); correct the path") from error
    if not isinstance(document, dict):
        raise UserError(f"{path}: expected a mapping of keys to values, found {type(document).__name__}")
    return document


def validate(model: type[ModelT], document: dict[str, Any], where: str) -> ModelT:
    """``document`` as ``model``; ``where`` (a file's name) begins every message.

    Raises:
        UserError: one sentence with every wrong key and what was expected of it.
    """
    try:
        # Through JSON, because strict validation takes a JSON array for a tuple but not a Python list.
        return model.model_validate_json(json.dumps(document, default=str))
    except ValidationError as error:
        raise UserError(f"{where}: {describe(error, model)}") from error


def describe(error: ValidationError, model: type[BaseModel] | None = None) -> str:
    """Pydantic's complaints as one line: ``key: what was expected (got value)``, joined by semicolons.

    Args:
        error: the complaints.
        model: what was validated; with it, unions are named as the document writes them.
    """
    parts = []
    items = error.errors()
    inner = {item["loc"][:depth] for item in items for depth in range(len(item["loc"]))}
    for item in items:
        if item["loc"] in inner and item["type"] == "too_short":  # a consequence of its wrong items
            continue
        if (
            item["type"] == "default_factory_not_called"
        ):  # only because another key is wrong, which has its own message
            continue
        key, choices = place_of(model or BaseModel, item["loc"])
        key = key or "document"
        if item["type"] == "extra_forbidden":
            parts.append(
                f"unknown key `{key}`; remove it or correct its spelling{_meant(model, item['loc'])}"
            )
        elif item["type"] == "missing":
            parts.append(f"key `{key}` is missing")
        elif item["type"] in _NO_CHOICE and choices.words:
            parts.append(f"`{key}`: {_how_to_choose(choices, item['input'])}")
        else:
            message = item["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
            # A rule over several keys names their values itself; the document as a whole would say nothing.
            parts.append(f"`{key}`: {message} (got {_short(item['input'])})" if item["loc"] else message)
    return "; ".join(parts)


def _meant(model: type[BaseModel] | None, place: tuple[int | str, ...]) -> str:
    """The document's own key that an unknown one is like, or nothing."""
    if model is None or len(place) != 1:
        return ""
    known = [field.alias or name for name, field in model.model_fields.items()]
    near = difflib.get_close_matches(str(place[0]), known, n=1)
    return f" (did you mean `{near[0]}`?)" if near else ""


_NO_CHOICE = ("union_tag_invalid", "union_tag_not_found", "dict_type")


def _how_to_choose(choices: Choices, given: object) -> str:
    """What to write in a union's place if ``given`` chooses no model of it."""
    key, words = choices.key, [str(word) for word in choices.words]
    if isinstance(given, dict) and key in given:
        near = difflib.get_close_matches(str(given[key]), words, n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(near)}?" if near else f"choose one of {', '.join(words)}"
        return f"unknown {key} {_short(given[key])}; {hint}"
    if given in words:
        return f"write `{{{key}: {given}}}`, with its other keys beside the {key} (got {_short(given)})"
    return f"write `{{{key}: …}}`, the {key} one of {', '.join(words)} (got {_short(given)})"


def _short(value: object, limit: int = 60) -> str:
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"
