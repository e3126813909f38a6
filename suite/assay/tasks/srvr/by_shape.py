"""What stands behind a network's SRVR: a figure for every shape, so that networks are compared shape by shape."""

from collections.abc import Sequence
from statistics import fmean

from assay.tasks.base import Record, clean_records
from assay.tasks.srvr.spec import CALIBRATED, SrvrSpec
from assay.tasks.srvr.study import Search, ShapeMap, study
from assay.tasks.srvr.summary import map_traps


def by_shape(spec: SrvrSpec, records: Sequence[Record]) -> dict[str, dict[str, float]]:
    """Figures by metric, then by shape: volumes in % (by method, too), shares and scores, and what is counted.

    A shape without a region by some search has no figure there: the others' would be of other searches.
    """
    found = study(spec, clean_records(records))
    on_map = [search for search in found.searches if search.function == "map"]
    volumes = _volumes("srvr", spec, on_map) | _volumes(CALIBRATED, spec, found.calibrated_searches)
    counted = [shape for shape in found.maps if shape.shape not in spec.excluded]
    return volumes | {
        "mean_nsm": {shape.shape: float(shape.rows.mean()) for shape in counted},
        "views_recognised": {shape.shape: shape.answered for shape in counted if shape.answered is not None},
        "shapes_recognised": {shape.shape: float(shape.recognised) for shape in found.maps},
        "traps": {shape.shape: float(len(map_traps(spec, shape))) for shape in _view_maps(spec, counted)},
    }


def _volumes(name: str, spec: SrvrSpec, searches: Sequence[Search]) -> dict[str, dict[str, float]]:
    ratios: dict[str, dict[str, list[float]]] = {}
    for search in searches:
        if search.shape not in spec.excluded:
            for key in (name, f"{name}:{search.method}"):
                ratios.setdefault(key, {}).setdefault(search.shape, []).append(100 * search.volume_ratio)
    means = {
        key: {shape: fmean(values) for shape, values in shapes.items()} for key, shapes in ratios.items()
    }
    return {
        key: {shape: value for shape, value in shapes.items() if value == value}  # NaN: a search diverged
        for key, shapes in means.items()
    }


def _view_maps(spec: SrvrSpec, shapes: Sequence[ShapeMap]) -> Sequence[ShapeMap]:
    return shapes if spec.is_view_map else ()
