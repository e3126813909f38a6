"""The verbs of semantic robustness that need no run: look at a view, grow regions on maps."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assay.common.errors import UserError

if TYPE_CHECKING:
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
    with writing(out):
        Image.fromarray((image * 255).round().byte().numpy()).save(out, format="png")
    counts, covered = loaded.counts, 100 * float((image > 0).float().mean())
    print(
        f"{out}: {size} x {size} pixels, {covered:.1f} % of them covered; {counts.kept} of {counts.raw} faces drawn "
        f"({counts.duplicate} duplicate, {counts.degenerate} without area)"
    )


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
    with writing(out):
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


def _write_traces(path: Path, grown: list[Any]) -> None:
    import numpy as np

    arrays = {
        "-".join(part for part in (each.source, each.method) if part): each.found.trace for each in grown
    }
    with writing(path), path.open("wb") as stream:
        np.savez_compressed(stream, **arrays)


def _print_comparison(grown: list[Any]) -> None:
    from assay.common.tables import text_table
    from assay.tasks.srvr.regrow import comparison, pooled_agreement

    print(text_table(comparison(grown), headers="keys", floatfmt=".2f"))
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
def writing(path: Path) -> Iterator[None]:
    """Report a file that cannot be written as the user's error."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); choose another path") from error
