"""What a paper's file says once: a rule expands to similar entries, and a CSV file to a table's figures.

::

    words:
      model: {original: {text: Original, recipe: regular}, sat: SAT, pgd: PGD}
      point: {1: 1/255, 2: 2/255}
    measurements:
      each:
        - for: {model: [sat, pgd], point: all}
          put: {"{model}_{point}": {text: "{model.text} at {point.text}", model: "{model}"}}

gives four entries, the first ``sat_1: {text: SAT at 1/255, model: sat}``.

``words`` holds the names that rules of the file share: ``all`` takes every name of that list, and a list takes some. A
rule may bring names of its own instead, ``{name: text}`` or a list. A name may have several texts. Where it lacks one
(``{model.recipe}`` of ``sat`` above), the name itself stands there. Other braces are left as they are.

Models and measurements have rules under ``each``. Among tables and claims, a rule stands in the list, and ``put`` is a
list too. Both may be gathered by place: ``claims: {PLACE: [claim, …]}``.

``figures: FILE.csv`` of a table stands for its columns and rows; the file lies beside the paper's.
"""

import csv
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

from assay.common.errors import UserError

EACH = "each"
WORDS = "words"
_ALL = "all"
_PLACES = ("models", "measurements")
_LISTS = ("tables", "claims")
_FORM = "a rule is written {for: {NAME: values}, put: {key: entry}}"

Words = Mapping[str, Mapping[Any, Any]]


def without_rules(document: dict[str, Any], where: str) -> dict[str, Any]:
    """A paper's document with its rules written out: those of models, measurements, tables, claims and scales.

    Raises:
        UserError: a rule is not of the form above, or two rules give one name; ``where`` is the file.
    """
    words = document.get(WORDS, {})
    if not isinstance(words, dict) or not all(isinstance(names, dict) for names in words.values()):
        raise UserError(
            f"{where}: `{WORDS}`: expected lists of names with their text, {{LIST: {{name: text}}}}"
        )
    whole = _written_out({key: part for key, part in document.items() if key != WORDS}, words, where)
    scales = document.get("scales")
    if isinstance(scales, dict):
        whole["scales"] = {
            name: _written_out(scale, words, f"{where}: `scales.{name}`")
            if isinstance(scale, dict)
            else scale
            for name, scale in scales.items()
        }
    return whole


def _written_out(document: dict[str, Any], words: Words, where: str) -> dict[str, Any]:
    try:
        found = {place: _expanded(document[place], words) for place in _PLACES if place in document}
        found |= {part: _by_place(document[part], words) for part in _LISTS if part in document}
    except ValueError as error:
        raise UserError(f"{where}: {error}") from error
    return {**document, **found}


def _expanded(entries: Any, words: Words) -> Any:
    """The entries with every rule in place of what it stands for; entries of their own names win."""
    if not isinstance(entries, dict) or EACH not in entries:
        return entries
    rules = entries[EACH]
    found: dict[str, Any] = {}
    for rule in rules if isinstance(rules, list) else [rules]:
        put = rule.get("put") if isinstance(rule, dict) else None
        if not isinstance(put, dict) or not put:
            raise ValueError(f"{EACH}: {_FORM}")
        for key, entry in put.items():
            for chosen in _chosen(rule, words):
                name = _filled(key, chosen)
                if name in found:
                    raise ValueError(f"{EACH}: two rules give {name!r}; change one")
                found[name] = _filled(entry, chosen)
    return found | {name: entry for name, entry in entries.items() if name != EACH}


def _by_place(listed: Any, words: Words) -> Any:
    """Claims or tables as one list, each with its place; a rule gives all its entries name by name."""
    by_place = listed.items() if isinstance(listed, dict) else [(None, listed)]
    found: list[Any] = []
    for place, entries in by_place:
        if not isinstance(entries, list):
            return listed
        for entry in entries:
            found += [
                each if place is None or not isinstance(each, dict) else {"place": place, **each}
                for each in _one_or_many(entry, words)
            ]
    return found


def _one_or_many(entry: Any, words: Words) -> list[Any]:
    if not isinstance(entry, dict) or "put" not in entry:
        return [entry]
    if not isinstance(entry["put"], list) or not entry["put"]:
        raise ValueError("tables and claims: a rule is written {for: {NAME: values}, put: [entry]}")
    return [_filled(each, chosen) for chosen in _chosen(entry, words) for each in entry["put"]]


def _chosen(rule: Mapping[str, Any], words: Words) -> Iterator[dict[str, str]]:
    """The value of each ``{word}`` of a rule, once for every choice of names."""
    if set(rule) != {"for", "put"} or not isinstance(rule["for"], dict) or not rule["for"]:
        raise ValueError(f"{EACH}: {_FORM}")
    choices = [_choices(name, values, words.get(name, {})) for name, values in rule["for"].items()]
    for chosen in product(*choices):
        yield {word: text for choice in chosen for word, text in choice.items()}


def _choices(name: str, values: Any, known: Mapping[Any, Any]) -> list[dict[str, str]]:
    """What ``{name}``, ``{name.text}`` and its other texts stand for, once for each value."""
    if values == _ALL and known:
        values = known
    if not isinstance(values, dict | list) or not values:
        raise ValueError(f"{EACH}: `for.{name}`: expected a list of names, or names with their text")
    texts: Mapping[Any, Any] = (
        values if isinstance(values, dict) else {value: known.get(value, value) for value in values}
    )
    own = {value: _as_kinds(text) for value, text in texts.items()}
    kinds = {"text", *(kind for each in (*own.values(), *map(_as_kinds, known.values())) for kind in each)}
    return [
        {f"{{{name}}}": str(value), **{f"{{{name}.{kind}}}": str(each.get(kind, value)) for kind in kinds}}
        for value, each in own.items()
    ]


def _as_kinds(text: Any) -> dict[Any, Any]:
    return text if isinstance(text, dict) else {"text": text}


def _filled(part: Any, words: Mapping[str, str]) -> Any:
    if isinstance(part, dict):
        return {_filled(key, words): _filled(value, words) for key, value in part.items()}
    if isinstance(part, list):
        return [_filled(value, words) for value in part]
    if isinstance(part, str):
        for word, text in words.items():
            part = part.replace(word, text)
    return part


def with_figures(document: dict[str, Any], path: Path) -> dict[str, Any]:
    """The document of the paper's file ``path`` with the figures of such tables written out.

    The first line of a CSV file names the columns after the first. Each other line is a row: its label, then one figure
    per column, empty where the paper has none.

    Raises:
        UserError: a file cannot be read, or a figure is no number.
    """
    tables = document.get("tables")
    if not isinstance(tables, list):
        return document
    return {**document, "tables": [_with_figures(table, path) for table in tables]}


def _with_figures(table: Any, path: Path) -> Any:
    if not isinstance(table, dict) or "figures" not in table:
        return table
    rest = {key: value for key, value in table.items() if key != "figures"}
    return {**rest, **_figures(path.parent / str(table["figures"]))}


def _figures(path: Path) -> dict[str, Any]:
    try:
        (_, *columns), *rows = csv.reader(path.read_text(encoding="utf-8").splitlines())
        return {
            "columns": columns,
            "rows": {label: [float(cell) if cell else None for cell in cells] for label, *cells in rows},
        }
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check `figures` of the table") from error
    except ValueError as error:
        raise UserError(
            f"{path}: expected a line of columns, then a label and numbers in each line ({error})"
        ) from error
