"""What stands behind a network's SRVR: a figure for every shape, so that networks are compared shape by shape."""

from collections.abc import Sequence
from statistics import fmean

from assay.tasks.base import Record, clean_records
from assay.tasks.srvr.spec import SrvrSpec
from assay.tasks.srvr.study import study


def by_shape(spec: SrvrSpec, records: Sequence[Record]) -> dict[str, dict[str, float]]:
    """Figures by metric (``srvr``, ``srvr:METHOD`` in %, ``mean_nsm``), then by shape."""
    found = study(spec, clean_records(records))
    ratios: dict[str, dict[str, list[float]]] = {}
    for search in found.searches:
        if search.shape not in spec.excluded and search.function == "map":
            for name in ("srvr", f"srvr:{search.method}"):
                ratios.setdefault(name, {}).setdefault(search.shape, []).append(100 * search.volume_ratio)
    means = {
        shape.shape: [float(shape.rows.mean())] for shape in found.maps if shape.shape not in spec.excluded
    }
    return {
        name: {shape: fmean(values) for shape, values in shapes.items()}
        for name, shapes in (ratios | {"mean_nsm": means}).items()
    }
