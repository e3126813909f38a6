"""The verb that measures clean accuracy, beside what model cards state."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assay.commands.options import DataRoots, Draws, FastThreads
from assay.common.errors import UserError
from assay.data.draw import Draw

if TYPE_CHECKING:
    from assay.data.dataset import Dataset, Sample
    from assay.models.loaded import LoadedModel

app = typer.Typer()

_BATCH = 20
IMPLAUSIBLE = 1


@app.command(epilog="Example: assay accuracy mine.yaml --data cifar10-test --limit 1000")
def accuracy(
    models: Annotated[list[str], typer.Argument(help="Models, such as cards.")],
    data: Annotated[
        list[str] | None,
        typer.Option(
            "--data", help="Data sets (repeat it): each model takes the first of its own label space."
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", min=1, help="Only N pictures of each, as many of each class."),
    ] = None,
    draw: Draws = Draw.BALANCED,
    data_root: DataRoots = None,
    threads: FastThreads = 1,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Measure clean accuracy on --data, or on the data that each model's card states, beside what the card states."""
    import torch

    from assay.models.zoo import load_model

    torch.set_num_threads(threads)
    rows = []
    for name in models:
        model = load_model(name)
        opened = _data_of(model, data or [], data_root or [])
        rows.append(_row(name, model, opened, _right(model, opened, opened.part(limit, draw))))
        if not as_json:
            print(_line(rows[-1]), flush=True)
    if as_json:
        print(json.dumps(rows, indent=1))
    if not all(row["plausible"] for row in rows):
        raise typer.Exit(IMPLAUSIBLE)


def _data_of(model: "LoadedModel", data: Sequence[str], roots: list[Path]) -> "Dataset":
    """The first data set that the model can be scored on; where none is named, the one that its card states.

    Raises:
        UserError: there is none, or it is not here.
    """
    from assay.tasks.shared.images import label_space_mismatch
    from assay.tasks.shared.own_pictures import open_pictures

    stated = model.info.clean_accuracy
    if not data and stated is None:
        raise UserError(f"{model.info.name}: its card states no data; name some with --data")
    reasons = []
    for name in data or [stated.data if stated else ""]:
        opened = open_pictures(name, model.info, roots)
        reason = label_space_mismatch(model.info, opened)
        if reason is None:
            return opened
        reasons.append(f"{name}: {reason}")
    raise UserError(
        f"{model.info.name}: cannot be scored on any of --data ({'; '.join(reasons)}); name another"
    )


def _right(model: "LoadedModel", data: "Dataset", samples: "Sequence[Sample]") -> list[bool]:
    """Whether each picture is answered as labelled."""
    import torch

    from assay.models.check import check_logits

    right: list[bool] = []
    for first in range(0, len(samples), _BATCH):
        batch = samples[first : first + _BATCH]
        with torch.no_grad():
            logits = model.module(torch.stack([model.prepare(data.image(sample)) for sample in batch]))
        check_logits(logits, model.info.num_classes)
        right += [
            answer == sample.label for answer, sample in zip(logits.argmax(1).tolist(), batch, strict=True)
        ]
    return right


def _row(name: str, model: "LoadedModel", data: "Dataset", right: list[bool]) -> dict[str, Any]:
    from assay.common.statistics import wilson_interval
    from assay.results.document import ModelCard
    from assay.runner.job_document import model_card
    from assay.tasks.shared.plausible import ExpectedAccuracy, plausible_accuracy

    low, high = wilson_interval(sum(right), len(right))
    card = ModelCard.model_validate(model_card(model.info))
    guard = plausible_accuracy(right, ExpectedAccuracy.of(card, data.manifest.name))
    stated = model.info.clean_accuracy
    return {
        "model": model.info.name,
        "asked": name,
        "data": data.manifest.name,
        "right": sum(right),
        "n": len(right),
        "accuracy": sum(right) / len(right),
        "ci_low": low,
        "ci_high": high,
        "stated": stated.model_dump() if stated else None,
        "plausible": guard.passed,
        "detail": guard.detail,
    }


def _line(row: dict[str, Any]) -> str:
    verdict = "plausible" if row["plausible"] else "NOT PLAUSIBLE"
    return f"{row['model']} on {row['data']}: {row['right']} right; {row['detail']}: {verdict}"
