"""Who committed what and when, from one pass over git's log; nothing is known of what is not committed."""

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


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
    text = _git(
        folder, "log", "--no-renames", "--relative", "--name-only", "--format=%x01%H%x02%an%x02%as%x02%s", "."
    )
    found: dict[str, list[Commit]] = {}
    for block in (text or "").split("\x01")[1:]:
        head, *names = block.strip("\n").split("\n")
        commit = Commit(*head.split("\x02", 3))
        for name in filter(None, names):
            found.setdefault(name, []).append(commit)
    return {name: tuple(commits) for name, commits in found.items()}


def _git(folder: Path, *arguments: str) -> str | None:
    command = ["git", "-c", "core.quotePath=false", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
