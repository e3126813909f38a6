"""The verb that finds out how a network wants its pictures."""

import json
import random
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assay.commands.options import DataRoots, FastThreads, Weights
from assay.common.errors import UserError

if TYPE_CHECKING:
    from assay.data.dataset import Dataset
    from assay.models.diagnosis import Candidate, Diagnosis, TrialPictures
    from assay.models.subject import Subject

app = typer.Typer()

_SHOWN = 12  # rows of the table
NOTHING_FITS = 1
_WITH_BACKGROUND = 1001  # logits of ImageNet networks with a background class


@app.command(epilog="Example: assay doctor onnx:net.onnx --data cifar10-test --write net.yaml")
def doctor(
    model: Annotated[str, typer.Argument(help="A model's name, such as onnx:FILE or a card.")],
    data: Annotated[
        str,
        typer.Option(
            "--data", help="A labelled data set's name or manifest, or a folder with one folder per class."
        ),
    ],
    images: Annotated[int, typer.Option("--images", min=1, help="How many pictures are looked at.")] = 100,
    write: Annotated[
        Path | None, typer.Option("--write", help="Write the model card of what fits (a new file).")
    ] = None,
    weights: Weights = None,
    data_root: DataRoots = None,
    threads: FastThreads = 1,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Find how a network wants its pictures: try the plausible conventions on labelled pictures and compare them."""
    import torch

    from assay.models.diagnosis import diagnose
    from assay.models.subject import open_subject

    if write is not None and write.exists():
        raise UserError(f"--write {write}: exists; name a new file, or remove it")
    torch.set_num_threads(threads)
    subject = open_subject(model, weights)
    opened = _open(data, model, weights, data_root or [])
    found = diagnose(
        subject.networks.__getitem__,
        subject.shape,
        list(subject.networks),
        _pictures(opened, images),
        subject.own,
    )
    if isinstance(found, int):
        raise UserError(
            f"{model}: returns {found} logits where the data set {opened.manifest.name} has "
            f"{opened.manifest.num_classes} classes; choose the data set that it was trained for"
        )
    card = _card(subject, found, opened, write)
    if write is not None:
        _write(write, card, found, opened)
    if as_json:
        print(json.dumps(_document(model, opened, found, card), indent=1))
    else:
        print(_table(found))
        print("\n" + "\n".join(_verdict(found, opened)))
        if write is not None:
            print(f"card: {write}")
    if not found.fits:
        raise typer.Exit(NOTHING_FITS)


def _open(data: str, model: str, weights: Path | None, roots: list[Path]) -> "Dataset":
    from assay.data.dataset import open_dataset
    from assay.data.manifest import load_manifest
    from assay.models.zoo import load_model
    from assay.tasks.shared.own_pictures import is_folder, open_pictures

    if not is_folder(data):
        return open_dataset(load_manifest(data), roots)
    info = load_model(model, weights=weights).info
    if info.num_classes == _WITH_BACKGROUND:
        info = info.model_copy(update={"num_classes": _WITH_BACKGROUND - 1})
    return open_pictures(data, info, roots)


def _pictures(data: "Dataset", count: int) -> "TrialPictures":
    """Pictures from all parts of the data set, shuffled: sets are often sorted by class."""
    from assay.models.diagnosis import TrialPictures

    places = list(range(len(data.samples)))
    random.Random(0).shuffle(places)
    chosen = [data.samples[place] for place in places[:count]]
    return TrialPictures(
        [data.image(sample) for sample in chosen],
        [sample.label for sample in chosen],
        data.manifest.num_classes,
    )


def _table(found: "Diagnosis") -> str:
    from assay.common.tables import text_table

    best = found.best
    rows = [
        [
            candidate.convention.name,
            f"{100 * candidate.accuracy:.1f} %",
            candidate.n,
            "fits" if candidate is best else "cannot be told apart" if place <= found.equals else "no",
            "" if candidate is best else f"{candidate.p_value(best):.2g}",
        ]
        for place, candidate in enumerate(found.candidates[: max(_SHOWN, found.equals + 2)])
    ]
    return text_table(rows, headers=["convention", "accuracy", "N", "verdict", "McNemar's p"])


def _verdict(found: "Diagnosis", data: "Dataset") -> list[str]:
    best = found.best
    share = f"{100 * best.accuracy:.1f} % of {best.n} pictures of {data.manifest.name}"
    if not found.fits:
        return [
            f"no convention fits: the best, {best.convention.name}, answers {share} as labelled, no more than chance"
        ]
    said = [f"fits: {best.convention.name} ({share})"]
    if found.equals:
        others = [each.convention.name for each in found.candidates[1 : found.equals + 1]]
        said.append(
            f"cannot be told apart from it by these pictures (the plainest is taken): {'; '.join(others)}"
        )
    if best.convention.label_shift:
        said.append("the data's labels seem to be shifted by one; no card can say that: correct the labels")
    return said


def _document(model: str, data: "Dataset", found: "Diagnosis", card: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "model": model,
        "data": data.manifest.name,
        "classes": found.classes,
        "logits": found.logits,
        "fits": found.fits,
        "cannot_be_told_apart": found.equals,
        "candidates": [_row(candidate, found) for candidate in found.candidates],
        "card": card,
    }


def _row(candidate: "Candidate", found: "Diagnosis") -> dict[str, Any]:
    from assay.models.conventions import as_said

    return {
        "convention": candidate.convention.name,
        "input": as_said(candidate.convention.input),
        "output": candidate.convention.output(),
        "accuracy": candidate.accuracy,
        "n": candidate.n,
        "log_likelihood": candidate.log_likelihood,
        "p_value": candidate.p_value(found.best),
    }


def _card(
    subject: "Subject", found: "Diagnosis", data: "Dataset", write: Path | None
) -> dict[str, Any] | None:
    """The card of what fits, with files relative to the card; None where none was asked for.

    Raises:
        UserError: a card was asked for, and cannot be written.
    """
    from assay.models.conventions import as_said

    best = found.best.convention
    fault = None
    if not found.fits:
        fault = "no convention fits, so there is no card to write; try --images, or other data"
    elif best.label_shift:
        fault = "the data's labels seem to be shifted by one, which no card can say; correct them"
    elif subject.card is None:
        fault = "no card can name this model; its own entry of the zoo has its preprocessing"
    if fault or subject.card is None:
        if write is not None:
            raise UserError(f"--write {write}: {fault}")
        return None
    said = subject.card.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
    said["network"] = _from(write, subject, said["network"], ("onnx", "program"))
    if "weights" in said:
        said["weights"] = _from(write, subject, said["weights"], ("file",))
    classes = said.get("label_space", data.manifest.label_space)
    output = said.get("output", {}) | best.output()
    rest = {key: said[key] for key in ("clean_accuracy", "source", "licence", "paper") if key in said}
    head = {"schema": 1, "name": said["name"], "network": said["network"]}
    head |= {"weights": said["weights"]} if "weights" in said else {}
    head |= {"num_classes": found.classes, "label_space": classes, "input": as_said(best.input)}
    return head | ({"output": output} if output else {}) | rest


def _from(
    write: Path | None, subject: "Subject", part: dict[str, Any], files: tuple[str, ...]
) -> dict[str, Any]:
    """A part of the card, with its file named relative to the new card's folder."""
    import os

    named = next((key for key in files if key in part), None)
    if write is None or named is None:
        return part
    file = subject.place.parent / part[named]
    moved = os.path.relpath(file, write.parent) if file.exists() else part[named]
    return part | {named: Path(moved).as_posix()}


def _write(path: Path, card: dict[str, Any] | None, found: "Diagnosis", data: "Dataset") -> None:
    import yaml

    from assay.common.atomic import write_atomically

    best = found.best
    told = f"# {best.convention.name}: {100 * best.accuracy:.1f} % of {best.n} pictures of {data.manifest.name}\n"
    text = yaml.safe_dump(card, sort_keys=False, allow_unicode=True, width=100, default_flow_style=None)
    write_atomically(path, f"# found by assay doctor\n{told}{text}")
