"""Submissions as the site reads them: checked at the gate, so only hashes and the current spec are looked at again."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from assay.board.site.history import Commit
from assay.board.submissions.challenges import CHALLENGES, read_challenges
from assay.board.submissions.documents import (
    MANIFEST,
    METADATA,
    SUBMITTED,
    TIERS,
    ChallengesDocument,
    Metadata,
    SubmissionManifest,
    TierDocument,
)
from assay.board.submissions.reader import (
    MIB,
    UnreadableError,
    parse_document,
    read_bytes,
    read_metadata,
    refuse,
)
from assay.board.submissions.tiers import TIER_FILES

Result = Mapping[str, Any]  # a result document, parsed


@dataclass(frozen=True)
class Entry:
    """One model's submission.

    Attributes:
        folder: where it lies; its name is the model's id on the site.
        findings: the maintainers' documents that still apply, by tier.
        commits: who and when, by tier (``submitted`` included), where it is committed.
        fingerprint: changes whenever the model's page must change.
        challenges: adversarial images that somebody else found, and what they lower; None where there are none.
    """

    folder: Path
    metadata: Metadata
    manifest: SubmissionManifest
    findings: Mapping[str, TierDocument]
    commits: Mapping[str, Commit]
    fingerprint: str
    challenges: ChallengesDocument | None = None

    @property
    def id(self) -> str:
        """The model's id on the site."""
        return self.folder.name

    @property
    def tasks(self) -> list[str]:
        """The ids of the tasks that it has results for."""
        prefix = "results/"
        return sorted(name[len(prefix) : -5] for name in self.manifest.files if name.startswith(prefix))

    def tier(self, task: str) -> str:
        """The highest tier that a maintainer's finding supports for this result of exactly these files."""
        supported = (
            tier
            for tier, finding in self.findings.items()
            if task in finding.tasks and finding.tasks[task].supports(tier)
        )
        return max(supported, key=TIERS.index, default=SUBMITTED)

    def read(self, name: str) -> bytes | None:
        """A file of the submission; None when there is no such file.

        Raises:
            UnreadableError: it is not the file that the manifest lists.
        """
        listed = self.manifest.files.get(name)
        if listed is None:
            return None
        data = read_bytes(self.folder, name, listed.bytes)
        if hashlib.sha256(data).hexdigest() != listed.sha256:
            raise refuse(name, "sha256", "another hash", listed.sha256, "restore the file")
        return data

    def result(self, task: str) -> Result:
        """A result document, with the figures that challenges leave of it."""
        result: Result = from_json(self.read(f"results/{task}.json") or b"{}", cache_strings="all")
        challenged = self.challenges.tasks.get(task) if self.challenges else None
        if challenged is None:
            return result
        metrics = [
            {**metric, **challenged.figures[metric["name"]].model_dump(exclude={"stated"})}
            if metric["name"] in challenged.figures
            else metric
            for metric in result["metrics"]
        ]
        return {**result, "metrics": metrics}

    def challenged_by(self, task: str) -> list[str]:
        """Who broke how many units of a result that stood every attack of its run, and when."""
        found = self.challenges.tasks.get(task) if self.challenges else None
        return found.credits() if found else []


def read_entry(board: Path, folder: Path, commits: Mapping[str, tuple[Commit, ...]], version: str) -> Entry:
    """The submission in ``folder``; ``version`` names the pages' own state.

    Raises:
        UnreadableError: its manifest or metadata cannot be read.
    """
    data = read_bytes(folder, MANIFEST, MIB)
    sha256 = hashlib.sha256(data).hexdigest()
    findings: dict[str, TierDocument] = {}
    seen: dict[str, Commit] = {}
    if submitted := commits.get(f"submissions/{folder.name}/{MANIFEST}"):
        seen[SUBMITTED] = submitted[0]
    for tier, file in TIER_FILES.items():
        name = f"tiers/{folder.name}/{file}"
        if (board / name).is_file():
            finding = parse_document(TierDocument, name, read_bytes(board, name, MIB))
            if finding.manifest_sha256 == sha256 and finding.tier == tier:
                findings[tier] = finding
                if made := commits.get(name):
                    seen[tier] = made[0]
    challenges = read_challenges(board, f"tiers/{folder.name}/{CHALLENGES}", sha256)
    documents = [*findings.values(), *([challenges] if challenges else [])]
    parts = [version, sha256, *(document.model_dump_json() for document in documents), repr(seen)]
    return Entry(
        folder=folder,
        metadata=read_metadata(Metadata, folder, METADATA),
        manifest=parse_document(SubmissionManifest, MANIFEST, data),
        findings=findings,
        commits=seen,
        fingerprint=hashlib.sha256("\0".join(parts).encode()).hexdigest(),
        challenges=challenges,
    )


__all__ = ["SUBMITTED", "Entry", "Result", "UnreadableError", "read_entry"]
