"""The verb that measures a device: `assay bench-device`."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from assay.commands.options import Quiet, devices

app = typer.Typer()

NOT_EQUAL = 1


@app.command(name="bench-device", epilog="Example: assay bench-device --device cuda --out out/device")
def bench_device(
    out: Annotated[Path, typer.Option("--out", help="A folder for device.json and device.html.")],
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:1.")] = "auto",
    quiet: Quiet = False,
) -> None:
    """Measure a device: does every family give the CPU's records there, and how many images per second?

    The exit code is 1 where the records are not equal within the tolerance. Without a GPU it is a small form.
    """
    from assay.board.device_page import device_page
    from assay.common.atomic import make_writable, write_atomically
    from assay.runner.bench.document import bench

    chosen = devices(device)[0]
    make_writable(out)
    document = bench(chosen, (lambda _line: None) if quiet else (lambda line: print(line, file=sys.stderr)))
    write_atomically(out / "device.json", json.dumps(document, indent=1) + "\n")
    write_atomically(out / "device.html", device_page(document))
    for case in document["equality"]:
        print(
            f"{case['task']} {' '.join(case['settings'])}: {case['within']} of {case['units']} units equal, "
            f"largest difference {case['largest']:.1e}"
        )
    for row in document["speed"]["measured"]:
        rate = row["images_per_second"]
        what = row["note"] if rate is None else f"{rate:.1f} images per second"
        print(f"{document['speed']['network']}, {row['program']}, {row['arithmetic']}: {what}")
    print(out / "device.html")
    if not document["passed"]:
        raise typer.Exit(NOT_EQUAL)
