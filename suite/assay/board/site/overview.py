"""What the overview shows: a track at a time, its tasks as columns, the models of its label space as rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from assay.board.headings import column_headings
from assay.board.site.boards import TaskBoard
from assay.tasks.families import family
from assay.tasks.tracks import Scale, Track, shipped_tracks

OTHER = "other"
_OTHER = "Tasks that are admitted and belong to no track."


@dataclass(frozen=True)
class ShownTrack:
    """A track that has figures of some models.

    Attributes:
        id: of the track; :data:`OTHER` where the tasks belong to none.
        boards: the tasks that any model has a figure of: the columns, in the track's own order.
        not_run: those that none has.
        models: the ids of the models that are asked here.
        without: family to why the track has no task of it.
    """

    id: str
    title: str
    description: str
    boards: Sequence[TaskBoard]
    not_run: Sequence[TaskBoard]
    models: Sequence[str]
    without: Mapping[str, str]

    @property
    def short_title(self) -> str:
        """The title without what describes it."""
        return self.title.partition(",")[0].partition(" of ")[0]

    @property
    def missing(self) -> dict[str, str]:
        """The families that no model has a figure of, though the track asks them; with the first task of each."""
        there = {board.family for board in self.boards}
        found: dict[str, str] = {}
        for board in self.not_run:
            if board.family not in there:
                found.setdefault(board.family, board.id)
        return found

    @property
    def headings(self) -> dict[str, str]:
        """The columns' headings by task: the family; and, where it has two tasks here, the task's own name."""
        return column_headings([(board.id, board.family) for board in self.boards], self.id == OTHER)

    @property
    def meanings(self) -> dict[str, str]:
        """What the headline of each task says, by task."""
        return {
            board.id: family(board.family)
            .means(board.rank_by, [metric["name"] for metric in board.metrics])
            .removeprefix(f"{board.family}: ")
            for board in self.boards
        }


def tracks(boards: Sequence[TaskBoard], models: Sequence[Mapping[str, Any]]) -> list[ShownTrack]:
    """The tracks that have a column, the one with the most models first and the other tasks last."""
    known, taken, found = {board.id: board for board in boards}, set[str](), []
    for name, track in shipped_tracks().items():
        own = [known[task] for task in track.tasks if task in known]
        taken |= set(track.tasks)
        found.append(_shown(name, track, own, models))
    rest = [board for board in boards if board.id not in taken]
    found.sort(key=lambda track: -len(track.models))
    return [track for track in (*found, _shown(OTHER, None, rest, models)) if track.boards]


def _shown(
    name: str, track: Track | None, own: Sequence[TaskBoard], models: Sequence[Mapping[str, Any]]
) -> ShownTrack:
    return ShownTrack(
        id=name,
        title=track.title if track else "Other tasks",
        description=track.description if track else _OTHER,
        boards=[board for board in own if board.figured],
        not_run=[board for board in own if not board.figured],
        models=[
            model["id"]
            for model in models
            if (track and model["label_space"] == track.label_space)
            or any(model["id"] in board.rows for board in own)
        ],
        without=_without(track) if track else {},
    )


def _without(track: Track) -> dict[str, str]:
    """The families without a task at any scale, and why."""
    there = {task.partition("/")[0] for task in track.tasks}
    stated = {name: why for scale in Scale for name, why in track.at(scale).without.items()}
    return {name: why for name, why in stated.items() if name not in there}


def overview(boards: Sequence[TaskBoard], shown: Sequence[ShownTrack]) -> dict[str, Any]:
    """All of it as plain JSON: tasks, tracks, and the ranking figure of each model on each task."""
    tasks = [
        {
            "id": board.id, "title": board.title, "family": board.family, "metric": board.rank_by,
            "measure": board.measure, "unit": board.unit, "better": board.better, "units": board.admitted.units,
            "evidence": board.evidence, "sign": board.sign,
        }
        for board in boards
    ]  # fmt: skip
    found = [
        {"id": track.id, "title": track.title, "headings": track.headings, "models": track.models}
        for track in shown
    ]
    rows: dict[str, dict[str, Any]] = {}
    for board in boards:
        for model, cell in board.ranked().items():
            rows.setdefault(model, {})[board.id] = cell
    return {"tasks": tasks, "tracks": found, "rows": rows}
