"""The leaderboard's verbs; nothing heavy is imported before a verb needs it."""

import difflib
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assay.board.submissions.problems import Problem, printable
from assay.commands.options import BOARD
from assay.common.errors import UserError
from assay.common.shown import on_one_line

if TYPE_CHECKING:
    from assay.board.submissions.challenges import Sent

app = typer.Typer()


BoardFolder = Annotated[Path, typer.Option("--board", help="The leaderboard's folder.")]
DataRoots = Annotated[
    list[Path] | None, typer.Option("--data-root", help="A folder to look for data in (repeat it for more).")
]
Submission = Annotated[Path, typer.Argument(help="A submission's folder.")]


@app.command(epilog="Example: assay submit out/first --metadata about.yaml")
def submit(
    directory: Annotated[Path, typer.Argument(help="A run's folder.")],
    metadata: Annotated[
        Path,
        typer.Option("--metadata", help="YAML with paper, code, licence, contact (and weights, name, note)."),
    ],
    model: Annotated[str | None, typer.Option("--model", help="Only this model of the run.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="The model's name on the leaderboard.")] = None,
    board: BoardFolder = BOARD,
) -> None:
    """Build a submission for each model of a run, run every check on it, and put those that pass into the board."""
    from assay.board.submissions.build import SubmitRequest
    from assay.board.submissions.build import submit as build

    done = build(SubmitRequest(directory, metadata, model, name), board)
    passed = [each.folder for each in done if _passed(str(each.folder), each.problems)]
    for task, why in sorted({item for each in done for item in each.left_out.items()}):
        print(f"{task} is left out: {why}")
    for folder in passed:
        print(f"\n{_preview(folder, board)}")
    if passed:
        print(f"\n{_next_steps(passed, metadata)}")
    if len(passed) < len(done):
        print("assay: what has a problem was not written", file=sys.stderr)
        raise typer.Exit(2)


def _preview(folder: Path, board: Path) -> str:
    """A submission's row as the board will show it."""
    from assay.board.background import background_of
    from assay.results.card import card
    from assay.results.document import read_results

    results = read_results(folder)
    return card(results, background_of(results, board), [f"the row of {folder.name}, as submitted"])


def _next_steps(folders: Sequence[Path], metadata: Path) -> str:
    """What is left to do, as commands."""
    from shlex import quote

    names = " ".join(quote(str(folder)) for folder in folders)
    steps = [
        "next, in the checkout of Assay:",
        f"  git switch -c submit-{quote(folders[0].name)}",
        f"  git add {names}",
        f"  git commit -m 'Submit {', '.join(printable(folder.name) for folder in folders)}'",
        "  git push, then open a pull request with these folders and nothing else (leaderboard/README.md)",
    ]
    if "\nweights:" not in f"\n{metadata.read_text(encoding='utf-8')}":
        steps.append(
            f"{metadata}: may say where the weights are, `weights: https://…` or `weights: not public`"
        )
    return "\n".join(steps)


@app.command(
    name="check-submission", epilog="Example: assay check-submission leaderboard/submissions/resnet50"
)
def check_submission(
    paths: Annotated[list[Path], typer.Argument(help="Folders of submissions.")], board: BoardFolder = BOARD
) -> None:
    """Run every check that the maintainers run; no code of a submission is run, and nothing is written."""
    _check(paths, board)


@app.command(
    name="check-pull-request",
    epilog="Example: assay check-pull-request proposed --base origin/main --author https://example.org/me",
)
def check_pull_request(
    checkout: Annotated[Path, typer.Argument(help="A checkout of what is proposed, with its history.")],
    base: Annotated[str, typer.Option("--base", help="The commit that it will be merged into.")],
    author: Annotated[
        str | None,
        typer.Option(
            "--author",
            help="Who proposes it, as in `contact` of their submissions; left out for a maintainer.",
        ),
    ] = None,
    board: BoardFolder = BOARD,
) -> None:
    """Check whose submissions a change adds, alters or removes, and run every check on those that it leaves."""
    from assay.board.submissions.proposal import Proposal, check_proposal

    elsewhere, findings = check_proposal(Proposal(checkout, base, author), board)
    for problem in elsewhere:
        print(f"assay: {problem}", file=sys.stderr)
    wrong = [finding for finding in findings if not _passed(finding.name, finding.problems)]
    if not findings and not elsewhere:
        print(f"{checkout}: changes no submission")
    if wrong or elsewhere:
        raise typer.Exit(2)


def _check(folders: list[Path], board: Path) -> None:
    from assay.board.submissions.check import check_submission as problems_of

    for folder in folders:
        _require_there(folder, board)
    against = _against(board)
    passed = [_passed(str(folder), problems_of(folder, against)) for folder in folders]
    if not all(passed):
        raise typer.Exit(2)


def _require_there(folder: Path, board: Path) -> None:
    """Refuse what is no folder, and say which submissions have similar names.

    Raises:
        UserError: there is no such folder.
    """
    if folder.is_dir():
        return
    there = [each.name for each in (board / "submissions").glob("*")]
    near = difflib.get_close_matches(folder.name, there, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else "give the folder that `assay submit` wrote"
    raise UserError(f"{folder}: there is no such folder; {hint}")


def _passed(name: str, problems: Sequence[Problem]) -> bool:
    """Print what was found of a submission; whether nothing was."""
    for problem in problems:
        print(f"assay: {printable(Path(name).name)}: {problem}", file=sys.stderr)
    count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
    print(f"{printable(name)}: {count if problems else 'every check passed'}")
    return not problems


@app.command(epilog="Example: assay admit adversarial/imagenet20-fine")
def admit(
    task: Annotated[str, typer.Argument(help="A shipped task's id; its spec's headline ranks.")],
    data_root: DataRoots = None,
    board: BoardFolder = BOARD,
) -> None:
    """Admit a task to the leaderboard: count its units and hash its data here, so that others can be checked by it."""
    from assay.board.submissions import register

    register.admit(board, task, tuple(data_root or ()))
    print(f"{board / register.REGISTER}: holds {task}")


@app.command(epilog="Example: assay rescore leaderboard/submissions/resnet50 --data-root data")
def rescore(
    submission: Annotated[
        Path, typer.Argument(help="A submission's folder; with --challenge, also a run's own.")
    ],
    images: Annotated[
        Path | None,
        typer.Option(
            "--images", help="The submitted run's folder, with the adversarial images that it saved."
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            help="The network that answers; needed where the submission's is not of the built-in zoo.",
        ),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option("--weights", help="The checkpoint that answers about the images.")
    ] = None,
    challenge: Annotated[
        bool,
        typer.Option(
            "--challenge",
            help="--images are adversarial images that somebody else found: an npz file, or a folder of PNGs.",
        ),
    ] = False,
    by: Annotated[str | None, typer.Option("--by", help="With --challenge: who found them.")] = None,
    data_root: DataRoots = None,
    board: BoardFolder = BOARD,
) -> None:
    """Compute everything that follows from the saved outcomes again, beside the real data; for maintainers.

    With --images, the network is asked about every saved adversarial image, in a process that knows of no attack. Some
    of the images that are said to stand are attacked. That is what the tier re-scored means.

    With --challenge, images from elsewhere lower the row's figures, if each lies in its ball and fools the network.
    Those of a run stay; `assay records` then names the best known result of each image.
    """
    from assay.board.submissions import challenged_run, challenges, tiers
    from assay.board.submissions.images import SavedImages

    _require_there(submission, board)
    if challenge:
        if images is None or by is None:
            raise UserError("--challenge: needs the images with --images, and who found them with --by")
        of_run = (submission / "run.json").is_file()
        named = challenged_run.model_of(submission, model) if of_run else tiers.model_of(submission, model)
        sent = challenges.Sent(images, by, datetime.now(UTC).date().isoformat(), named, weights)
        if of_run:
            _challenge_run(submission, tuple(data_root or ()), sent)
        else:
            _challenge(submission, board, tuple(data_root or ()), sent)
        return

    saved = SavedImages(images, tiers.model_of(submission, model), weights) if images else None
    finding = tiers.rescore(submission, _against(board), tuple(data_root or ()), saved)
    _report_finding(tiers.write_finding(board, submission, finding), finding)


@app.command(epilog="Example: assay rerun leaderboard/submissions/resnet50 --out out/again")
def rerun(
    submission: Submission,
    out: Annotated[Path, typer.Option("--out", help="The folder of the new run.")],
    weights: Annotated[
        Path | None, typer.Option("--weights", help="The submission's own checkpoint, got from its authors.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", help="The model's name, needed where the submission's is not of the built-in zoo."
        ),
    ] = None,
    device: Annotated[str, typer.Option("--device", help="cpu, cuda or cuda:1.")] = "cpu",
    batch_size: Annotated[
        int | None,
        typer.Option("--batch-size", min=1, help="Images in one pass; left out, the family chooses."),
    ] = None,
    data_root: DataRoots = None,
    board: BoardFolder = BOARD,
) -> None:
    """Run a submission's jobs again, here, and list every difference; for maintainers."""
    from assay.board.submissions import tiers
    from assay.runner.jobs import JobRequest

    _require_there(submission, board)
    request = JobRequest(
        model=tiers.model_of(submission, model),
        task="",
        weights=str(weights) if weights else None,
        device=device,
        batch_size=batch_size,
        data_roots=tuple(str(root) for root in data_root or ()),
    )
    finding = tiers.rerun(submission, _against(board), request, out)
    _report_finding(tiers.write_finding(board, submission, finding), finding)


def _challenge(submission: Path, board: Path, roots: tuple[Path, ...], sent: "Sent") -> None:
    """Hold images from elsewhere against a submission, and print what they lower."""
    from assay.board.submissions import challenges

    path = challenges.place_of(board, submission)
    document = challenges.challenge(submission, _against(board), roots, sent, path)
    challenges.write_challenges(path, document)
    for text in challenges.texts_of(document.tasks):
        print(text)
    print(f"written: {path}; commit it")


def _challenge_run(directory: Path, roots: tuple[Path, ...], sent: "Sent") -> None:
    """Hold images from elsewhere against a run, and print what they would lower."""
    from assay.board.submissions.challenged_run import challenge_run
    from assay.board.submissions.challenges import texts_of
    from assay.runner.lock import exclusive

    with exclusive(directory):
        for text in texts_of(challenge_run(directory, roots, sent)):
            print(text)
    print(f"written into {directory}; `assay records {directory}` names the best known result of each image")


def _report_finding(path: Path, finding: Any) -> None:
    """Print what was found; exit code 1 when anything differs."""
    differences = [(task, text) for task, found in finding.tasks.items() for text in found.differences]
    for task, found in finding.tasks.items():
        count = len(found.differences) or "no"
        print(f"{task}: {found.figures_compared} figures, {found.units_compared} units, {count} differences")
    for task, text in differences:
        print(f"differs: {on_one_line(f'{task}: {text}')}", file=sys.stderr)
    print(f"written: {path}; commit it, the commit says who and when")
    if differences:
        raise typer.Exit(1)


@app.command(epilog="Example: assay compare out/first@efficientnet_lite0 leaderboard/submissions/resnet50")
def compare(
    a: Annotated[str, typer.Argument(help="A submission's folder, a run's folder, or RUN@MODEL.")],
    b: Annotated[str, typer.Argument(help="The other one.")],
    task: Annotated[str | None, typer.Option("--task", help="Only this task.")] = None,
) -> None:
    """Compare two models on what both were asked, pair by pair: units, or the shapes or images behind a figure."""
    from assay.board import compare as paired
    from assay.common.tables import text_table

    one, other = paired.sides(a), paired.sides(b)
    common = [name for name in one if name in other and task in (None, name)]
    if not common:
        raise UserError(f"no task in common: {a} holds {', '.join(one)}; {b} holds {', '.join(other)}")
    rows = [
        row for name in common for row in paired.table_rows(one[name], paired.compare(one[name], other[name]))
    ]
    print(f"A: {a}\nB: {b}\n")
    for name in common:
        counts = [len(side.records) for side in (one[name], other[name])]
        if counts[0] != counts[1]:
            print(f"{name}: A has {counts[0]} units, B {counts[1]}; compared on those that both have\n")
    print(text_table(rows, headers=paired.TABLE_COLUMNS, disable_numparse=True))


@app.command(epilog="Example: assay leaderboard --out leaderboard/site")
def leaderboard(
    out: Annotated[Path, typer.Option("--out", help="The site's folder.")] = Path("leaderboard/site"),
    board: BoardFolder = BOARD,
) -> None:
    """Write the site and the CSV files from the submissions that pass every check; only what changed is made again."""
    from assay.board.site.build import build_site

    report = build_site(board, out, _against(board))
    for name, reason in report.hidden:
        print(f"not shown: {on_one_line(name)}: {on_one_line(reason)}", file=sys.stderr)
    print(f"{out / 'index.html'}: {report.models} models, {report.rendered} pages of models written again")


def _against(board: Path) -> Any:
    from assay.board.submissions import check
    from assay.board.submissions.register import read_register

    return check.Board(read_register(board), check.other_names(board / "submissions"))
