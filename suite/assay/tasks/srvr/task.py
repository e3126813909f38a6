"""Semantic robustness over 3-D renders, as a family of the task protocol."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.common.errors import UserError
from assay.data.draw import Drawable
from assay.results.document import Guard
from assay.tasks.base import DataSets, Figure, Record, RunContext, Summary, Task, Unit, clean_records
from assay.tasks.shared.images import DataSource, label_space_mismatch, open_images
from assay.tasks.shared.plausible import ExpectedAccuracy
from assay.tasks.srvr.spec import SrvrSpec
from assay.tasks.srvr.values import RECORD_VALUES, lacks

if TYPE_CHECKING:
    from assay.data.corrupting.corruption import Corruption
    from assay.models.info import ModelInfo
    from assay.models.loaded import LoadedModel
    from assay.tasks.srvr.shapes import ShapeSet, ShapesManifest
    from assay.tasks.srvr.study import Search


class ShapeSets(DataSets):
    """Data sets of 3-D shapes; see :mod:`assay.tasks.srvr.shapes`."""

    kind = "shapes"

    def names(self) -> list[str]:
        """See :class:`assay.tasks.base.DataSets`."""
        from assay.tasks.srvr.shapes import list_shapes

        return list_shapes()

    def load(self, name_or_path: str) -> "ShapesManifest":
        """See :class:`assay.tasks.base.DataSets`."""
        from assay.tasks.srvr.shapes import load_shapes

        return load_shapes(name_or_path)

    def available(self, manifest: "ShapesManifest", roots: Sequence[Path]) -> str | None:
        """See :class:`assay.tasks.base.DataSets`."""
        from assay.data.dataset import is_available
        from assay.tasks.srvr.shapes import made_by_code

        return None if made_by_code(manifest) else is_available(manifest, list(roots))


class SrvrTask(Task[SrvrSpec, "ShapeSet"]):
    """From which views is an object recognised, robustly?"""

    meaning = (
        "srvr: the share of all views that lie in a region, grown from one view, in which the class stays "
        "recognised; scores are calibrated."
    )
    record_version = 2
    spec_type = SrvrSpec
    record_columns = (
        "unit_id", "class_index", "function", "method", "initial_azimuth_deg", "initial_elevation_deg",
        "azimuth_low_deg", "azimuth_high_deg", "elevation_low_deg", "elevation_high_deg", "volume_ratio",
        "steps", "converged", "error",
    )  # fmt: skip
    no_own_answers = (
        "a shape has one class from all sides, where the network's answer changes from view to view"
    )
    no_own_pictures = "it renders 3-D shapes; give its spec a manifest of shapes"
    record_values = RECORD_VALUES
    data_sets = ShapeSets()

    def open_data(self, spec: SrvrSpec, source: DataSource) -> "ShapeSet":
        """See :class:`assay.tasks.base.Task`."""
        from assay.tasks.srvr.labelled import with_labelled
        from assay.tasks.srvr.shapes import load_shapes, open_shapes
        from assay.tasks.srvr.work import chosen_shapes

        data = open_shapes(load_shapes(source.manifest, source.relative_to), source.roots)
        chosen_shapes(spec, data)
        if spec.labelled is None:
            return data
        labelled = open_images(replace(source, manifest=spec.labelled))
        labelled.manifest.require_labels()
        return with_labelled(data, labelled)

    def not_applicable(self, spec: SrvrSpec, model: "ModelInfo", data: "ShapeSet") -> str | None:
        """See :class:`assay.tasks.base.Task`.

        Raises:
            UserError: a corruption cannot be made of renders of the network's size.
        """
        from assay.tasks.srvr.pytorch3d_backend import pytorch3d_problem

        channels, height, width = model.input_shape
        if channels != 3 or height != width:
            return f"renders are square and of 3 channels, the model takes {channels} x {height} x {width}"
        if spec.corruption is not None:
            _check_size(spec.corruption, spec.image_size or height)
        if spec.renderer == "pytorch3d" and (problem := pytorch3d_problem()):
            return problem
        return label_space_mismatch(model, data)

    def check_network(self, spec: SrvrSpec, load: "Callable[[], LoadedModel]") -> None:
        """The network takes renders of the size that the spec says, where it says one."""
        if spec.image_size is not None:
            from assay.tasks.srvr.evaluate import check_image_size

            check_image_size(spec.image_size, load())

    def units(self, spec: SrvrSpec, data: "ShapeSet") -> list[Unit]:
        """One unit per row of a shape's map; with ``function: network``, one per shape and method, too."""
        from assay.tasks.srvr.work import plan

        return plan(spec, data)

    def drawn_as(self, data: "ShapeSet", unit: Unit) -> Drawable:
        """``--limit`` counts shapes: a shape's map means nothing without all its rows."""
        shape = unit.payload.shape
        return Drawable(shape.id, shape.class_name)

    def run(
        self,
        spec: SrvrSpec,
        model: "LoadedModel",
        data: "ShapeSet",
        units: Sequence[Unit],
        context: RunContext,
    ) -> Iterator[Record]:
        """See :class:`assay.tasks.base.Task`."""
        from assay.tasks.srvr.evaluate import RenderSetting, score_row, search_network
        from assay.tasks.srvr.work import RowWork

        setting = RenderSetting(spec, model, context, data.labelled)
        for unit in units:
            work = score_row if isinstance(unit.payload, RowWork) else search_network
            yield work(setting, unit.id, unit.payload)

    def on_host(self, spec: SrvrSpec) -> str:
        """See :class:`assay.tasks.base.Task`."""
        return "the growth of regions on stored maps, and corruptions of renders"

    def summarise(self, spec: SrvrSpec, records: Sequence[Record]) -> Summary:
        """See :func:`assay.tasks.srvr.summary.summarise`."""
        from assay.tasks.srvr.summary import summarise

        return summarise(spec, records)

    def lacks(self, spec: SrvrSpec, record: Record) -> str | None:
        """See :func:`assay.tasks.srvr.values.lacks`."""
        return lacks(spec, record.values)

    def plausible(
        self, spec: SrvrSpec, records: Sequence[Record], expected: ExpectedAccuracy
    ) -> Guard | None:
        """See :func:`assay.tasks.srvr.summary.plausible_scores`."""
        from assay.tasks.srvr.summary import plausible_scores

        return plausible_scores(spec, records, expected)

    def averaged(self, spec: SrvrSpec, records: Sequence[Record]) -> Mapping[str, Mapping[str, float]]:
        """See :func:`assay.tasks.srvr.by_shape.by_shape`."""
        from assay.tasks.srvr.by_shape import by_shape

        return by_shape(spec, records)

    def archive(self, path: Path) -> Mapping[str, Mapping[str, float]]:
        """See :func:`assay.tasks.srvr.archive.archive_figures`."""
        from assay.tasks.srvr.archive import archive_figures

        return archive_figures(path)

    def figures(self, spec: SrvrSpec, records: Sequence[Record]) -> Sequence[Figure]:
        """See :func:`assay.tasks.srvr.pictures.pictures`."""
        from assay.tasks.srvr.pictures import pictures

        return pictures(spec, records)

    def rows(self, spec: SrvrSpec, records: Sequence[Record]) -> Iterable[Mapping[str, Any]]:
        """One row per search; a unit that failed has one with its error.

        Other parameters than azimuth and elevation have their own columns: ``initial_distance``, ``distance_low``,
        ``distance_high``.
        """
        from assay.tasks.srvr.study import study

        for record in records:
            if record.error is not None:
                yield {"unit_id": record.unit_id, "error": record.error}
        found = study(spec, clean_records(records))
        for search in (*found.searches, *found.calibrated_searches):
            yield _row(spec, search)


def _check_size(corruption: "Corruption", size: int) -> None:
    from assay.data.corrupting.level import unfit

    settings = corruption.settings_for((size, size))
    reason = unfit(corruption.kind, settings, (size, size, 3), "renders are of")
    if reason is not None:
        raise UserError(f"corruption: {reason}")


def _row(spec: SrvrSpec, search: "Search") -> dict[str, Any]:
    row: dict[str, Any] = {
        "unit_id": search.shape,
        "class_index": search.class_index,
        "function": search.function,
        "method": search.method,
        "steps": search.steps,
        "converged": search.converged,
    }
    if isnan(search.volume_ratio):
        row["error"] = "the search diverged; its last finite bounds are given"
    else:
        row["volume_ratio"] = search.volume_ratio
    for name, initial, low, high in zip(spec.names, search.initial, search.low, search.high, strict=True):
        axis, unit = name.removesuffix("_deg"), "_deg" * name.endswith("_deg")
        row[f"initial_{name}"] = float(initial)
        row[f"{axis}_low{unit}"], row[f"{axis}_high{unit}"] = float(low), float(high)
    return row


TASK = SrvrTask()
