"""Words beside a run's figures: what they mean, why some are missing, and where they stand on the board."""

import csv
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from assay.board.site.ranks import Interval, tied_places
from assay.board.submissions.documents import SUBMITTED
from assay.board.submissions.register import REGISTER, read_register
from assay.board.submissions.results import current_hashes
from assay.results.card import Background, headline_of
from assay.results.document import Metric, ResultDocument, Status
from assay.tasks.families import family
from assay.tasks.task_spec import shipped_specs
from assay.tasks.tracks import families_without

TABLE = "leaderboard.csv"


def background_of(results: Sequence[ResultDocument], board: Path | None = None) -> Background:
    """What to tell a reader of these results; ``board`` is the leaderboard's folder, if there is one."""
    demonstrations = {
        result.task: result.spec["demonstration"] for result in results if result.spec.get("demonstration")
    }
    told = [result for result in results if result.metrics and result.task not in demonstrations]
    return Background(
        demonstrations=demonstrations,
        meanings=_meanings(told),
        evidence={
            (each.task, metric.name): family(each.family).evidence(metric.name)
            for each in results
            for metric in each.metrics
        },
        without=families_without(result.task for result in results),
        standing=standings(told, board) if board else {},
    )


def _meanings(results: Sequence[ResultDocument]) -> list[tuple[str, str]]:
    """Each sentence once; a family whose specs mean different things has several."""
    said = [
        (each.family, family(each.family).means(ranks.name, [metric.name for metric in each.metrics]))
        for each in results
        if (ranks := headline_of(each))
    ]
    return [one for one in dict.fromkeys(said) if one[1]]


def standings(results: Sequence[ResultDocument], board: Path) -> dict[tuple[str, str], str]:
    """By model and task: behind how many of the board's models the figure stands, as far as intervals tell.

    Only whole results of today's admitted tasks are compared with the board, and only with rows that the maintainers
    have computed. The same model's own row is left out.
    """
    if not all((board / name).is_file() for name in (TABLE, REGISTER)):
        return {}
    admitted = read_register(board).tasks
    with (board / TABLE).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    shipped, found = shipped_specs(), {}
    for result in results:
        entry, metric = admitted.get(result.task), result.headline_metric
        whole = result.status is Status.COMPLETE and not result.coverage.limited and not result.failed_guards
        if entry is None or metric is None or metric.value is None or not whole or result.task not in shipped:
            continue
        if result.data.sha256 != entry.data_sha256 or result.spec_sha256 not in current_hashes(result.task):
            continue
        rivals = _rivals(result, metric, rows)
        if rivals:
            found[result.model.name, result.task] = _behind(_interval(metric), rivals, metric)
    return found


def _rivals(result: ResultDocument, metric: Metric, rows: Sequence[Mapping[str, str]]) -> list[Interval]:
    stem, rivals = f"{result.task} {metric.name}", []
    for row in rows:
        own = row.get("weights_sha256") == result.model.weights_sha256
        if own or row.get(f"{result.task} tier", SUBMITTED) in ("", SUBMITTED):
            continue
        with suppress(KeyError, ValueError):  # no figure of this row
            value = float(row[stem])
            low, high = (row[f"{stem} {end}"] for end in ("ci_low", "ci_high"))
            rivals.append(Interval(value, float(low or value), float(high or value)))
    return rivals


def _interval(metric: Metric) -> Interval:
    assert metric.value is not None
    low, high = metric.ci_low, metric.ci_high
    return Interval(
        metric.value, metric.value if low is None else low, metric.value if high is None else high
    )


def _behind(own: Interval, rivals: Sequence[Interval], metric: Metric) -> str:
    places = tied_places([*rivals, own], "lower" if metric.direction == "down" else "higher")[-1]
    best, worst = places.best - 1, places.worst - 1
    many = str(best) if best == worst else f"{best} to {worst}"
    return f"behind {many} of {len(rivals)}"
