"""Does a device give the records that the CPU gives? Every family is asked, unit by unit."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from assay.common.validation import StrictModel, read_yaml, validate
from assay.tasks.base import Record, RunContext
from assay.tasks.families import family, load_spec
from assay.tasks.shared.images import DataSource

TOLERANCE = 1e-3  # of a number, as a share of the larger of 1 and the number itself
UNITS_AT_LEAST = 0.9  # a step by the gradient's sign may turn on its last bit, so a unit in ten may differ


class Case(StrictModel):
    """A small job whose records are compared.

    Attributes:
        task: a shipped task's id.
        units: its first so many.
        settings: fields of its spec, ``KEY=VALUE`` each.
        model: a network that is shipped with its trained weights.
    """

    task: str
    units: int
    settings: tuple[str, ...] = ()
    model: str = "digits_fnn"


class _Cases(StrictModel):
    cases: tuple[Case, ...]


def shipped_cases() -> tuple[Case, ...]:
    """The cases of ``cases.yaml`` beside this module, which ask every family."""
    path = Path(__file__).with_name("cases.yaml")
    return validate(_Cases, read_yaml(path), str(path)).cases


@dataclass(frozen=True)
class Agreement:
    """How records of two devices differ.

    Attributes:
        units: how many were compared.
        within: how many have the same decisions, and numbers within :data:`TOLERANCE`.
        largest: the largest difference of two numbers, as :data:`TOLERANCE` counts.
        errors: units that failed on the device.
        where: a value that differs, by its path, where one does.
    """

    units: int
    within: int
    largest: float
    errors: int
    where: str | None

    @property
    def passed(self) -> bool:
        """Whether enough units agree, and none failed."""
        return self.errors == 0 and self.within >= UNITS_AT_LEAST * self.units


@dataclass
class _Differences:
    """What was found between two values."""

    largest: float = 0.0
    decisions: list[str] = field(default_factory=list)

    def look(self, here: Any, there: Any, path: str = "") -> None:
        if isinstance(here, Mapping) and isinstance(there, Mapping) and here.keys() == there.keys():
            for name in here:
                if name != "seconds":  # no two runs share them
                    self.look(here[name], there[name], f"{path}.{name}")
        elif isinstance(here, list) and isinstance(there, list) and len(here) == len(there):
            for index, pair in enumerate(zip(here, there, strict=True)):
                self.look(*pair, f"{path}[{index}]")
        elif isinstance(here, float) and isinstance(there, float):
            off = abs(here - there) / max(1.0, abs(here), abs(there))
            self.largest = max(self.largest, off)
            if off > TOLERANCE:
                self.decisions.append(path)
        elif here != there:
            self.decisions.append(path)


def agreement(here: Sequence[Record], there: Sequence[Record]) -> Agreement:
    """The records of a CPU beside those of a device, of the same units."""
    within, largest, where = 0, 0.0, None
    for one, other in zip(here, there, strict=True):
        found = _Differences()
        found.look(dict(one.values), dict(other.values))
        within += not found.decisions
        largest = max(largest, found.largest)
        where = where or next(iter(found.decisions), None)
    errors = sum(record.error is not None for record in there)
    return Agreement(len(here), within, largest, errors, where and where.lstrip("."))


def compare(case: Case, device: str) -> Agreement:
    """The case on the CPU and on a device, both computed here and now.

    Raises:
        UserError: no such device.
    """
    return agreement(records_of(case, "cpu"), records_of(case, device))


def records_of(case: Case, device: str) -> list[Record]:
    """The records of a case on a device; what it makes on the way is made anew."""
    from assay.models.zoo import load_model

    loaded = load_spec(case.task, settings=case.settings)
    spec, task = loaded.spec, family(loaded.spec.family)
    place = "cpu" if task.host_only(spec) else device
    data = task.open_data(spec, DataSource(spec.data, loaded.folder, ()))
    model = load_model(case.model, device=place)
    units = task.units(spec, data)[: case.units]
    batch = task.batch_size(model.info.input_shape, place)
    with _own_cache():
        return list(task.run(spec, model, data, units, RunContext("bench", place, batch)))


@contextmanager
def _own_cache() -> Iterator[None]:
    """So that no device is given an adversarial set that another one made."""
    before = os.environ.get("ASSAY_CACHE")
    with TemporaryDirectory() as folder:
        os.environ["ASSAY_CACHE"] = folder
        try:
            yield
        finally:
            if before is None:
                del os.environ["ASSAY_CACHE"]
            else:
                os.environ["ASSAY_CACHE"] = before
