"""The family's own verbs of the command line. Nothing heavy is imported before one is used."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from assay.errors import UserError
from assay.tasks.base import Record

StoredJobs = Callable[[Path], Iterable[tuple[Mapping[str, Any], Sequence[Record]]]]
"""A run's folder to its jobs' documents and records."""


def register(app: typer.Typer, stored_jobs: StoredJobs) -> None:
    """Add ``verify-adversarial`` to the command line; ``stored_jobs`` reads a run's folder."""

    @app.command(name="verify-adversarial", epilog="Example: assay verify-adversarial out/first")
    def verify_adversarial(
        directory: Annotated[Path, typer.Argument(help="A run's folder, of `assay run --save-adversarial`.")],
        weights: Annotated[
            Path | None, typer.Option("--weights", help="The checkpoint that the run was given, if any.")
        ] = None,
    ) -> None:
        """Read the saved adversarial images and score them again, without any attack; exit code 1 if one differs."""
        jobs = [job for job in stored_jobs(directory) if job[0]["spec"]["family"] == "adversarial"]
        if not jobs:
            raise UserError(f"{directory}: holds no adversarial task; give the folder of a run that has one")
        if sum(_verify(document, records, weights) for document, records in jobs):
            raise typer.Exit(1)


def _verify(document: Mapping[str, Any], records: Sequence[Record], weights: Path | None) -> int:
    """Print one job's table; returns how many outcomes differ from what is stored."""
    from tabulate import tabulate

    from assay.models.zoo import load_model
    from assay.tasks.adversarial.verify import verify

    name = document["model"]["name"]
    verified = list(verify(document, records, load_model(name, weights=weights)))
    print(f"{name} · {document['task']}")
    rows = [
        [each.series, each.eps, each.images, f"{each.stored / each.images:.1%}",
         f"{each.found / each.images:.1%}", " ".join(each.differing[:3]) or "none"]
        for each in verified
    ]  # fmt: skip
    columns = ["attack", "eps", "images", "accuracy stored (8 bit)", "accuracy now", "images that differ"]
    print(tabulate(rows, headers=columns, tablefmt="simple"))
    return sum(len(each.differing) for each in verified)
