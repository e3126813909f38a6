"""`assay verify-adversarial`: saved adversarial images, scored again. Nothing heavy is imported before it is used."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from assay.common.errors import UserError

if TYPE_CHECKING:
    from assay.runner.assemble import StoredJob
    from assay.tasks.adversarial.spec import AdversarialSpec

app = typer.Typer()


@app.command(name="verify-adversarial", epilog="Example: assay verify-adversarial out/first")
def verify_adversarial(
    directory: Annotated[Path, typer.Argument(help="A run's folder, of `assay run --save-adversarial`.")],
    model: Annotated[
        str | None,
        typer.Option(
            "--model", help="The network that answers; needed where the run's is not of the built-in zoo."
        ),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option("--weights", help="The checkpoint that the run was given, if any.")
    ] = None,
) -> None:
    """Read the saved adversarial images and score them again, without any attack; exit code 1 if one differs."""
    from assay.runner.assemble import stored_jobs
    from assay.runner.store import RunFolder

    stored = stored_jobs(RunFolder.existing(directory))
    jobs = [job for job in stored if job.document["spec"]["family"] == "adversarial"]
    if not jobs:
        raise UserError(f"{directory}: holds no adversarial task; give the folder of a run that has one")
    if sum(_verify(directory, job, (model, weights)) for job in jobs):
        raise typer.Exit(1)


def _verify(directory: Path, job: "StoredJob", typed: tuple[str | None, Path | None]) -> int:
    """Print one job's table; returns how many outcomes differ from the stored ones.

    ``typed`` are the network's name and checkpoint as the user gave them: anybody may have made the run.
    """
    from assay.common.tables import text_table
    from assay.models.foreign import NamePolicy, load_named
    from assay.tasks.adversarial.saved import verify

    model, weights = typed
    document, spec = job.document, cast("AdversarialSpec", job.spec)
    name = document["model"]["name"]
    trust = NamePolicy(named=frozenset([model] if model else []))
    network = load_named(model or name, str(directory), trust, weights=weights)
    with job.understood():
        verified = list(verify(document, spec, job.records(), network))
    print(f"{name} · {document['task']}")
    rows = [
        [each.series, each.eps, each.images, f"{each.stored / each.images:.1%}",
         f"{each.found / each.images:.1%}", " ".join(each.differing[:3]) or "none"]
        for each in verified
    ]  # fmt: skip
    columns = ["attack", "eps", "images", "accuracy stored (8 bit)", "accuracy now", "images that differ"]
    print(text_table(rows, headers=columns))
    return sum(len(each.differing) for each in verified)
