"""Checks of a proposed change (a pull request): whose folders it touches, and every submission that it leaves.

The proposal is a checkout that is only read. What exists already, and who owns it, is read from the board of the
target branch, which no stranger has written.
"""

import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from assay.board.submissions.check import Board, check_submission, other_names
from assay.board.submissions.documents import MAINTAINERS, METADATA, Metadata
from assay.board.submissions.problems import Problem
from assay.board.submissions.reader import UnreadableError, read_metadata
from assay.board.submissions.register import read_register
from assay.common.errors import UserError

SUBMISSIONS = PurePosixPath("leaderboard/submissions")
_GIT_LINK = "160000"  # git's mode of another repository, which a checkout leaves as an empty folder
_SHOWN = 10  # files elsewhere; a hostile change may touch thousands


@dataclass(frozen=True)
class Proposal:
    """A change that somebody proposes.

    Attributes:
        checkout: a working tree of it, with its history back to the target branch.
        base: the commit of the target branch.
        author: the contact that their own submissions name; None for a maintainer, who may change everything.
    """

    checkout: Path
    base: str
    author: str | None


@dataclass(frozen=True)
class FolderFinding:
    """One folder of the change: whether the change leaves it there, and everything that is wrong with it."""

    name: str
    is_left: bool
    problems: Sequence[Problem]


def check_proposal(proposal: Proposal, board: Path) -> tuple[list[Problem], list[FolderFinding]]:
    """What is wrong with files outside of submissions, and with each submission that is added, changed or removed.

    Args:
        proposal: nothing of it is run.
        board: the leaderboard's folder in a checkout of ``proposal.base``.

    Raises:
        UserError: the commits cannot be compared, or ``board`` has no register.
    """
    changed = _changed_paths(proposal)
    paths, links = list(changed), [path for path, mode in changed.items() if mode == _GIT_LINK]
    inside = [path for path in paths if path.is_relative_to(SUBMISSIONS) and len(path.parts) > 3]
    outside = [path for path in paths if path not in set(inside)] if proposal.author is not None else []
    names = {path.parts[2] for path in inside}
    left = {name: os.path.lexists(proposal.checkout / SUBMISSIONS / name) for name in names}
    there = [name for name in other_names(board / "submissions") if left.get(name, True)]
    against = Board(read_register(board), sorted({*there, *(name for name in left if left[name])}))
    findings = [_finding(proposal, name, left[name], board, against, links) for name in sorted(left)]
    return list(_outside_problems(outside)), findings


def _finding(
    proposal: Proposal,
    name: str,
    is_left: bool,
    board: Path,
    against: Board,
    links: Sequence[PurePosixPath],
) -> FolderFinding:
    problems = list(_owner_problems(proposal, name, board / "submissions" / name, is_left))
    problems += [
        Problem(
            str(path),
            "path",
            "a git link",
            "a file",
            "remove it; a submission holds files, no other repository",
        )
        for path in links
        if path.is_relative_to(SUBMISSIONS / name)
    ]
    if is_left:
        problems += check_submission(proposal.checkout / SUBMISSIONS / name, against)
    return FolderFinding(name, is_left, problems)


def _changed_paths(proposal: Proposal) -> dict[PurePosixPath, str]:
    """Every path that the change adds, alters or removes, and git's mode of what it leaves; a renamed file is both."""
    command = ["git", "-C", str(proposal.checkout), "diff", "--raw", "-z", "--no-renames"]
    command += ["--ignore-submodules=none", "--end-of-options", f"{proposal.base}...HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except OSError as error:
        raise UserError(f"{proposal.checkout}: git cannot be run ({error.strerror}); install git") from error
    if done.returncode:
        why = done.stderr.decode(errors="replace").strip().split("\n")[0]
        raise UserError(
            f"{proposal.checkout}: cannot be compared with {proposal.base} ({why}); check out its whole history"
        )
    # Two fields per path: ":OLD_MODE NEW_MODE OLD_HASH NEW_HASH STATUS", and its name.
    fields = done.stdout.split(b"\0")[:-1]
    changes = zip(fields[::2], fields[1::2], strict=True)
    return {PurePosixPath(os.fsdecode(name)): about.split()[1].decode() for about, name in changes}


def _outside_problems(paths: Sequence[PurePosixPath]) -> Iterator[Problem]:
    expected = f"only files below {SUBMISSIONS}/NAME/"
    for path in paths[:_SHOWN]:
        yield Problem(str(path), "path", "a change", expected, "put it in a pull request of its own")
    if len(paths) > _SHOWN:
        found = f"{len(paths) - _SHOWN} more files"
        yield Problem(".", "path", found, expected, "put them in a pull request of their own")


def _owner_problems(proposal: Proposal, name: str, there: Path, is_left: bool) -> Iterator[Problem]:
    """An existing folder belongs to the contact that it names, and to the maintainers."""
    if proposal.author is None:
        return
    file = str(SUBMISSIONS / name)
    owner = _contact(there)
    if there.exists() and not (owner and _same(owner, proposal.author)):
        found = f"{'a change' if is_left else 'its removal'} by {proposal.author}"
        expected = f"a change by its contact, {owner or 'which cannot be read'}, or by a maintainer"
        mend = "leave this folder as it is; submit under another name, or ask a maintainer to make the change"
        yield Problem(file, "owner", found, expected, mend)
    if is_left and _contact(proposal.checkout / SUBMISSIONS / name) == MAINTAINERS:
        mend = f"name yourself in {METADATA}, then `assay submit` again"
        yield Problem(file, "contact", MAINTAINERS, "an address of your own", mend)


def _contact(folder: Path) -> str | None:
    """The contact that a submission names; None where it cannot be read."""
    try:
        return read_metadata(Metadata, folder, METADATA).contact
    except UnreadableError:
        return None


def _same(one: str, other: str) -> bool:
    return one.rstrip("/").casefold() == other.rstrip("/").casefold()
