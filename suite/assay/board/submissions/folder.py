"""Checks of a submission's folder as files: names, links, sizes, hashes; nothing is parsed but the manifest."""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from assay.board.submissions.documents import MANIFEST, METADATA, SubmissionManifest
from assay.board.submissions.problems import Problem
from assay.board.submissions.reader import KIB, MIB, UnreadableError, parse_document, read_bytes

_TASK = r"[A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+)?"
# What may lie in a submission, and how large it may be before anybody opens it.
_ALLOWED: tuple[tuple[re.Pattern[str], int], ...] = (
    (re.compile(r"metadata\.yaml"), 16 * KIB),
    (re.compile(r"card\.yaml"), 16 * KIB),
    (re.compile(rf"results/{_TASK}\.json"), 8 * MIB),
    (re.compile(rf"records/{_TASK}\.jsonl\.gz"), 96 * MIB),
    (re.compile(rf"files/{_TASK}/(?:[A-Za-z0-9_-]+/)?[A-Za-z0-9_-]+\.npz"), 32 * MIB),
    (re.compile(rf"files/{_TASK}/(?:[A-Za-z0-9_-]+/)?[A-Za-z0-9_-]+\.json"), 4 * MIB),
    (re.compile(rf"outcomes/{_TASK}\.json"), 8 * MIB),
    (re.compile(rf"provenance/{_TASK}\.json"), 64 * KIB),
    (re.compile(rf"figures/{_TASK}/index\.json"), 64 * KIB),
    (re.compile(rf"figures/{_TASK}/[A-Za-z0-9_-]+\.(?:json|png)"), 4 * MIB),
)
_MAX_FILES = 2000
_MAX_DEPTH = 6
_WEIGHTS = {
    ".pt",
    ".pth",
    ".pkl",
    ".pickle",
    ".bin",
    ".ckpt",
    ".npz",
    ".npy",
    ".safetensors",
    ".onnx",
    ".zip",
}


@dataclass(frozen=True)
class SubmissionFiles:
    """A folder whose files are what its manifest says.

    Attributes:
        folder: where it lies.
        manifest_sha256: identifies the submission.
        names: every file but the manifest.
    """

    folder: Path
    manifest_sha256: str
    names: tuple[str, ...]

    @property
    def tasks(self) -> tuple[str, ...]:
        """The ids of the tasks that it has results of, sorted."""
        prefix, suffix = "results/", ".json"
        return tuple(
            sorted(name[len(prefix) : -len(suffix)] for name in self.names if name.startswith(prefix))
        )

    def read(self, name: str) -> bytes:
        """The content of a file (its size was checked already).

        Raises:
            UnreadableError: it is gone.
        """
        return read_bytes(self.folder, name, limit_of(name) or 0)


def limit_of(name: str) -> int | None:
    """How many bytes a file of this name may have; None for a name that has no place in a submission."""
    return next((limit for pattern, limit in _ALLOWED if pattern.fullmatch(name) and ".." not in name), None)


def open_folder(folder: Path) -> tuple[SubmissionFiles | None, list[Problem]]:
    """The folder's files, or None with every reason why nothing in it can be trusted."""
    try:
        if folder.is_symlink():
            raise _refused(folder.name, "type", "a link", "a folder")
        data = read_bytes(folder, MANIFEST, MIB)
        manifest = parse_document(SubmissionManifest, MANIFEST, data)
        present = dict(_files(folder))
    except UnreadableError as error:
        return None, [error.problem]
    problems = [*_listed_problems(manifest, present), *_unlisted_problems(manifest, present)]
    if problems:
        return None, problems
    problems = [problem for name in manifest.files if (problem := _hash_problem(folder, manifest, name))]
    names = tuple(sorted(manifest.files))
    found = SubmissionFiles(folder, hashlib.sha256(data).hexdigest(), names)
    return (None if problems else found), problems


def _files(folder: Path, prefix: str = "") -> Iterator[tuple[str, int]]:
    """Every file below ``folder`` with its size; links and too many or too deep folders are refused."""
    if prefix.count("/") > _MAX_DEPTH:
        raise _refused(prefix, "depth", "folders in folders in folders", f"at most {_MAX_DEPTH} levels")
    count = 0
    with os.scandir(folder / prefix) as entries:
        for entry in entries:
            count += 1
            name = prefix + entry.name
            if entry.is_symlink() or not (entry.is_file() or entry.is_dir()):
                raise _refused(name, "type", "a link or a special file", "a regular file")
            if count > _MAX_FILES:
                raise _refused(
                    prefix or ".", "files", f"more than {_MAX_FILES} files", f"at most {_MAX_FILES}"
                )
            if entry.is_dir(follow_symlinks=False):
                yield from _files(folder, name + "/")
            elif name != MANIFEST:
                yield name, entry.stat(follow_symlinks=False).st_size


def _refused(name: str, field: str, value: str, expected: str) -> UnreadableError:
    return UnreadableError(Problem(name, field, value, expected, "submit only what `assay submit` wrote"))


def _listed_problems(manifest: SubmissionManifest, present: Mapping[str, int]) -> Iterator[Problem]:
    again = "run `assay submit` again; do not edit the files by hand"
    if METADATA not in manifest.files:
        yield Problem(MANIFEST, f"files.{METADATA}", None, "an entry", again)
    for name, entry in manifest.files.items():
        limit = limit_of(name)
        if limit is None:
            yield Problem(
                MANIFEST, "files", name,
                "a relative path such as results/<family>/<task>.json, without `..`", _mend_name(name),
            )  # fmt: skip
        elif name not in present:
            yield Problem(name, "file", "missing", "a file, for the manifest lists it", again)
        elif present[name] > limit:
            yield Problem(
                name, "size", f"{present[name]} bytes", f"at most {limit} bytes", "submit fewer units"
            )
        elif present[name] != entry.bytes:
            yield Problem(name, "size", f"{present[name]} bytes", f"{entry.bytes} bytes", again)


def _unlisted_problems(manifest: SubmissionManifest, present: Mapping[str, int]) -> Iterator[Problem]:
    for name in sorted(set(present) - set(manifest.files)):
        yield Problem(
            name, "file", "a file that the manifest does not list", "no such file", _mend_name(name)
        )


def _mend_name(name: str) -> str:
    if Path(name).suffix.lower() in _WEIGHTS:
        return "remove it: weights never travel in a submission, their SHA-256 is in the result"
    return "remove it, or run `assay submit` again"


def _hash_problem(folder: Path, manifest: SubmissionManifest, name: str) -> Problem | None:
    try:
        found = hashlib.sha256(read_bytes(folder, name, limit_of(name) or 0)).hexdigest()
    except UnreadableError as error:
        return error.problem
    expected = manifest.files[name].sha256
    if found == expected:
        return None
    return Problem(name, "sha256", found, expected, "run `assay submit` again; do not edit the files by hand")
