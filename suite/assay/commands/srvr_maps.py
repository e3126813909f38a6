"""The verbs over whole semantic maps: export them, average them over networks, list their traps.

They are apart from `srvr.py` because they read runs and so need the runner.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assay.commands.srvr import writing
from assay.common.errors import UserError

if TYPE_CHECKING:
    from assay.tasks.srvr.maps import SemanticMaps
    from assay.tasks.srvr.traps import TrapSettings

app = typer.Typer()

Model = Annotated[
    list[str] | None, typer.Option("--model", help="Only this model's maps (repeat it for more).")
]
TaskName = Annotated[str | None, typer.Option("--task", help="Only this task's maps.")]


@app.command(epilog="Example: assay maps out/first --out maps.npz --dsm dsm.png")
def maps(
    directory: Annotated[Path, typer.Argument(help="A run's folder.")],
    out: Annotated[Path, typer.Option("--out", help="The .npz to write.")],
    model: Model = None,
    task: TaskName = None,
    dsm: Annotated[
        Path | None,
        typer.Option("--dsm", help="A PNG of the data semantic maps: the mean over all, and of each class."),
    ] = None,
) -> None:
    """Export semantic maps over azimuth and elevation, and average them over networks and shapes."""
    from assay.common.tables import text_table
    from assay.tasks.srvr.maps import best_band_score, save_maps
    from assay.tasks.srvr.traps import TrapSettings

    found = _stored_maps(directory, model or [], task)
    with writing(out), out.open("wb") as stream:
        save_maps(stream, found.maps)
    traps = found.traps(TrapSettings())
    rows = [
        {"map": name, "mean": scores.mean(), "best band": best_band_score(scores), "traps": len(traps[name])}
        for name, scores in found.named.items()
    ]
    print(text_table(rows, headers="keys", floatfmt=".3g"))
    count, height, width = found.maps.maps.shape
    print(f"\nmaps:   {out} ({count} of {height} x {width} cells; `assay traps {out}` lists the traps)")
    if dsm is not None:
        _write_dsm(dsm, found)


@app.command(epilog="Example: assay traps out/first --out traps.csv")
def traps(
    source: Annotated[
        Path, typer.Argument(help="A run's folder, maps that `assay maps` wrote, or the published archive.")
    ],
    low: Annotated[float, typer.Option("--low", help="A trap's lowest score is at most this.")] = 0.1,
    high: Annotated[
        float, typer.Option("--high", help="Every way out of a trap leads over at least this.")
    ] = 0.5,
    model: Model = None,
    task: TaskName = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="The CSV to write; a table is printed when left out.")
    ] = None,
) -> None:
    """List the semantic traps of maps and of their means: views of low score that high ones enclose."""
    from assay.common.tables import text_table
    from assay.results.tables import csv_text
    from assay.tasks.srvr.traps import TrapSettings

    settings = TrapSettings(low, high)
    found = _stored_maps(source, model or [], task) if source.is_dir() else _maps_of_file(source)
    rows = list(found.trap_rows(settings))
    trapped = len({row["map"] for row in rows})
    summary = f"{len(rows)} traps on {trapped} of {len(found.named)} maps and means"
    if out is None:
        print(text_table(rows, headers="keys", floatfmt=".3g") + "\n" * bool(rows))
        print(summary)
        return
    with writing(out):
        out.write_text(csv_text(_TRAP_COLUMNS, rows), encoding="utf-8")
    print(f"traps: {out} ({summary})")


_TRAP_COLUMNS = ("map", "azimuth_deg", "elevation_deg", "lowest", "depth", "area_deg2", "encircles")


@dataclass(frozen=True)
class _Maps:
    """Maps over azimuth and elevation, with the class of each; one class where the source does not say."""

    maps: "SemanticMaps"
    class_names: Sequence[str]

    @property
    def means(self) -> dict[str, Any]:
        """Name to the mean over all maps, then over those of each class with several."""
        from assay.tasks.srvr.maps import class_means, data_semantic_map

        of_classes = class_means(self.maps, self.class_names)
        named = {f"mean of class {name} (DSM)": scores for name, scores in of_classes.items()}
        return {"mean of all (DSM)": data_semantic_map([self.maps])} | named

    @property
    def named(self) -> dict[str, Any]:
        """Name to scores (elevation, azimuth) of every map and mean."""
        return dict(zip(self.maps.unit_id, self.maps.maps, strict=True)) | self.means

    def traps(self, settings: "TrapSettings") -> dict[str, Any]:
        """Name to traps of every map and mean."""
        from assay.tasks.srvr.traps import find_traps

        return {name: find_traps(scores, *self.maps.axes, settings) for name, scores in self.named.items()}

    def trap_rows(self, settings: "TrapSettings") -> Iterator[dict[str, Any]]:
        """One row per trap."""
        for name, found in self.traps(settings).items():
            for trap in found:
                yield {"map": name} | {column: getattr(trap, column) for column in _TRAP_COLUMNS[1:]}


def _maps_of_file(path: Path) -> _Maps:
    """The maps in a file of ``assay maps``, or all networks' in the published archive."""
    from dataclasses import replace

    from assay.tasks.srvr.maps import join_maps, load_maps
    from assay.tasks.srvr.published import is_published_archive, load_published

    if not is_published_archive(path):
        found = load_maps(path)
        return _Maps(found, [""] * len(found.unit_id))
    networks = load_published(path)
    named = [
        replace(each.maps, unit_id=tuple(f"{each.name}/{unit}" for unit in each.maps.unit_id))
        for each in networks
    ]
    return _Maps(join_maps(named), [unit.split("/")[0] for each in networks for unit in each.maps.unit_id])


def _stored_maps(directory: Path, models: list[str], task: str | None) -> _Maps:
    """The whole maps of every job that is asked for, each shape under its model's name."""
    from dataclasses import replace

    from assay.runner.assemble import stored_jobs
    from assay.runner.store import RunFolder
    from assay.tasks.base import clean_records
    from assay.tasks.srvr.maps import join_maps
    from assay.tasks.srvr.spec import SrvrSpec
    from assay.tasks.srvr.study import merge_rows, view_maps

    wanted = task and (Path(task).stem if task.endswith((".yaml", ".yml")) else task)
    found: list[SemanticMaps] = []
    classes: list[str] = []
    for job in stored_jobs(RunFolder.existing(directory)):
        name, there, spec = job.document["model"]["name"], job.document["task"], job.spec
        if not isinstance(spec, SrvrSpec) or (models and name not in models) or wanted not in (None, there):
            continue
        if not spec.is_view_map:
            raise UserError(
                f"{there}: its maps are not over azimuth and elevation; choose others with --task"
            )
        records = clean_records(job.records())
        with job.understood():
            whole, incomplete = merge_rows(spec, records)
        for shape in incomplete:
            print(f"left out: {name} · {there}: rows of {shape} are missing", file=sys.stderr)
        each = view_maps(spec, whole)
        found.append(replace(each, unit_id=tuple(f"{name}/{shape}" for shape in each.unit_id)))
        classes += [shape.class_name for shape in whole]
    return _Maps(join_maps(found), classes)


def _write_dsm(path: Path, found: _Maps) -> None:
    from assay.tasks.srvr.figures import map_grid_figure
    from assay.tasks.srvr.traps import find_traps

    panels = {
        f"{name}: {scores.mean():.3f}": (scores, find_traps(scores, *found.maps.axes))
        for name, scores in found.means.items()
    }
    networks = dict.fromkeys(unit.split("/")[0] for unit in found.maps.unit_id)
    title = f"Data semantic map of {len(found.maps.unit_id)} maps: {', '.join(networks)}"
    with writing(path):
        path.write_bytes(map_grid_figure(panels, *found.maps.axes, title))
    print(f"picture: {path}")
