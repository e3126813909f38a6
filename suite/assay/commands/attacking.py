"""The verb that attacks one picture: `assay attack`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assay.commands.one_picture import loaded_model, picture_pixels, require_class, setting
from assay.commands.options import DataRoots, Weights
from assay.common.errors import UserError

if TYPE_CHECKING:
    from fractions import Fraction

    from torch import Tensor

    from assay.attacks.images import AttackResult
    from assay.models.info import ModelInfo

app = typer.Typer()


@app.command(epilog="Example: assay attack dog.jpg --model efficientnet_lite0 --eps 1/255 --out dog.png")
def attack(
    image: Annotated[str, typer.Argument(help="A picture's file; with --data a sample's id.")],
    model: Annotated[str, typer.Option("--model", help="A model's name, as `assay list models` shows it.")],
    eps: Annotated[
        str, typer.Option("--eps", help="How far the attack may go, such as 4/255 of a pixel's range.")
    ],
    out: Annotated[
        Path, typer.Option("--out", help="The PNG to write; the JSON and the attacked image lie beside it.")
    ],
    method: Annotated[
        str, typer.Option("--method", help="fgsm, bim, pgd, mim, apgd, apgd_t, square, fab or fab_t.")
    ] = "pgd",
    label: Annotated[
        int | None,
        typer.Option("--label", help="The true class, by index; the network's answer when left out."),
    ] = None,
    target: Annotated[
        int | None,
        typer.Option("--target", help="The class to reach; any other than the true one when left out."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="A setting of the method, KEY=VALUE, such as steps=20 or norm=l2 (repeat it)."
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the random starts.")] = 0,
    data: Annotated[
        str | None, typer.Option("--data", help="The data set or folder whose sample IMAGE is (its id).")
    ] = None,
    weights: Weights = None,
    data_root: DataRoots = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:1.")] = "auto",
) -> None:
    """Attack one picture: its adversarial, the difference, and what the network says of both."""
    from assay.api.attacking import attack as run_attack
    from assay.attacks.picture import AttackWords, attack_png
    from assay.models.loaded import device_of
    from assay.runner.files import write_atomically
    from assay.tasks.shared.png import png_bytes, read_png

    radius = _radius(eps)
    if out.suffix.lower() != ".png":
        raise UserError(f"--out {out}: the picture is a PNG; give a name that ends in .png")
    chosen = dict(setting(text) for text in settings or [])
    loaded = loaded_model(model, weights, device)
    _check_classes(loaded.info, label, target)
    pixels = loaded.prepare(picture_pixels(image, data, data_root or [], loaded.info))
    where = device_of(loaded.module)
    before = _answer(loaded.module, pixels.to(where))
    true = int(before.argmax()) if label is None else label
    found = run_attack(
        loaded.module, pixels[None], [true], method, eps=float(radius), seed=seed, device=str(where),
        targets=None if target is None else [target], **chosen,
    )  # fmt: skip
    adversarial = found.images[0].cpu()
    saved = png_bytes(adversarial)
    after = _answer(loaded.module, adversarial.to(where))
    rounded = _answer(loaded.module, read_png(saved).to(where))
    said = {
        name: _said(loaded.info, chances)
        for name, chances in (("before", before), ("after", after), ("after_8bit", rounded))
    }
    about = {
        "model": loaded.info.name, "weights_sha256": loaded.info.weights_sha256, "image": image, "method": method,
        "eps": str(radius), "settings": chosen, "seed": seed, "label": true, "target": target,
        "success": bool(found.success[0]), **_cost(found), **_distances(adversarial - pixels),
        **said,
    }  # fmt: skip
    words = AttackWords(
        f"{loaded.info.name} on {Path(image).name}: {method}, eps {eps}",
        _words(said["before"]),
        _words(said["after"]),
    )
    write_atomically(out.with_suffix(".adversarial.png"), saved)
    write_atomically(out.with_suffix(".json"), json.dumps(about, indent=1) + "\n")
    write_atomically(out, attack_png(pixels, adversarial, words))
    verdict = "broken" if about["success"] else "stands: another attack may still break it"
    print(f"{words.before} -> {words.after}: {verdict}")
    print(
        f"{out}; beside it {out.with_suffix('.adversarial.png').name} (8 bit) and {out.with_suffix('.json').name}"
    )


def _radius(text: str) -> "Fraction":
    from assay.common.fields import parse_rational

    try:
        radius = parse_rational(text)
    except ValueError as error:
        raise UserError(f"--eps {text}: {error}") from error
    if radius <= 0:
        raise UserError(f"--eps {text}: a radius is above 0, such as 4/255")
    return radius


def _check_classes(info: "ModelInfo", label: int | None, target: int | None) -> None:
    require_class("--label", label, info)
    require_class("--target", target, info)
    if target is not None and target == label:
        raise UserError(f"--target {target}: is the true class; choose another one to reach")


def _answer(module: Any, image: "Tensor") -> "Tensor":
    """(K,) probabilities of one (C, H, W) image."""
    import torch

    with torch.no_grad():
        chances: Tensor = module(image[None]).softmax(1)[0].cpu()
    return chances


def _said(info: "ModelInfo", chances: "Tensor") -> dict[str, Any]:
    from assay.models.class_names import class_names

    best, names = int(chances.argmax()), class_names(info)
    name = names.first[best][-1] if names is not None and names.first[best] else None
    return {"class": best, "name": name, "probability": round(float(chances[best]), 6)}


def _words(said: dict[str, Any]) -> str:
    name = said["name"]
    called = f" ({name})" if name is not None and name != str(said["class"]) else ""
    return f"class {said['class']}{called}, {said['probability']:.0%}"


def _cost(found: "AttackResult") -> dict[str, int]:
    forward, backward = found.passes[0].tolist()
    return {"steps": int(found.steps_used[0]), "forward_passes": forward, "backward_passes": backward}


def _distances(change: "Tensor") -> dict[str, float]:
    return {"linf": float(change.abs().max()), "l2": float(change.norm()), "l1": float(change.abs().sum())}
