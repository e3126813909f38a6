"""Text of strangers as a terminal may be given it."""

import re
from collections.abc import Iterable
from typing import Any, TextIO

# Control characters except line breaks and tabs, and those that turn the direction of text.
_STEERS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def on_one_line(text: str) -> str:
    """``text`` on one line: characters that move the cursor, hide or turn other text are escaped."""
    return "".join(each if each.isprintable() else _escaped(each) for each in text)


def _escaped(character: str) -> str:
    return f"\\u{ord(character):04x}"


class PlainStream:
    """A stream of text that escapes what would steer a terminal; all else is the stream's own."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write ``text``, which keeps its lines."""
        return self._stream.write(_STEERS.sub(lambda found: _escaped(found.group()), text))

    def writelines(self, lines: Iterable[str]) -> None:
        """Write each of ``lines``."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
