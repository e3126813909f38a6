"""The verbs of semantic robustness. They stand beside the command line, since they read runs and so need the runner."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assay.errors import UserError

if TYPE_CHECKING:
    from assay.tasks.srvr.maps import SemanticMaps
    from assay.tasks.srvr.mesh import Mesh

app = typer.Typer()


@app.command(epilog="Example: assay render mug --azimuth 130 --elevation 30 --out mug.png")
def render(
    mesh: Annotated[
        str, typer.Argument(help="A mesh file (OBJ, PLY, STL, OFF, GLB), or an embedded shape's name.")
    ],
    out: Annotated[Path, typer.Option("--out", help="The PNG to write.")],
    azimuth: Annotated[float, typer.Option("--azimuth", help="Degrees.")] = 0.0,
    elevation: Annotated[float, typer.Option("--elevation", help="Degrees.")] = 0.0,
    distance: Annotated[
        float, typer.Option("--distance", help="Of the camera; half the shape's longest side is 1.")
    ] = 2.732,
    size: Annotated[int, typer.Option("--size", min=8, max=4096, help="Pixels.")] = 224,
) -> None:
    """Look at one view of a mesh, as a network would see it."""
    import torch
    from PIL import Image

    from assay.tasks.srvr.camera import camera, place
    from assay.tasks.srvr.render import RenderSettings, Surface
    from assay.tasks.srvr.render import render as draw

    loaded = _mesh(mesh)
    view = place(
        ("azimuth_deg", "elevation_deg", "distance"),
        torch.tensor([[azimuth, elevation, distance]], dtype=torch.float64),
    )
    image = draw(Surface.from_mesh(loaded), camera(view), RenderSettings(image_size=size))[0, 0]
    with _writing(out):
        Image.fromarray((image * 255).round().byte().numpy()).save(out, format="png")
    counts, covered = loaded.counts, 100 * float((image > 0).float().mean())
    print(
        f"{out}: {size} x {size} pixels, {covered:.1f} % of them covered; {counts.kept} of {counts.raw} faces drawn "
        f"({counts.duplicate} duplicate, {counts.degenerate} without area)"
    )


@app.command(epilog="Example: assay maps out/first --out maps.npz --dsm dsm.png")
def maps(
    directory: Annotated[Path, typer.Argument(help="A run's folder.")],
    out: Annotated[Path, typer.Option("--out", help="The .npz to write.")],
    model: Annotated[
        list[str] | None, typer.Option("--model", help="Only this model's maps (repeat it for more).")
    ] = None,
    task: Annotated[str | None, typer.Option("--task", help="Only this task's maps.")] = None,
    dsm: Annotated[
        Path | None, typer.Option("--dsm", help="A PNG of the data semantic map, their mean.")
    ] = None,
) -> None:
    """Export semantic maps over azimuth and elevation, and list their traps and those of their mean."""
    from tabulate import tabulate

    from assay.tasks.srvr.maps import data_semantic_map, join_maps, save_maps

    found = join_maps(list(_stored_maps(directory, model or [], task)))
    with _writing(out), out.open("wb") as stream:
        save_maps(stream, found)
    mean = data_semantic_map([found])
    rows = [
        row
        for name, scores in [*zip(found.unit_id, found.maps, strict=True), ("mean of all (DSM)", mean)]
        for row in _trap_rows(name, scores, found)
    ]
    print(tabulate(rows, headers="keys", tablefmt="simple", floatfmt=".3g"))
    print(f"\nmaps:   {out} ({len(found.unit_id)} of {found.maps.shape[1]} x {found.maps.shape[2]} cells)")
    if dsm is not None:
        _write_dsm(dsm, mean, found)


@app.command(epilog="Example: assay regions maps.npz --method OIR_B --initial 130,30 --out regions.csv")
def regions(
    file: Annotated[Path, typer.Argument(help="Maps that `assay maps` wrote, or the published archive.")],
    method: Annotated[
        list[str] | None,
        typer.Option(
            "--method", help="naive, OIR_B, OIR_W or trapezoid (repeat it; the first three when left out)."
        ),
    ] = None,
    initial: Annotated[
        list[str] | None,
        typer.Option("--initial", help="AZ,EL in degrees (repeat it; the published four when left out)."),
    ] = None,
    as_published: Annotated[
        bool,
        typer.Option(
            "--as-published", help="Let regions leave the domain and never stop, as the published code."
        ),
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", help="The CSV to write; standard output when left out.")
    ] = None,
    traces: Annotated[
        Path | None, typer.Option("--traces", help="An .npz of the bounds over the updates.")
    ] = None,
) -> None:
    """Grow robust regions on maps; on the published archive, compare them with the published ones."""
    from assay.results.tables import csv_text
    from assay.tasks.srvr.regrow import regrow
    from assay.tasks.srvr.task import TASK

    points = [_point(text) for text in initial or []]
    grown = regrow(file, method or ["naive", "OIR_B", "OIR_W"], points, as_published)
    text = csv_text(TASK.record_columns, (row for each in grown for row in each.rows()))
    if traces is not None:
        _write_traces(traces, grown)
    if out is None:
        sys.stdout.write(text)
        return
    with _writing(out):
        out.write_text(text, encoding="utf-8")
    _print_comparison(grown)
    print(f"\nregions: {out} ({text.count(chr(10)) - 1} searches)")


def _mesh(name: str) -> "Mesh":
    """The mesh in a file, or an embedded shape's."""
    from assay.tasks.srvr.mesh import load_mesh
    from assay.tasks.srvr.procedural import EMBEDDED_SHAPES, embedded_mesh

    if name in EMBEDDED_SHAPES and not Path(name).exists():
        return embedded_mesh(name)
    return load_mesh(Path(name))


def _stored_maps(directory: Path, models: list[str], task: str | None) -> Iterator["SemanticMaps"]:
    """The whole maps of every job that is asked for, each shape under its model's name."""
    from dataclasses import replace

    from assay.runner.assemble import stored_jobs
    from assay.runner.store import RunFolder
    from assay.tasks.base import clean_records
    from assay.tasks.srvr.spec import SrvrSpec
    from assay.tasks.srvr.study import merge_rows, view_maps

    wanted = task and (Path(task).stem if task.endswith((".yaml", ".yml")) else task)
    for job in stored_jobs(RunFolder.existing(directory)):
        name, there = job.document["model"]["name"], job.document["task"]
        if (
            not isinstance(job.spec, SrvrSpec)
            or (models and name not in models)
            or wanted not in (None, there)
        ):
            continue
        if not job.spec.is_view_map:
            raise UserError(
                f"{there}: its maps are not over azimuth and elevation; choose others with --task"
            )
        spec = job.spec
        whole, incomplete = merge_rows(spec, clean_records(job.records()))
        for shape in incomplete:
            print(f"left out: {name} · {there}: rows of {shape} are missing", file=sys.stderr)
        each = view_maps(spec, whole)
        yield replace(each, unit_id=tuple(f"{name}/{shape}" for shape in each.unit_id))


def _trap_rows(name: str, scores: Any, found: "SemanticMaps") -> Iterable[dict[str, Any]]:
    from assay.tasks.srvr.traps import find_traps

    head = {"map": name, "mean": float(scores.mean())}
    traps = find_traps(scores, *found.axes)
    if not traps:
        return [head | {"trap at": "none"}]
    return [
        head
        | {
            "trap at": f"{trap.azimuth_deg:g}, {trap.elevation_deg:g}",
            "lowest": trap.lowest,
            "depth": trap.depth,
            "area_deg2": trap.area_deg2,
        }
        for trap in traps
    ]


def _write_dsm(path: Path, mean: Any, found: "SemanticMaps") -> None:
    from assay.tasks.srvr.figures import map_figure
    from assay.tasks.srvr.traps import find_traps

    title = f"Data semantic map, mean of {len(found.unit_id)} maps"
    with _writing(path):
        path.write_bytes(map_figure(mean, *found.axes, title, (), find_traps(mean, *found.axes)))
    print(f"picture: {path}")


def _write_traces(path: Path, grown: list[Any]) -> None:
    import numpy as np

    arrays = {
        "-".join(part for part in (each.source, each.method) if part): each.found.trace for each in grown
    }
    with _writing(path), path.open("wb") as stream:
        np.savez_compressed(stream, **arrays)


def _print_comparison(grown: list[Any]) -> None:
    from tabulate import tabulate

    from assay.tasks.srvr.regrow import comparison, pooled_agreement

    print(tabulate(comparison(grown), headers="keys", tablefmt="simple", floatfmt=".2f"))
    for method, median in pooled_agreement(grown).items():
        print(f"{method}: median IoU with the published regions over 100 deg², all networks: {median:.3f}")


def _point(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UserError(
            f"--initial {text!r}: expected azimuth and elevation in degrees such as 130,30"
        ) from None


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """A file that can't be written is the user's error."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); choose another path") from error
