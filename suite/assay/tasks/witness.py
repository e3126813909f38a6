"""How files that a run saved bear out the records of a submission: what a family is shown, and what it says of them."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from assay.common.errors import UserError
from assay.results.document import Metric
from assay.tasks.shared.images import DataSource
from assay.tasks.shared.records import Record
from assay.tasks.task_spec import TaskSpec

SpecT = TypeVar("SpecT", bound=TaskSpec)


@dataclass(frozen=True)
class ReferenceNetwork:
    """The network to ask, as the user typed it, and its card beside the records."""

    name: str
    weights: Path | None
    card: Mapping[str, Any]


@dataclass(frozen=True)
class SentRecords(Generic[SpecT]):
    """A submission's records and the folder of the files that a run saved beside them: plain values, for a process.

    Attributes:
        spec: the submission's, which the check found to be the shipped one.
        data: where the data set's own pictures are.
        network: whose answers are stated.
        records: the submission's own, without files.
        files: the folder of the sent run's files; nothing else of that run is believed.
    """

    spec: SpecT
    data: DataSource
    network: ReferenceNetwork
    records: Sequence[Record]
    files: Path


@dataclass(frozen=True)
class FoundImage:
    """An adversarial image that somebody else found: its distance from the clean one, who found it, and when."""

    distance: float
    by: str
    date: str


@dataclass(frozen=True)
class Inspected:
    """How many saved files were looked at, and in words how some of them contradict the records."""

    files: int
    differences: tuple[str, ...]


@dataclass(frozen=True)
class SpotFinding:
    """What a spot check found.

    Attributes:
        where: the setting of the task, as the spec writes it.
        units: how many were tried.
        broken: the units that fell although their records say that they stand.
        blind: the units that stood, but hid from our attack what their records say that theirs saw.
        contradicts: whether these are more than luck explains.
    """

    where: str
    units: int
    broken: tuple[str, ...]
    blind: tuple[str, ...]
    contradicts: bool


class Witness(ABC, Generic[SpecT]):
    """How saved files bear out a submission's records. Each look is taken in a process of its own."""

    @abstractmethod
    def saved(self, spec: SpecT) -> bool:
        """Whether a job of this spec saves files that can be looked at."""

    @abstractmethod
    def look(self, sent: SentRecords[SpecT]) -> Inspected:
        """Hold every saved file against the records, the data set and the network's answers.

        Raises:
            UserError: another network or other data than the submission's.
        """

    @abstractmethod
    def spot_check(self, sent: SentRecords[SpecT], rank_by: str, seed: str) -> SpotFinding | None:
        """Try to break a few of the units that are said to stand; None where nothing of ours is comparable.

        Raises:
            UserError: as :meth:`look`.
        """

    def challenge(self, sent: SentRecords[SpecT]) -> Mapping[str, float]:
        """The distance of each foreign adversarial image at ``sent.files``, by unit; none that fails a fresh pass.

        Raises:
            UserError: an image is refused, or the family takes none.
        """
        raise UserError("challenge: the family takes no adversarial images; leave --challenge out")

    def lowered(
        self, spec: SpecT, records: Sequence[Record], found: Mapping[str, float]
    ) -> tuple[Sequence[Metric], Sequence[str]]:
        """The figures that such images change, and the units that they break earlier than the run did."""
        return (), ()

    def best_known(
        self, spec: SpecT, records: Sequence[Record], found: Mapping[str, FoundImage]
    ) -> Iterable[Mapping[str, Any]]:
        """CSV rows of the best known result of each unit, over the run's own and those that others ``found``."""
        return ()
