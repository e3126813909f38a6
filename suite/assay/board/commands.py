"""The leaderboard's verbs; nothing heavy is imported before a verb needs it."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


class Better(StrEnum):
    """The direction of a ranking metric."""

    HIGHER = "higher"
    LOWER = "lower"


BoardFolder = Annotated[Path, typer.Option("--board", help="The leaderboard's folder.")]
DataRoots = Annotated[
    list[Path] | None, typer.Option("--data-root", help="A folder to look for data in (repeat it for more).")
]
Submission = Annotated[Path, typer.Argument(help="A submission's folder.")]
BOARD = Path("leaderboard")


@app.command(epilog="Example: assay submit out/first --metadata about.yaml")
def submit(
    directory: Annotated[Path, typer.Argument(help="A run's folder.")],
    metadata: Annotated[
        Path, typer.Option("--metadata", help="YAML with paper, code, licence, contact (and name, note).")
    ],
    model: Annotated[str | None, typer.Option("--model", help="Only this model of the run.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="The model's name on the leaderboard.")] = None,
    board: BoardFolder = BOARD,
) -> None:
    """Build a submission for each model of a run, ready for a pull request, and run every check on it."""
    from assay.board.submissions.build import SubmitRequest, build_submissions
    from assay.board.submissions.register import read_register

    request = SubmitRequest(directory, metadata, model, name)
    folders = build_submissions(request, board, read_register(board))
    _check(folders, board)


@app.command(
    name="check-submission", epilog="Example: assay check-submission leaderboard/submissions/resnet50"
)
def check_submission(
    paths: Annotated[list[Path], typer.Argument(help="Folders of submissions.")], board: BoardFolder = BOARD
) -> None:
    """Run every check that the maintainers run; no code of a submission is run, and nothing is written."""
    _check(paths, board)


def _check(folders: list[Path], board: Path) -> None:
    from assay.board.submissions import check
    from assay.board.submissions.register import read_register

    against = check.Board(read_register(board), check.other_names(board / "submissions"))
    wrong = 0
    for folder in folders:
        problems = check.check_submission(folder, against)
        for problem in problems:
            print(f"assay: {folder.name}: {problem}", file=sys.stderr)
        print(f"{folder}: {f'{len(problems)} problems' if problems else 'every check passed'}")
        wrong += bool(problems)
    if wrong:
        raise typer.Exit(2)


@app.command(epilog="Example: assay admit adversarial/imagenet20 --rank-by worst:robust_accuracy@1/255")
def admit(
    task: Annotated[str, typer.Argument(help="A shipped task's id.")],
    rank_by: Annotated[
        str, typer.Option("--rank-by", help="The metric that the overview shows and ranks by.")
    ],
    better: Annotated[Better, typer.Option("--better", help="Which way is better.")] = Better.HIGHER,
    data_root: DataRoots = None,
    board: BoardFolder = BOARD,
) -> None:
    """Admit a task to the leaderboard: count its units and hash its data here, so that others can be checked by it."""
    from assay.board.submissions import register

    register.admit(board, task, rank_by, better.value, tuple(data_root or ()))
    print(f"{board / register.REGISTER}: holds {task}")
