"""A problem of a submission: the file, the field, what it holds, what it should hold, and how to mend it."""

from dataclasses import dataclass

from assay.common import shown

_SHOWN = 160  # characters of a value; a hostile one may be long


@dataclass(frozen=True)
class Problem:
    """One failed check."""

    file: str
    field: str
    value: object
    expected: str
    mend: str

    def __str__(self) -> str:
        """The problem as one line of printable characters."""
        return (
            f"{printable(self.file)}: `{printable(self.field)}`: found {printable(self.value)}, "
            f"expected {printable(self.expected)}; {self.mend}"
        )


def printable(value: object) -> str:
    """A value for a terminal: one line, shortened, with control and bidirectional characters escaped."""
    text = value if isinstance(value, str) else repr(value)
    return shown.on_one_line(text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…")
