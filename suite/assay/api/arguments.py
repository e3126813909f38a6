"""Checks of a call's arguments (texts, numbers, choices), as the command line's parser checks its options."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from assay.common.errors import UserError

ChoiceT = TypeVar("ChoiceT", bound=StrEnum)


def texts(name: str, given: Any) -> list[str]:
    """One text or path, or several, as a list.

    Raises:
        UserError: it is something else.
    """
    if isinstance(given, str | Path):
        return [str(given)]
    if isinstance(given, Sequence) and all(isinstance(each, str | Path) for each in given):
        return [str(each) for each in given]
    raise UserError(f"{name}: expected a text or a list of texts (got {given!r})")


def one_of(kind: type[ChoiceT], name: str, given: Any) -> ChoiceT:
    """The member of ``kind`` that a text names.

    Raises:
        UserError: none has this name.
    """
    try:
        return kind(given)
    except ValueError as error:
        raise UserError(f"{name}: expected {', '.join(kind)} (got {given!r})") from error


def fields(name: str, given: Any) -> Mapping[str, Any]:
    """A dictionary of fields; empty where it is left out.

    Raises:
        UserError: it is something else.
    """
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise UserError(f'{name}: expected a dictionary such as {{"eps": "3/255"}} (got {given!r})')
    return given
