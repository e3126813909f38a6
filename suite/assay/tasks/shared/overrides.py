"""A task with some of its fields set by the user: a small question needs no file of its own. No torch."""

from collections.abc import Mapping, Sequence
from typing import Any

from assay.common.errors import UserError
from assay.common.validation import yaml_value

OPTION = "--set"
_ELSEWHERE = {
    "data": "choose other pictures with --data",
    "family": "name another task",
    "schema": "leave it out",
}


def overridden(document: Mapping[str, Any], settings: Sequence[str]) -> dict[str, Any]:
    """A spec's document with fields set; its title says so.

    Args:
        document: as its file has it.
        settings: ``KEY=VALUE`` each. A key may reach into a block, ``adversarial.steps=5``. A value is YAML. For a
            field that holds a list it may also be a list with commas, ``eps=0,3/255``. A word then means the block of
            the spec that begins with it, or a new one: ``attacks=fgsm``.

    Raises:
        UserError: no such form, or a field that another option is for.
    """
    changed = dict(document)
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not (key and equals and value):
            raise UserError(f"{OPTION}: expected KEY=VALUE, such as eps=3/255 (got {setting!r})")
        if key in _ELSEWHERE:
            raise UserError(f"{OPTION} {setting}: {_ELSEWHERE[key]}")
        changed = _with(changed, key.split("."), value, setting)
    return changed | {"title": f"{document.get('title', '')} [here with {', '.join(settings)}]"}


def _with(document: Mapping[str, Any], path: Sequence[str], text: str, setting: str) -> dict[str, Any]:
    first, *rest = path
    before = document.get(first)
    if not rest:
        return {**document, first: _value(before, text)}
    if not isinstance(before, Mapping):
        raise UserError(f"{OPTION} {setting}: `{first}` is no block of this task; name one of its keys")
    return {**document, first: _with(before, rest, text, setting)}


def _value(before: Any, text: str) -> Any:
    """The text as the field's new value."""
    value = yaml_value(text)
    if not isinstance(before, list):
        return value
    items = value if isinstance(value, list) else [yaml_value(part) for part in _parts(value, text)]
    return [_item(before, item) for item in items]


def _parts(value: Any, text: str) -> list[str]:
    return [text] if isinstance(value, Mapping) else [part.strip() for part in text.split(",")]


def _item(before: Sequence[Any], item: Any) -> Any:
    """The block that a word stands for, where the list is one of blocks; else the item itself."""
    blocks = [each for each in before if isinstance(each, Mapping) and each]
    if not blocks or not isinstance(item, str):
        return item
    named = (each for each in blocks if next(iter(each.values())) == item)
    return next(named, {next(iter(blocks[0])): item})
