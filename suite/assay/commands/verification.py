"""Verbs of the verification family: `assay verify` for one image, `assay train-small` for the small networks."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assay.common.errors import UserError
from assay.tasks.verification.spec import GRAMMAR_HELP

if TYPE_CHECKING:
    from torch import Tensor

    from assay.data.dataset import Dataset

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


@app.command(
    name="train-small", epilog="Example: assay train-small mnist_fnn_200 --out nets --data-root data"
)
def train_small(
    name: Annotated[str, typer.Argument(help="mnist_fnn_200, mnist_fnn_800 or mnist_cnn_2028.")],
    out: Annotated[
        Path, typer.Option("--out", help="Folder for NAME.safetensors (then set ASSAY_DATA to it).")
    ],
    data_root: Annotated[list[Path] | None, typer.Option("--data-root", help="A folder with MNIST.")] = None,
    epochs: Annotated[int, typer.Option("--epochs", min=1, help="Passes over the 60,000 images.")] = 3,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the weights and the order.")] = 0,
) -> None:
    """Train one of the small MNIST networks by the seeded recipe."""
    from safetensors.torch import save

    from assay.common.atomic import make_writable, write_atomically
    from assay.data.contents import content_hashes, write_hashes
    from assay.models import small_nets
    from assay.models.entries.small_nets import small_list

    if name not in small_nets.ARCHITECTURES or not name.startswith("mnist"):
        known = ", ".join(known for known in small_nets.ARCHITECTURES if known.startswith("mnist"))
        raise UserError(f"unknown small network {name!r}; choose one of {known}")
    parts = [_mnist(part, data_root or []) for part in ("train", "test")]
    images, held_out = map(_tensors, parts)
    make_writable(out)
    net = small_nets.train(small_nets.ARCHITECTURES[name](), *images, epochs=epochs, seed=seed)
    path = out / f"{name}.safetensors"
    write_hashes(
        small_list(path), content_hashes(parts[0], parts[0].samples)
    )  # before the weights: no weights without
    write_atomically(path, save(net.state_dict()))
    print(f"{path}: test accuracy {small_nets.accuracy(net, *held_out):.4f}, {epochs} epochs, seed {seed}")


def _mnist(part: str, roots: list[Path]) -> "Dataset":
    from assay.data.dataset import open_dataset
    from assay.data.manifest import load_manifest

    return open_dataset(load_manifest(f"mnist-{part}"), roots)


def _tensors(data: "Dataset") -> "tuple[Tensor, Tensor]":
    """(N, 1, 28, 28) float32 in [0, 1] and labels."""
    import torch

    pixels = torch.stack([torch.from_numpy(data.image(sample)) for sample in data.samples])
    return pixels.permute(0, 3, 1, 2).float() / 255, torch.tensor([sample.label for sample in data.samples])
