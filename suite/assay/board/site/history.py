"""Who committed what and when, from one pass over git's log; what is not committed has no history."""

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_SHOWN = 200  # characters of an author's name or a subject
_COMMIT = re.compile("\0\0(?=[0-9a-f]{40,64}\0)")


@dataclass(frozen=True)
class Commit:
    """One commit: its author, its date (ISO, the day) and its subject."""

    sha: str
    author: str
    day: str
    subject: str


def history(folder: Path) -> Mapping[str, tuple[Commit, ...]]:
    """For every file below ``folder`` (relative to it, with forward slashes) its commits, the newest first.

    Empty where the folder is in no repository.
    """
    # Zero bytes separate the fields: neither git's names nor its messages can hold them.
    text = _git(
        folder,
        "log",
        "-z",
        "--no-renames",
        "--relative",
        "--name-only",
        "--format=%x00%x00%H%x00%an%x00%as%x00%s",
        ".",
    )
    found: dict[str, list[Commit]] = {}
    for block in _COMMIT.split(text or "")[1:]:
        fields = block.split("\0")
        commit = Commit(fields[0], *map(plain, [*fields[1:4], "", "", ""][:3]))
        for name in filter(None, (name.strip("\n") for name in fields[4:])):
            found.setdefault(name, []).append(commit)
    return {name: tuple(commits) for name, commits in found.items()}


def plain(text: str) -> str:
    """Somebody's words as one line that a page can show, without characters that nobody sees."""
    kept = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(kept.split())[:_SHOWN] or "unnamed"


def _git(folder: Path, *arguments: str) -> str | None:
    command = ["git", "-c", "core.quotePath=false", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    # What strangers commit need not be UTF-8.
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None
