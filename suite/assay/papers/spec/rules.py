"""Entries of a paper's file that are alike, written once: a rule ``each`` stands for what it gives for every name.

::

    each:
      - for: {model: {sat: SAT, pgd: PGD}, point: {1: 1/255, 2: 2/255}}
        put: {"{model}_{point}": {text: "{model.text} at {point.text}", model: "{model}"}}

gives four entries, the first ``sat_1: {text: SAT at 1/255, model: sat}``. A list in place of ``{name: text}`` gives
each name as its own text. Other braces are left as they are.
"""

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

from assay.common.errors import UserError

EACH = "each"


_PLACES = ("models", "measurements")


def without_rules(document: dict[str, Any], where: str) -> dict[str, Any]:
    """A paper's document with the rules under its models and measurements, and those of its scales, written out.

    Raises:
        UserError: a rule is not of the form above, or two rules give one name; ``where`` is the file.
    """
    parts = {place: document[place] for place in _PLACES if place in document}
    try:
        whole = {**document, **{place: _expanded(entries) for place, entries in parts.items()}}
    except ValueError as error:
        raise UserError(f"{where}: {error}") from error
    scales = document.get("scales")
    if isinstance(scales, dict):
        whole["scales"] = {
            name: without_rules(scale, f"{where}: `scales.{name}`") if isinstance(scale, dict) else scale
            for name, scale in scales.items()
        }
    return whole


def _expanded(entries: Any) -> Any:
    """The entries with every rule in place of what it stands for; entries of their own names win."""
    if not isinstance(entries, dict) or EACH not in entries:
        return entries
    rules = entries[EACH]
    found: dict[str, Any] = {}
    for rule in rules if isinstance(rules, list) else [rules]:
        for name, entry in _given(rule):
            if name in found:
                raise ValueError(f"{EACH}: two rules give {name!r}; change one")
            found[name] = entry
    return found | {name: entry for name, entry in entries.items() if name != EACH}


def _given(rule: Any) -> Iterator[tuple[str, Any]]:
    if not isinstance(rule, dict) or set(rule) != {"for", "put"} or not all(map(_is_filled, rule.values())):
        raise ValueError(f"{EACH}: a rule is written {{for: {{NAME: values}}, put: {{key: entry}}}}")
    choices = [_choices(name, values) for name, values in rule["for"].items()]
    for key, entry in rule["put"].items():
        for chosen in product(*choices):
            words = {word: text for choice in chosen for word, text in choice.items()}
            yield _filled(key, words), _filled(entry, words)


def _is_filled(part: Any) -> bool:
    return isinstance(part, dict) and bool(part)


def _choices(name: str, values: Any) -> list[dict[str, str]]:
    """What ``{name}`` and ``{name.text}`` stand for, once for each value."""
    if not isinstance(values, dict | list) or not values:
        raise ValueError(f"{EACH}: `for.{name}`: expected a list of names, or names with their text")
    texts: Mapping[Any, Any] = values if isinstance(values, dict) else {value: value for value in values}
    return [{f"{{{name}}}": str(value), f"{{{name}.text}}": str(text)} for value, text in texts.items()]


def _filled(part: Any, words: Mapping[str, str]) -> Any:
    if isinstance(part, dict):
        return {_filled(key, words): _filled(value, words) for key, value in part.items()}
    if isinstance(part, list):
        return [_filled(value, words) for value in part]
    if isinstance(part, str):
        for word, text in words.items():
            part = part.replace(word, text)
    return part
