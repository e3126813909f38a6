"""The verb that hands results on to other tools: `assay export`. A format is imported when it is asked for."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assay.common.errors import UserError

if TYPE_CHECKING:
    from assay.exports.formats import Wishes

app = typer.Typer()

_OPTIONS = {
    "hub": "--hub",
    "developer": "--developer",
    "evaluator": "--evaluator",
    "data_roots": "--data-root",
}


def _formats_beginning(incomplete: str) -> list[str]:
    from assay.exports.formats import FORMATS

    return [name for name in FORMATS if name.startswith(incomplete)]


@app.command(epilog="Example: assay export out/first --to hf --out out/cards")
def export(
    source: Annotated[
        str, typer.Argument(help="A run's folder; for croissant also a data set's name or manifest.")
    ],
    to: Annotated[
        str,
        typer.Option(
            "--to",
            help="hf, eee (Every Eval Ever), croissant, mlflow, tensorboard or latex.",
            autocompletion=_formats_beginning,
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", help="The folder (latex: the file) to write; nothing there is replaced.")
    ],
    model: Annotated[
        list[str] | None, typer.Option("--model", help="Only this model's results (repeat it).")
    ] = None,
    task: Annotated[list[str] | None, typer.Option("--task", help="Only this task's (repeat it).")] = None,
    hub: Annotated[
        list[str] | None,
        typer.Option("--hub", help="hf: DATA=ORG/NAME, the data set on the Hub whose leaderboard is meant."),
    ] = None,
    developer: Annotated[str | None, typer.Option("--developer", help="eee: who made the models.")] = None,
    evaluator: Annotated[str | None, typer.Option("--evaluator", help="eee: who ran Assay.")] = None,
    data_root: Annotated[
        list[Path] | None,
        typer.Option("--data-root", help="croissant: a folder to look for data in (repeat it)."),
    ] = None,
) -> None:
    """Write a run's results for other tools; what is in doubt is marked in each of them."""
    from assay.exports.figures import in_doubt, require_figures
    from assay.exports.formats import Wishes, format_named
    from assay.exports.places import new_place
    from assay.exports.reading import results_of

    wanted = format_named(to)
    wishes = Wishes(out, tuple(hub or ()), developer, evaluator, tuple(data_root or ()))
    _refuse_wishes_of_others(to, wanted.takes, wishes)
    if to == "croissant" and not Path(source).is_dir():
        said = _data_set(source, wishes, chosen=bool(model or task))
    else:
        results = results_of(Path(source), model or (), task or ())
        if to != "croissant":
            require_figures(results)
        with new_place(out) as place:
            said = wanted.write(results, place, wishes)
        said = [*said, *(in_doubt(results) if to != "croissant" else ())]
    for line in said:
        print(line, file=sys.stderr)
    print(f"{out}: {wanted.next_step.format(out=shlex.quote(str(out)))}")


def _data_set(name: str, wishes: "Wishes", chosen: bool) -> Sequence[str]:
    """Write the Croissant file of one data set."""
    from assay.data.manifest import load_manifest
    from assay.exports import croissant
    from assay.exports.places import new_place

    if chosen:
        raise UserError(f"{name}: is a data set, not a run; leave out --model and --task")
    manifest = load_manifest(name)
    with new_place(wishes.out) as place:
        croissant.write_manifest(manifest, wishes.data_roots, place)
    return ()


def _refuse_wishes_of_others(to: str, takes: Sequence[str], wishes: "Wishes") -> None:
    for name, option in _OPTIONS.items():
        if getattr(wishes, name) and name not in takes:
            raise UserError(f"{option}: --to {to} does not take it; leave it out")
