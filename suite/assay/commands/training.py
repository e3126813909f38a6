"""The verb that trains: `assay train`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assay.commands.options import DataRoots, Quiet, devices

if TYPE_CHECKING:
    from assay.training.trainer import EpochReport


def train(
    recipe: Annotated[str, typer.Argument(help="A shipped recipe's id, or a file of your own (.yaml).")],
    out: Annotated[
        Path,
        typer.Option("--out", help="A folder for the network; a training that is there already goes on."),
    ],
    data_root: DataRoots = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:1.")] = "auto",
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Instead of the recipe's own.")] = None,
    teacher: Annotated[
        str | None,
        typer.Option("--teacher", help="The network whose saliency is followed, such as trained:DIR."),
    ] = None,
    epochs_limit: Annotated[
        int | None,
        typer.Option("--epochs-limit", min=1, help="Stop after so many epochs; run again to go on."),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option("--threads", min=1, help="CPU threads; changes last bits. All cores when left out."),
    ] = None,
    checkpoint_seconds: Annotated[
        float, typer.Option("--checkpoint-seconds", min=0, help="At least so long between two checkpoints.")
    ] = 60.0,
    quiet: Quiet = False,
) -> None:
    """Train a network by a recipe; then use it as --model trained:DIR."""
    import torch

    from assay.training import Options, load_recipe, train_part
    from assay.training import train as train_whole

    if threads is not None:
        torch.set_num_threads(threads)
    chosen = load_recipe(recipe)
    chosen = chosen if seed is None else chosen.with_seed(seed)
    chosen = chosen if teacher is None else chosen.with_teacher(teacher)
    options = Options(
        data_roots=tuple(data_root or ()),
        relative_to=Path(recipe).parent if Path(recipe).is_file() else None,
        device=devices(device)[0],
        checkpoint_seconds=checkpoint_seconds,
        report=_silent if quiet else _report,
        say=lambda sentence: print(sentence, file=sys.stderr),
    )
    if epochs_limit is not None and epochs_limit < chosen.epochs:
        train_part(chosen, out, epochs_limit, options)
        print(
            f"{out}: {epochs_limit} of {chosen.epochs} epochs; the same command without --epochs-limit goes on"
        )
        return
    trained = train_whole(chosen, out, options)
    card = trained.card
    print(f"{trained.folder}: clean accuracy {card.accuracy:.2%}, weights {card.weights_sha256[:12]}")
    print(f"use it: assay run --model {trained.model} --task TASK --out DIR")


def _report(report: "EpochReport") -> None:
    """``epoch 3/10: loss 0.123, accuracy 97.2 %, 5400 images/s, 4 s, 28 s to go``."""
    from assay.runner.progress import duration

    losses = ", ".join(f"{name} {value:.4g}" for name, value in report.losses.items())
    line = (
        f"epoch {report.epoch}/{report.epochs}: {losses}, accuracy {100 * report.accuracy:.1f} %, "
        f"{report.images_per_second:.0f} images/s, {duration(report.seconds)}, {duration(report.seconds_to_go)} to go"
    )
    print(line, file=sys.stderr, flush=True)


def _silent(report: "EpochReport") -> None:
    """Say nothing."""
