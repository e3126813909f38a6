"""The documents of a submission, strict and versioned; the results and records are the suite's own.

::

    leaderboard/submissions/<name>/
        metadata.yaml                          the model's name, paper, code, licence, contact
        card.yaml                              the model card, where a card brought the model in
        manifest.json                          every other file with its size and SHA-256
        results/<family>/<task>.json           the result document
        records/<family>/<task>.jsonl.gz       one record per unit, in the order of the units
        files/<family>/<task>/…                the records' files that figures follow from (the family's scored_files)
        outcomes/<family>/<task>.json          each headline metric of each unit, for paired tests on the page
        provenance/<family>/<task>.json        versions, commit, device, times
        figures/<family>/<task>/index.json     titles and captions of the pictures that follow from the records
    leaderboard/tiers/<name>/<tier>.json       what a maintainer found; never part of a submission
    leaderboard/tiers/<name>/challenges.json   adversarial images that somebody else found, and what they lower
"""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from assay.board.submissions.text import Name, PlainText, Url, Words, no_formula, plain_text
from assay.common.validation import StrictModel

MANIFEST = "manifest.json"
MODEL_CARD = "card.yaml"
METADATA = "metadata.yaml"

# What was checked of a result, the least first: the arithmetic; the network's answers; the job itself.
SUBMITTED: Literal["submitted"] = "submitted"
RE_SCORED: Literal["re-scored"] = "re-scored"
RE_RUN: Literal["re-run"] = "re-run"
TIERS = (SUBMITTED, RE_SCORED, RE_RUN)

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
MAINTAINERS = "maintainers"
Contact = Annotated[
    str,
    Field(pattern=rf"^(https?://\S+|[^@\s<>]+@[^@\s<>]+|{MAINTAINERS})$", max_length=200),
    AfterValidator(plain_text),
    AfterValidator(no_formula),
]


class PaperReference(StrictModel):
    """The paper that describes the model."""

    title: Words
    url: Url


class Metadata(StrictModel):
    """What only the submitter can say.

    ``paper`` is the word ``none`` where no paper describes the model, ``code`` the word ``assay`` where this program
    builds and trains it, ``contact`` the word ``maintainers`` where they submit it themselves. ``submitter`` is a name
    for people; the contact stands in for it. ``weights`` is the address where they can be had, or the words ``not
    public``; nobody fetches them. ``without`` says of a task why the submission has no result of it, such as a guard
    that failed; the board shows the words in the empty cell.
    """

    schema_version: Literal[1] = Field(default=1, alias="schema")
    name: Name
    model: Name
    paper: PaperReference | Literal["none"]
    code: Url | Literal["assay"]
    weights: Url | Literal["not public"] | None = None
    licence: Words
    contact: Contact
    submitter: Annotated[Words, Field(max_length=80)] | None = None
    note: PlainText | None = None
    without: dict[PlainText, Annotated[Words, Field(max_length=300)]] | None = None

    @property
    def submitted_by(self) -> str:
        """Who submits it, as the board names them."""
        return self.submitter or ("the maintainers" if self.contact == MAINTAINERS else self.contact)


class FileEntry(StrictModel):
    """A file's size in bytes and its hash."""

    bytes: Annotated[int, Field(ge=0)]
    sha256: Sha256


class SubmissionManifest(StrictModel):
    """What the submission consists of; its own hash identifies the submission."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    kind: Literal["assay-submission"] = "assay-submission"
    assay: PlainText
    files: dict[str, FileEntry]


Score = Annotated[
    float, Field(ge=-1e100, le=1e100)
]  # far beyond any figure, and far from where sums overflow


class OutcomesDocument(StrictModel):
    """Each headline metric of each unit alone, in the order of the units; for paired tests on the page.

    A metric whose units are right or wrong is one text with one character per unit: ``1``, ``0``, or ``-`` where the
    metric does not count the unit. Any other is a list of numbers, null where it does not count the unit. A metric
    that is not a mean over units is left out, because no paired test of it would mean anything.
    """

    schema_version: Literal[1] = Field(default=1, alias="schema")
    metrics: dict[PlainText, Annotated[str, Field(pattern=r"^[01-]+$")] | tuple[Score | None, ...]]


class PictureEntry(StrictModel):
    """One picture of a result."""

    file: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,60}\.(json|png)$")]
    title: PlainText
    caption: Annotated[PlainText, Field(max_length=2000)]


class PictureIndex(StrictModel):
    """The pictures of a result."""

    pictures: tuple[PictureEntry, ...]


class SpotCheck(StrictModel):
    """Images that are said to stand, attacked by the maintainer.

    Attributes:
        salt: decides, with the submission's hash, which images; the authors could not know it.
        eps: the radius.
        images: how many were attacked.
        broken: how many of them fell.
    """

    salt: Annotated[str, Field(min_length=1, max_length=64)]
    eps: PlainText
    images: Annotated[int, Field(ge=0)]
    broken: Annotated[int, Field(ge=0)]


class TaskFinding(StrictModel):
    """What a maintainer found about one result: the differences, none when all agree."""

    differences: tuple[PlainText, ...]
    figures_compared: Annotated[int, Field(ge=0)]
    units_compared: Annotated[int, Field(ge=0)]
    images_compared: Annotated[int, Field(ge=0)] = 0
    spot_check: SpotCheck | None = None

    def supports(self, tier: str) -> bool:
        """Whether it raises a result to a tier: *re-run* by the job itself, *re-scored* by pictures and a spot check.

        Arithmetic alone, however much of it, leaves a result *submitted*.
        """
        asked = self.images_compared > 0 and self.spot_check is not None
        return not self.differences and (tier == RE_RUN or (tier == RE_SCORED and asked))


class TierDocument(StrictModel):
    """A maintainer's finding; it counts only while the submission's manifest has the hash that was looked at."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    tier: Literal["re-scored", "re-run"]
    assay: PlainText
    manifest_sha256: Sha256
    tasks: dict[str, TaskFinding]
    environment: dict[str, Any] = Field(default_factory=dict)


Day = Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]


class Finder(StrictModel):
    """Who found an adversarial image, as tables show it."""

    by: Annotated[Words, Field(max_length=80)]


class Challenge(Finder):
    """An adversarial image that somebody else found.

    Attributes:
        date: when.
        distance: from the clean image, in the task's norm.
        images_sha256: of the file that was sent; of a folder, of the names and hashes of its files.
    """

    date: Day
    distance: Annotated[float, Field(ge=0, le=1e9)]
    images_sha256: Sha256


class LoweredFigure(StrictModel):
    """A figure as it was stated, and what challenges leave of it."""

    stated: float | None
    value: float | None
    ci_low: float | None
    ci_high: float | None


class TaskChallenge(StrictModel):
    """What challenges did to one result.

    Attributes:
        best: by unit, the nearest image of all challenges.
        earlier: the units that it breaks at a smaller radius than every attack of the run did.
        figures: by metric, those that it changes.
    """

    best: dict[PlainText, Challenge]
    earlier: tuple[PlainText, ...]
    figures: dict[PlainText, LoweredFigure]

    def credits(self) -> list[str]:
        """Who broke how many units, and when, for people."""
        counts: dict[tuple[str, str], int] = {}
        for unit in self.earlier:
            one = self.best[unit]
            counts[one.by, one.date] = counts.get((one.by, one.date), 0) + 1
        return [f"{count} broken by {by} on {date}" for (by, date), count in sorted(counts.items())]


class ChallengesDocument(StrictModel):
    """All challenges of a submission; they count only while its manifest has the hash that was looked at."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    assay: PlainText
    manifest_sha256: Sha256
    tasks: dict[str, TaskChallenge]


class JobChallenges(StrictModel):
    """All challenges of one job of a run: by unit, the nearest image."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    assay: PlainText
    job_key: Sha256
    best: dict[PlainText, Challenge]


def is_of_task(file: str, task: str) -> bool:
    """Whether a submission's file belongs to the task."""
    return file.partition("/")[2].startswith((f"{task}.", f"{task}/"))


def schemas() -> dict[str, dict[str, Any]]:
    """The JSON Schema of each document of a submission, by file name."""
    return {
        f"{name}.schema.json": model.model_json_schema()
        for name, model in (
            ("metadata", Metadata),
            ("manifest", SubmissionManifest),
            ("outcomes", OutcomesDocument),
            ("figures", PictureIndex),
            ("tier", TierDocument),
            ("challenges", ChallengesDocument),
        )
    }


def write_schemas(folder: str | Path) -> None:
    """Write :func:`schemas` into ``folder``, one file for each (``make schema``)."""
    for name, schema in schemas().items():
        (Path(folder) / name).write_text(json.dumps(schema, indent=1) + "\n", encoding="utf-8")
