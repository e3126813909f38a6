"""The verb that trains: `assay train`."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assay.commands.options import DataRoots, Quiet, Trusted, devices

if TYPE_CHECKING:
    from assay.training.reports import EpochReport, StepReport

app = typer.Typer()


@app.command(epilog="Example: assay train smoke/regular --out out/regular")
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
    trust: Trusted = None,
    epochs_limit: Annotated[
        int | None,
        typer.Option("--epochs-limit", min=1, help="Stop after so many epochs; run again to go on."),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option("--threads", min=1, help="CPU threads; changes last bits. All cores when left out."),
    ] = None,
    checkpoint_seconds: Annotated[
        float,
        typer.Option(
            "--checkpoint-seconds", min=0, help="A checkpoint after so long, and after every longer epoch."
        ),
    ] = 60.0,
    quiet: Quiet = False,
) -> None:
    """Train a network by a recipe; then use it as --model trained:DIR."""
    import torch

    from assay.models.foreign import own as trust_of
    from assay.training.recipe_files import load_recipe, recipe_file
    from assay.training.reports import silent
    from assay.training.train import Options, train_part
    from assay.training.train import train as train_whole

    if threads is not None:
        torch.set_num_threads(threads)
    chosen = load_recipe(recipe)
    chosen = chosen if seed is None else chosen.with_seed(seed)
    chosen = chosen if teacher is None else chosen.with_teacher(teacher)
    own = recipe_file(recipe)
    options = Options(
        data_roots=tuple(data_root or ()),
        relative_to=own.parent if own else None,
        trust=trust_of([*(trust or ()), *([teacher] if teacher else ())]),
        device=devices(device)[0],
        checkpoint_seconds=checkpoint_seconds,
        report=silent if quiet else _report,
        progress=silent if quiet else _progress,
        say=lambda sentence: print(sentence, file=sys.stderr),
    )
    if epochs_limit is not None and epochs_limit < chosen.epochs:
        with saying_how_to_go_on(out):
            train_part(chosen, out, epochs_limit, options)
        print(
            f"{out}: {epochs_limit} of {chosen.epochs} epochs; the same command without --epochs-limit goes on"
        )
        return
    with saying_how_to_go_on(out):
        trained = train_whole(chosen, out, options)
    card = trained.card
    print(f"{trained.folder}: clean accuracy {card.accuracy:.2%}, weights {card.weights_sha256[:12]}")
    print(f"use it: assay run --model {trained.model} --task TASK --out DIR")


@contextmanager
def saying_how_to_go_on(out: Path) -> Iterator[None]:
    """On Ctrl-C, say what is kept."""
    from assay.runner.run import InterruptedRunError
    from assay.training.checkpoints import stored
    from assay.training.folder import CHECKPOINT_FOLDER

    try:
        yield
    except KeyboardInterrupt:
        if stored(out / CHECKPOINT_FOLDER):
            kept = f"stopped: the last checkpoint is kept in {out}; the same command goes on from there"
        else:
            kept = f"stopped before the first checkpoint in {out}; the same command begins again"
        raise InterruptedRunError(kept) from None


def _report(report: "EpochReport") -> None:
    """``epoch 3/10: loss 0.123, accuracy 97.2 %, 5400 images/s, 4 s, 28 s to go``."""
    from assay.runner.progress import duration

    losses = ", ".join(f"{name} {value:.4g}" for name, value in report.losses.items())
    line = (
        f"epoch {report.epoch}/{report.epochs}: {losses}, accuracy {100 * report.accuracy:.1f} %, "
        f"{report.images_per_second:.0f} images/s, {duration(report.seconds)}, {duration(report.seconds_to_go)} to go"
    )
    print(line, file=sys.stderr, flush=True)


def _progress(report: "StepReport") -> None:
    print(report.sentence, file=sys.stderr, flush=True)
