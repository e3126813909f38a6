"""The verb that asks how a track's measures go together: `assay study`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assay.common.errors import UserError

if TYPE_CHECKING:
    from assay.board.study.table import StudyTable
    from assay.results.document import ResultDocument

app = typer.Typer()


@app.command(epilog="Example: assay study digits out/many --out out/study")
def study(
    track: Annotated[str, typer.Argument(help="A track, as `assay list tracks` shows it.")],
    directories: Annotated[list[Path], typer.Argument(help="Folders of runs, or of submissions.")],
    out: Annotated[Path, typer.Option("--out", help="The folder for page, picture and tables.")] = Path(
        "out/study"
    ),
    alignments: Annotated[
        Path | None,
        typer.Option(
            "--alignments", help="A file with a line of `assay alignment --json` for each of the models."
        ),
    ] = None,
) -> None:
    """Ask whether models that do well at one measure of a track do well at the others."""
    from assay.board.study.findings import pairs_of
    from assay.board.study.picture import matrix_png
    from assay.board.study.report import models_csv, pairs_csv, study_page
    from assay.board.study.table import study_table
    from assay.common.atomic import write_atomically
    from assay.tasks.tracks import load_track

    asked = load_track(track)
    known = _alignments(alignments) if alignments else {}
    results = [result for directory in directories for result in _results(directory)]
    table = study_table(asked, results, known)
    _refuse_too_little(table, track)
    pairs = pairs_of(table)
    write_atomically(out / "study.csv", pairs_csv(pairs))
    write_atomically(out / "models.csv", models_csv(table))
    matrix = matrix_png(table.measures, pairs)
    write_atomically(out / "matrix.png", matrix)
    write_atomically(out / "index.html", study_page(asked.title, table, pairs, matrix))
    for why in table.left_out:
        print(f"left out: {why}")
    print("\n".join(pair.sentence for pair in sorted(pairs, key=lambda pair: not pair.shown)))
    print(
        f"\n{out / 'index.html'}: {len(table.models)} models, {len(table.measures)} measures; tables beside it"
    )


def _results(directory: Path) -> "list[ResultDocument]":
    """The results of a run as they follow from what is stored, or those that a submission states."""
    from assay.board.submissions.documents import METADATA
    from assay.results.document import read_results
    from assay.runner.assemble import stored_results

    return read_results(directory) if (directory / METADATA).is_file() else stored_results(directory)


def _refuse_too_little(table: "StudyTable", track: str) -> None:
    if len(table.models) < 2 or len(table.measures) < 2:
        models, measures = len(table.models), len(table.measures)
        why = f"; left out: {'; '.join(table.left_out)}" if table.left_out else ""
        raise UserError(
            f"study {track}: needs two models and two measures, found {models} and {measures}; run more of it by "
            f"`assay run --track {track} --model M`{why}"
        )


def _alignments(path: Path) -> dict[str, float]:
    """Mean alignment by the weights' hash."""
    try:
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--alignments {path}: cannot be read ({error})") from error
    found: dict[str, float] = {}
    questions: set[tuple[Any, Any]] = set()
    for number, line in enumerate(lines, 1):
        try:
            document = json.loads(line)
            weights, _, mean = (document[name] for name in ("weights_sha256", "data_sha256", "mean"))
            questions.add((document.get("data"), document.get("score")))
            found |= {} if mean is None else {str(weights): float(mean)}
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise UserError(
                f"--alignments {path}, line {number}: is no line of `assay alignment --json`; write the file by "
                "`assay alignment MODEL DATA --json >> FILE`"
            ) from error
    if len(questions) > 1:
        shown = ", ".join(sorted(f"{data} ({score})" for data, score in questions))
        raise UserError(
            f"--alignments {path}: its lines are of {shown}; alignments compare on one data set and score"
        )
    return found
