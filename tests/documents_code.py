"""The code on the pages: blocks in their order, with their language, and the shell's commands in them."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = [
    *(REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "leaderboard/README.md")),
    *sorted((REPOSITORY / "docs").rglob("*.md")),
]
FENCED = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
_BLOCK = re.compile(
    r"^ *```(?P<kind>\w*)\n(?P<fenced>.*?)^ *```"
    r"|(?<=\n\n)(?P<indented>(?: {4}[^\n]+\n(?:\n(?= {4}\S))?)+)"
    r"|^<!-- not run: (?P<reason>.+?) -->$",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True)
class Block:
    """A block of code.

    Attributes:
        kind: ``python``, ``yaml``, ``sh``, ``text``, …; an indented block is the shell's.
        body: the code without its indentation.
        not_run: why it is only read; empty where it is run.
    """

    kind: str
    body: str
    not_run: str = ""

    @property
    def commands(self) -> list[str]:
        """The lines of a block of the shell's; a line that ends in a backslash goes on in the next one."""
        if self.kind not in {"sh", "bash"}:
            return []
        lines = self.body.replace("\\\n", " ").splitlines()
        return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def blocks(page: Path) -> list[Block]:
    """All blocks of a page. `<!-- not run: why -->` before a block speaks of it, in the first lines of all."""
    text = page.read_text(encoding="utf-8")
    found, reason = [], ""
    for match in _BLOCK.finditer(text):
        if match["reason"]:
            reason = match["reason"]
        elif match["indented"]:
            body = re.sub(r"^ {4}", "", match["indented"], flags=re.MULTILINE)
            found.append(Block("sh", body, reason))
            reason = ""
        else:
            found.append(Block(match["kind"], match["fenced"], reason))
            reason = ""
    return found


def prose(page: Path) -> str:
    """The text without fenced blocks."""
    return FENCED.sub("", page.read_text(encoding="utf-8"))


def words(command: str) -> list[str]:
    """A command's words without variables before it, and without what follows `#`; an open quote is no shell's line."""
    found = shlex.split(command, comments=True)
    while found and re.match(r"\w+=", found[0]):
        found.pop(0)
    return found
