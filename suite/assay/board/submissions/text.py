"""Rules for text from strangers: no markup, no control characters, no names that look like another's."""

import re
import shlex
import unicodedata
from typing import Annotated

from pydantic import AfterValidator, Field

_MARKUP = re.compile(
    r"<[a-zA-Z/!?]|&#|&[a-zA-Z]+;|\b(?:javascript|vbscript)\s*:|\bdata:[a-z]+/", re.IGNORECASE
)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+-]{0,79}")
_LOOK_ALIKE = str.maketrans({"0": "o", "1": "l", "i": "l", "5": "s", "_": "-", ".": "-", ":": "-", "/": "-"})


def fault_of_text(text: str) -> str | None:
    """What makes ``text`` unfit to be shown, or None."""
    if found := _MARKUP.search(text):
        return f"markup ({found.group()!r})"
    for character in text:
        if unicodedata.category(character) in {"Cc", "Cf", "Cs", "Co", "Cn"} and character != "\n":
            return f"an invisible or control character (U+{ord(character):04X})"
    return None


def fault_of_name(name: str) -> str | None:
    """What makes ``name`` unfit as a model's name, or None; letters outside ASCII can look like others."""
    for character in name:
        if not character.isascii():
            words = unicodedata.name(character, "unnamed")
            return f"{character!r} (U+{ord(character):04X} {words}), which can pass for another letter"
    if ".." in name or not _NAME.fullmatch(name):
        return (
            "something else than 1 to 80 letters, digits and . _ : / + - (no `..`, a letter or digit first)"
        )
    return None


def skeleton(name: str) -> str:
    """What a hasty eye reads: equal for names that could be mistaken for each other (``resnet50``, ``resnet5O``)."""
    return unicodedata.normalize("NFKC", name).casefold().translate(_LOOK_ALIKE)


def folder_name(name: str) -> str:
    """The folder of a model's submission: its name, with ``/`` and ``:`` written ``--``."""
    return re.sub(r"[/:]", "--", name)


def option_in(command: str, option: str) -> str | None:
    """The word behind ``option`` in a command of a run or a submission; None where there is none."""
    try:
        words = shlex.split(command)
        return words[words.index(option) + 1]
    except (ValueError, IndexError):
        return None


def plain_text(text: str) -> str:
    """``text`` itself.

    Raises:
        ValueError: it is unfit to be shown.
    """
    if fault := fault_of_text(text):
        raise ValueError(f"expected plain text, found {fault}; write it in plain words")
    return text


def _checked_name(name: str) -> str:
    if fault := fault_of_name(name):
        raise ValueError(f"expected a plain ASCII name, found {fault}; rename the model")
    return name


def _checked_url(url: str) -> str:
    if not re.fullmatch(r"https?://[^\s\"'<>\\]+", url):
        raise ValueError("expected an address that begins with https://")
    return url


def no_formula(text: str) -> str:
    """``text`` itself.

    Raises:
        ValueError: a spreadsheet that opens a table of the board would compute it.
    """
    if text.startswith(("=", "+", "-", "@")):
        raise ValueError(
            f"expected words, found a text that begins with {text[0]!r}, which spreadsheets take for a formula; "
            "begin with a letter or digit"
        )
    return text


PlainText = Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(plain_text)]
Words = Annotated[PlainText, AfterValidator(no_formula)]
"""Plain text that a table of the board holds."""
Name = Annotated[str, AfterValidator(_checked_name)]
Url = Annotated[str, Field(max_length=500), AfterValidator(plain_text), AfterValidator(_checked_url)]
