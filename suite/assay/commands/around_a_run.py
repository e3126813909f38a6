"""What is looked at and said before a run computes anything, and after it found nothing to compute."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from assay.commands.run_options import RunOptions, like_a_known

if TYPE_CHECKING:
    from assay.results.document import ResultDocument
    from assay.runner.jobs import Job, JobRequest


def requests_here(asked: RunOptions, device: str, skip: bool) -> "list[JobRequest]":
    """The requests; with ``skip``, those that need what is not here are printed and left out.

    Raises:
        UserError: as :meth:`RunOptions.requests`.
        typer.Exit: with code 1, as nothing is left.
    """
    from assay.runner.availability import why_unavailable

    requests = asked.requests(device)
    if not skip:
        return requests
    reasons = [(request, why_unavailable(request)) for request in requests]
    for request, reason in reasons:
        if reason:
            say(f"{request.name or request.model} · {request.task}: left out: {reason}")
    left = [request for request, reason in reasons if not reason]
    if not left:
        say("nothing ran: all of it needs what is not here")
        raise typer.Exit(1)
    return left


def say_board(requests: "Sequence[JobRequest]") -> None:
    """Say which of these the leaderboard takes, before any time is spent on them."""
    from assay.board.submissions.register import shipped_register

    admitted = shipped_register().tasks
    whole = {each.task: not (each.limit or each.settings or each.data) for each in requests}
    takes = [task for task in whole if task in admitted]
    if not takes:
        say("leaderboard: takes none of this (`assay list tasks` shows what it takes)")
    elif not all(whole[task] for task in takes):
        say(f"leaderboard: takes {_some(takes)}, but no changed or partial run of it")
    else:
        others = [task for task in whole if task not in admitted]
        say(f"leaderboard: takes {_some(takes)}{f'; not {_some(others)}' if others else ''}")


def _some(names: Sequence[str], most: int = 6) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def say_remarks(jobs: "Sequence[Job]") -> None:
    """What a reader must know of how networks and data were read, once for all jobs on the same."""
    from assay.results.document import DataCard
    from assay.runner.job_document import data_card

    read = [
        (card.name, card.remarks)
        for card in (DataCard.model_validate(data_card(job.question.data)) for job in jobs)
    ]
    for name, remarks in dict.fromkeys([*((job.info.name, job.info.notes) for job in jobs), *read]):
        for remark in remarks:
            say(f"{name}: {remark}")
    for job in jobs:
        stated = job.info.trained_on
        if stated is not None and job.training is None and not job.not_applicable:
            say(
                f"{job.title}: its network was trained on {stated.data}, which is not here (--data-root): nobody "
                "looked whether its pictures are among these"
            )


def nothing_ran(results: "Sequence[ResultDocument]") -> bool:
    """Whether no task had a meaning for its model; if so, say so, and what may be meant."""
    from assay.results.document import Status

    if not results or any(result.status is not Status.NOT_APPLICABLE for result in results):
        return False
    for name, space in dict.fromkeys((result.model.name, result.model.label_space) for result in results):
        hint = like_a_known(space) or "`assay list tasks` shows the data of each task"
        say(f"nothing ran: no task has a meaning for {name}, whose label space is {space!r}; {hint}")
    return True


def say(line: str) -> None:
    """Print a line on standard error."""
    print(line, file=sys.stderr, flush=True)
