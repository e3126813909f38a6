"""The verbs that show what a network looks at: `assay saliency` for one image, `assay alignment` for a data set."""

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assay.commands.one_picture import loaded_model, picture_pixels, require_class, setting
from assay.commands.options import DataRoots, Weights
from assay.common.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from assay.models.loaded import LoadedModel
    from assay.saliency.picture import Caption, Floats

app = typer.Typer()

Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:1.")]
PassSize = Annotated[
    int, typer.Option("--batch-size", min=1, help="Images, or altered copies of one, in a pass.")
]
Model = Annotated[str, typer.Argument(help="A model's name, as `assay list models` shows it.")]


class ScoreName(StrEnum):
    """Whose gradient is aligned with the image."""

    LOGIT = "logit"
    MARGIN = "margin"


@app.command(epilog="Example: assay saliency efficientnet_lite0 dog.jpg --method grad_cam_pp --out dog.png")
def saliency(
    model: Model,
    image: Annotated[str, typer.Argument(help="A picture's file; with --data a sample's id.")],
    out: Annotated[Path, typer.Option("--out", help="The PNG to write; its name ends in .png.")],
    method: Annotated[
        list[str] | None,
        typer.Option("--method", help="Such as gradient, smoothgrad or grad_cam (repeat it for more)."),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Every method that can explain the network, in one picture.")
    ] = False,
    target: Annotated[
        int | None,
        typer.Option("--target", help="The class to explain, by index; the predicted one when left out."),
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting of the one method, KEY=VALUE, such as samples=100."),
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", help="The data set or folder whose sample IMAGE is (its id).")
    ] = None,
    weights: Weights = None,
    data_root: DataRoots = None,
    batch_size: PassSize = 16,
    device: Device = "auto",
) -> None:
    """Draw what a network looks at in one image."""
    from assay.runner.files import write_atomically
    from assay.saliency.settings import METHODS, settings_of

    if out.suffix.lower() != ".png":
        raise UserError(f"--out {out}: the picture is a PNG; give a name that ends in .png")
    asked = _methods(method or [], every, setting or [])
    for name, settings in asked.items():
        settings_of(name, settings)
    loaded = loaded_model(model, weights, device)
    prepared = loaded.prepare(picture_pixels(image, data, data_root or [], loaded.info))
    caption, label = _caption(loaded, prepared, target, Path(image).name)
    maps, left_out = _maps(loaded, prepared, label, asked, batch_size, every)
    from assay.saliency.picture import draw

    write_atomically(out, draw(prepared.permute(1, 2, 0).numpy(), maps, caption))
    for sentence in left_out:
        print(f"left out: {sentence}")
    titles = ", ".join(METHODS[name].title for name in maps)
    print(f"{out}: {titles} of {model} for {caption.explained}")


@app.command(epilog="Example: assay alignment digits_fnn digits --limit 100")
def alignment(
    model: Model,
    data: Annotated[
        str,
        typer.Argument(
            help="A data set's name, a manifest of your own (.yaml), or a folder with one folder per class."
        ),
    ],
    score: Annotated[
        ScoreName,
        typer.Option(
            "--score", help="Whose gradient: the predicted class's logit, or its margin to the next."
        ),
    ] = ScoreName.LOGIT,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Only N images, as many of each class.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    weights: Weights = None,
    data_root: DataRoots = None,
    batch_size: PassSize = 16,
    device: Device = "auto",
) -> None:
    """Measure how well a network's gradient aligns with its images (Etmann et al. 2019)."""
    from dataclasses import asdict

    from assay.saliency.alignment import alignment_of_many, summarise
    from assay.tasks.shared.own_pictures import open_pictures

    loaded = loaded_model(model, weights, device)
    opened = open_pictures(data, loaded.info, data_root or [])
    images = (loaded.prepare(opened.image(sample)) for sample in opened.part(limit))
    values = alignment_of_many(loaded.module, images, score=score.value, batch_size=batch_size)
    found = summarise(values)
    if as_json:
        about = {"model": model, "weights_sha256": loaded.info.weights_sha256, "score": score.value}
        figures = {key: None if value != value else value for key, value in asdict(found).items()}
        print(json.dumps(about | {"data": opened.manifest.name, "data_sha256": opened.sha256} | figures))
        return
    print(
        f"alignment of {model} on {opened.manifest.name} ({score.value}): mean {found.mean:.4f}, "
        f"95 % interval [{found.low:.4f}, {found.high:.4f}], median {found.median:.4f}, {found.n} images"
        + (f", {found.undefined} without (zero gradient)" if found.undefined else "")
    )


def _methods(names: list[str], every: bool, given: list[str]) -> dict[str, dict[str, Any]]:
    """Each method asked for with its settings."""
    from assay.saliency.settings import METHODS

    if every == bool(names):
        raise UserError(f"--method: name one of {', '.join(METHODS)}, or give --all instead")
    if given and len(names) != 1:
        raise UserError("--set: belongs to exactly one method; name it with one --method")
    chosen = list(METHODS) if every else names
    return {name: dict(setting(text) for text in given) for name in chosen}


def _caption(
    model: "LoadedModel", image: "Tensor", target: int | None, name: str
) -> "tuple[Caption, Tensor]":
    """The picture's caption, and the class that is explained, (1,) int64 on the network's device."""
    import torch

    from assay.models.loaded import device_of
    from assay.saliency.picture import Caption

    require_class("--target", target, model.info)
    device = device_of(model.module)
    with torch.no_grad():
        chances = model.module(image[None].to(device)).softmax(1)[0]
    predicted = int(chances.argmax())
    label = predicted if target is None else target
    told = "predicted" if label == predicted else f"predicted is {predicted}"
    explained = f"class {label} ({told}, probability {float(chances[label]):.2f})"
    return Caption(model.info.name, name, explained), torch.tensor([label], device=device)


def _maps(
    model: "LoadedModel",
    image: "Tensor",
    label: "Tensor",
    asked: dict[str, dict[str, Any]],
    batch_size: int,
    every: bool,
) -> "tuple[dict[str, Floats], list[str]]":
    """The maps, and why a method has none where all were asked for."""
    from assay.saliency import maps as saliency_maps

    found: dict[str, Floats] = {}
    left_out = []
    for name, settings in asked.items():
        try:
            batch = image[None].to(label.device)
            saliency = saliency_maps(model.module, batch, label, name, batch_size=batch_size, **settings)
        except UserError as error:
            if not every:
                raise
            left_out.append(f"{name}: {error}")
            continue
        found[name] = saliency[0].cpu().numpy()
    return found, left_out
