"""The verb of the verification family: `assay verify` for one image."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from assay.tasks.verification.spec import GRAMMAR_HELP

app = typer.Typer()

Perturbations = Annotated[list[str], typer.Option("--perturbation", help=GRAMMAR_HELP)]


@app.command(
    epilog="Example: assay verify --model digits_fnn --image digit.png --perturbation brightness:0:0.3 "
    "--perturbation patch:0:0.5:3:3:2x2 --delta 3 --json"
)
def verify(
    model: Annotated[str, typer.Option("--model", help="A model's name, or onnx:FILE.")],
    image: Annotated[Path, typer.Option("--image", help="A picture; it is prepared as the model asks.")],
    perturbation: Perturbations,
    delta: Annotated[float, typer.Option("--delta", help="Threshold of the attention inconsistency.")] = 3.0,
    labels: Annotated[
        str | None,
        typer.Option(
            "--labels",
            help="predicted, top5 or all: whose maps count; where left out all for exact, else predicted.",
        ),
    ] = None,
    timeout_s: Annotated[
        float, typer.Option("--timeout", help="Seconds; then what is proved so far.")
    ] = 600.0,
    yes_or_no: Annotated[
        bool, typer.Option("--yes-or-no", help="Stop at the first confirmed violation of AR at delta.")
    ] = False,
    verifier: Annotated[
        str,
        typer.Option(
            "--verifier",
            help="exact proves; search looks for the worst in any network; auto: exact where it can.",
        ),
    ] = "exact",
    saliency: Annotated[
        str, typer.Option("--saliency", help="gradient; for the search also smoothgrad or grad_cam.")
    ] = "gradient",
    grid: Annotated[
        int | None, typer.Option("--grid", help="Points along each parameter that the search starts with.")
    ] = None,
    device: Annotated[str, typer.Option("--device", help="cpu, cuda or cuda:1.")] = "cpu",
    weights: Annotated[Path | None, typer.Option("--weights", help="A checkpoint of your own.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="A folder for the pictures.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """For which changes of one image are label and attention kept? Proved, or with the search only looked for."""
    from assay.commands.verifying import OneImage, exactly, searched
    from assay.models.zoo import load_model
    from assay.tasks.verification.choose import within_budget
    from assay.tasks.verification.evaluate import check_perturbations, check_pictures, spec_of_one

    spec = spec_of_one(
        perturbation, delta, labels, timeout_s, verifier=verifier, saliency=saliency, grid=grid
    )
    check_perturbations(spec)
    loaded = load_model(model, weights=weights)
    check_pictures(spec, loaded.info.input_shape)
    asked = OneImage(spec, loaded, image, loaded.read(image), device, yes_or_no)
    exact = verifier == "exact" or (
        verifier == "auto" and within_budget(loaded, asked.pixels, spec.combinations)
    )
    answer = (exactly if exact else searched)(asked)
    print(json.dumps(answer.document, indent=1) if as_json else answer.text)
    if out is not None:  # after the answer, which pictures that cannot be written must not cost
        from assay.common.atomic import write_atomically

        for name, content in answer.pictures().items():
            write_atomically(out / name, content)
        print(f"pictures: {out}", file=sys.stderr)
