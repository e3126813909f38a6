"""From records to semantic maps and regions: rows are merged, regions grow on the maps. No torch.

All searches of a job, every shape from every initial point, advance together as one batch for each method.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from assay.tasks.base import Record
from assay.tasks.srvr.arrays import FloatArray
from assay.tasks.srvr.domain import Domain
from assay.tasks.srvr.maps import InterpolatedMaps, SemanticMaps, best_band_score
from assay.tasks.srvr.metric import volume_ratio
from assay.tasks.srvr.regions import Regions, complement, grow_regions
from assay.tasks.srvr.spec import MethodSpec, SrvrSpec

ACCEPTED_BAND_SCORE = 0.1
"""A shape is recognised where its mean score over one row of views is at least this (the paper's rule)."""
COMPLEMENT = "_complement"
CALIBRATED_MAP = "map_calibrated"


@dataclass(frozen=True)
class ShapeMap:
    """The whole map of one shape.

    Attributes:
        shape: its id.
        class_name: as its manifest calls the class.
        class_index: in the label space.
        rows: (R, A) scores: the first parameter runs along a row, the others stand in the order of
            ``itertools.product``.
        calibrated: (R, A) the same after temperature scaling; None where the records have no such scores.
        answered: share of the views whose highest logit is the class's; None in older records.
    """

    shape: str
    class_name: str
    class_index: int
    rows: FloatArray
    calibrated: FloatArray | None = None
    answered: float | None = None

    @property
    def best_band(self) -> float:
        """The mean score of the row with the highest."""
        return best_band_score(self.rows)

    @property
    def recognised(self) -> bool:
        """Whether the shape passes the paper's acceptance rule for this network."""
        return self.best_band >= ACCEPTED_BAND_SCORE


@dataclass(frozen=True)
class Search:
    """One region grown from one point.

    Attributes:
        shape: its id.
        class_name: as its manifest calls the class.
        class_index: in the label space.
        function: ``map`` or ``network``, with ``_complement`` where the region is one of 1 - f; ``map_calibrated``
            where scores have been divided by the network's temperature.
        method: how it was grown.
        initial: (n,) the point.
        low: (n,) lower bounds.
        high: (n,) upper bounds.
        volume_ratio: Vol(D ∩ Ω) / Vol(Ω); NaN for a search that diverged.
        steps: updates made.
        converged: whether the bounds stopped moving.
        trace: (T + 1, 2, n) the bounds over the updates.
    """

    shape: str
    class_name: str
    class_index: int
    function: str
    method: str
    initial: FloatArray
    low: FloatArray
    high: FloatArray
    volume_ratio: float
    steps: int
    converged: bool
    trace: FloatArray

    @property
    def on_network(self) -> bool:
        """Whether it asked the network itself."""
        return self.function.startswith("network")

    @property
    def adversarial(self) -> bool:
        """Whether it grew a region of low scores."""
        return self.function.endswith(COMPLEMENT)


@dataclass(frozen=True)
class Study:
    """All that the records of a job say.

    Attributes:
        maps: of the shapes with all their rows.
        incomplete: the shapes with rows missing.
        searches: on the maps, then on the network.
        calibrated_searches: on the maps of scores after temperature scaling, where the records have these.
        temperature: the network's, as the first of the records has it.
    """

    maps: tuple[ShapeMap, ...]
    incomplete: tuple[str, ...]
    searches: tuple[Search, ...]
    calibrated_searches: tuple[Search, ...] = ()
    temperature: Mapping[str, Any] | None = None


def study(spec: SrvrSpec, records: Sequence[Record]) -> Study:
    """Merge the records of a job and grow the regions on its maps.

    Args:
        spec: of the job.
        records: those without an error, in the order of the units.
    """
    maps, incomplete = merge_rows(spec, records)
    functions = ("map", "map" + COMPLEMENT)[: 1 + spec.adversarial]
    searches = [*_on_maps(spec, maps, spec.domain, functions), *_on_network(spec, records)]
    calibrated = [replace(each, rows=each.calibrated) for each in maps if each.calibrated is not None]
    on_calibrated = _on_maps(spec, calibrated, spec.headline_domain, (CALIBRATED_MAP,))
    return Study(maps, incomplete, tuple(searches), tuple(on_calibrated), _temperature(records))


def _temperature(records: Sequence[Record]) -> Mapping[str, Any] | None:
    found = (record.values.get("temperature") for record in records)
    return next((each for each in found if each is not None), None)


def view_maps(spec: SrvrSpec, maps: Sequence[ShapeMap]) -> SemanticMaps:
    """Maps over azimuth and elevation in the form of the published ones; of any other parameters: ValueError."""
    if not spec.is_view_map:
        raise ValueError(f"maps over {', '.join(spec.names)}: not over azimuth and elevation")
    azimuth, elevation = spec.view_axes
    values = [shape.rows for shape in maps]
    return SemanticMaps(
        maps=np.array(values).reshape(len(maps), elevation.count, azimuth.count),
        azimuth_deg=azimuth.values,
        elevation_deg=elevation.values,
        unit_id=tuple(shape.shape for shape in maps),
    )


def merge_rows(spec: SrvrSpec, records: Sequence[Record]) -> tuple[tuple[ShapeMap, ...], tuple[str, ...]]:
    """The whole maps, and the names of the shapes with rows missing."""
    by_shape: dict[str, dict[int, Record]] = {}
    for record in records:
        if record.values["kind"] == "row":
            by_shape.setdefault(record.values["shape"], {})[record.values["row"]] = record
    count = int(np.prod([axis.count for axis in spec.axes[1:]]))
    maps, incomplete = [], []
    for shape, rows in by_shape.items():
        if len(rows) < count:
            incomplete.append(shape)
            continue
        first = rows[0].values
        scores, calibrated, answered = (
            _column(rows, count, name) for name in ("scores", "calibrated", "recognised")
        )
        assert scores is not None
        share = None if answered is None else float(answered.mean())
        maps.append(ShapeMap(shape, first["class_name"], first["class_index"], scores, calibrated, share))
    return tuple(maps), tuple(incomplete)


def _column(rows: Mapping[int, Record], count: int, name: str) -> FloatArray | None:
    """(R, A) of a shape's rows; None where a record does not have it."""
    found = [rows[row].values.get(name) for row in range(count)]
    return None if any(each is None for each in found) else np.array(found, dtype=np.float64)


def _on_maps(
    spec: SrvrSpec, maps: Sequence[ShapeMap], domain: Domain, functions: Sequence[str]
) -> Iterator[Search]:
    """Every search on the interpolated maps, function by function."""
    if not maps:
        return
    points = len(spec.initial)
    counts = [axis.count for axis in spec.axes]
    values = np.array([shape.rows.T.reshape(counts) for shape in maps])
    score = InterpolatedMaps(values, spec.axes, np.repeat(np.arange(len(maps)), points))
    initial = np.tile(spec.initial, (len(maps), 1))
    for function in functions:
        for method in spec.methods:
            found = grow_regions(
                complement(score) if function.endswith(COMPLEMENT) else score,
                initial,
                domain,
                method.settings(spec.as_published),
            )
            for search in range(len(initial)):
                shape = maps[search // points]
                yield _search(domain, shape, (function, method), initial[search], found, search)


def _search(
    domain: Domain,
    shape: ShapeMap,
    how: tuple[str, MethodSpec],
    initial: FloatArray,
    found: Regions,
    index: int,
) -> Search:
    low, high, trace = found.low[index], found.high[index], found.trace[:, index]
    ratio = np.nan if found.diverged[index] else float(volume_ratio(low, high, domain))
    return Search(
        shape.shape,
        shape.class_name,
        shape.class_index,
        how[0],
        how[1].method,
        initial,
        low,
        high,
        ratio,
        int(found.steps[index]),
        bool(found.converged[index]),
        trace[: found.steps[index] + 1],
    )


def _on_network(spec: SrvrSpec, records: Sequence[Record]) -> Iterator[Search]:
    """The searches that are stored, each with its trace."""
    for record in records:
        values = record.values
        if values["kind"] != "searches":
            continue
        traces = np.load(io.BytesIO(record.files[values["traces"]]), allow_pickle=False)
        for index, found in enumerate(values["searches"]):
            low, high = np.array(found["low"]), np.array(found["high"])
            yield Search(
                values["shape"],
                values["class_name"],
                values["class_index"],
                values["function"],
                values["method"],
                np.array(spec.initial[index]),
                low,
                high,
                np.nan if found["diverged"] else float(volume_ratio(low, high, spec.domain)),
                found["steps"],
                found["converged"],
                traces[: found["steps"] + 1, index].astype(np.float64),
            )
