"""The units of a job: rows of maps, and, where the spec asks for it, searches on the network itself. No torch."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from assay.common.errors import UserError
from assay.tasks.base import Unit
from assay.tasks.srvr.shapes import Shape, ShapeSet
from assay.tasks.srvr.spec import MethodSpec, SrvrSpec


@dataclass(frozen=True)
class RowWork:
    """One row of a shape's map."""

    shape: Shape
    row: int


@dataclass(frozen=True)
class SearchWork:
    """The regions of one shape by one method, from all initial points, on the network itself."""

    shape: Shape
    method: MethodSpec
    adversarial: bool


def chosen_shapes(spec: SrvrSpec, data: ShapeSet) -> tuple[Shape, ...]:
    """The shapes of the spec's classes.

    Raises:
        UserError: the spec names a class or a shape that the data lack.
    """
    _require(spec.classes, {shape.class_name for shape in data.shapes}, "class", data)
    chosen = tuple(shape for shape in data.shapes if not spec.classes or shape.class_name in spec.classes)
    _require(spec.network_shapes + spec.excluded, {shape.id for shape in chosen}, "shape", data)
    return chosen


def _require(wanted: tuple[str, ...], there: set[str], what: str, data: ShapeSet) -> None:
    for name in wanted:
        if name not in there:
            raise UserError(
                f"data set {data.manifest.name}: has no {what} {name!r}; choose from {', '.join(sorted(there))}"
            )


def plan(spec: SrvrSpec, data: ShapeSet) -> list[Unit]:
    """The units, in a stable order: all rows, shape by shape, then all searches."""
    shapes = chosen_shapes(spec, data)
    rows = int(np.prod([axis.count for axis in spec.axes[1:]]))
    units = [
        Unit(f"{shape.id}/row-{row:03d}", RowWork(shape, row)) for shape in shapes for row in range(rows)
    ]
    if spec.function == "network":
        searched = [shape for shape in shapes if not spec.network_shapes or shape.id in spec.network_shapes]
        units += [unit for shape in searched for unit in _searches(spec, shape)]
    return units


def _searches(spec: SrvrSpec, shape: Shape) -> Iterator[Unit]:
    for adversarial in (False, True)[: 1 + spec.adversarial]:
        for method in spec.methods:
            name = f"{shape.id}/network-{method.method}" + "-complement" * adversarial
            yield Unit(name, SearchWork(shape, method, adversarial))
