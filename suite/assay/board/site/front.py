"""What the front page says was found: three sentences that follow from the board's figures, with links to them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from assay.board.headings import family_title, in_a_sentence
from assay.board.site.overview import OTHER, ShownTrack
from assay.board.study.association import LEAST_CLUSTERS
from assay.board.study.findings import MeasurePair
from assay.board.study.table import CLEAN
from assay.board.study.trainings import LEAST_SEEDS, Move, NetworkFigure, SweepMember, moves, training_of
from assay.common.statistics import LEAST_UNITS
from assay.tasks.families import family as task_family

_MOST = 3  # findings in one sentence


class Link(NamedTuple):
    """Words that lead to a page of the site."""

    text: str
    href: str


Sentence = Sequence[str | Link]
Studied = Mapping[str, Mapping[str, Any]]


class _Found(NamedTuple):
    """A pair of measures of two families, on the networks of one track."""

    pair: MeasurePair
    link: Link

    @property
    def families(self) -> tuple[str, str]:
        return _family(self.pair.a.id), _family(self.pair.b.id)


def front_sentences(
    shown: Sequence[ShownTrack], models: Sequence[Mapping[str, Any]], studied: Studied
) -> list[Sentence]:
    """What goes together, what is not shown to go with resisting attacks, and what else trainings move.

    Args:
        shown: the tracks as the overview shows them.
        models: all of the site's.
        studied: the studies of :func:`assay.board.site.studies.studies`, by track.
    """
    titles = {track.id: track.short_title for track in shown}
    found = [
        _Found(pair, Link(titles[track], f"studies/{track}.html"))
        for track, values in studied.items()
        for pair in values["pairs"]
        if _family(pair.a.id) != _family(pair.b.id) and pair.association.tau is not None
    ]
    return [
        _joined(_going_together(found)),
        _joined(_not_with_attacks(found)),
        _joined(_moved(shown, models)),
    ]


def _going_together(found: Sequence[_Found]) -> Iterator[str | Link]:
    shown = sorted((each for each in found if each.pair.shown), key=lambda each: each.pair.p_corrected or 0.0)
    if not found:
        yield "Not enough yet to say which measures go together: no track has "
        yield f"{LEAST_CLUSTERS} clusters of models with two of them."
        return
    if not shown:
        yield f"No two measures of different families are shown to go together, of {len(found)} pairs that were tested "
        yield f"(an interval needs {LEAST_UNITS} clusters): "
        yield from _listed(list(dict.fromkeys(each.link for each in found)))
        yield "."
        return
    yield "Shown to go together: "
    for at, each in enumerate(shown[:_MOST]):
        yield "; " if at else ""
        against = each.pair.association
        assert against.tau is not None
        yield f"better {in_a_sentence(each.pair.a.title)} with {'better' if against.tau > 0 else 'worse'} "
        yield f"{in_a_sentence(each.pair.b.title)} on "
        yield each.link
        yield f" (τ {against.tau:.2f} [{against.low:.2f}, {against.high:.2f}], {against.clusters} clusters)"
    more = len(shown) - _MOST
    yield f"; and {more} more {'pair' if more == 1 else 'pairs'}." if more > 0 else "."


def _not_with_attacks(found: Sequence[_Found]) -> Iterator[str | Link]:
    """The families not shown to agree with the figures under attack, with the tracks."""
    asked: dict[str, dict[Link, bool]] = {}
    for each in found:
        others = [name for name in each.families if name != CLEAN and not task_family(name).attacked]
        if len(others) == 1 and CLEAN not in each.families and each.pair.association.low is not None:
            by_track = asked.setdefault(others[0], {})
            by_track[each.link] = by_track.get(each.link, False) or each.pair.shown
    missing = {
        name: [link for link, shown in by_track.items() if not shown] for name, by_track in asked.items()
    }
    missing = {name: links for name, links in missing.items() if links}
    if not asked:
        yield "Not enough yet to say whether networks that resist attacks resist anything else: no track has "
        yield f"{LEAST_UNITS} clusters of models with figures of both."
        return
    if not missing:
        yield "Resisting attacks is shown to go with every other family that was asked, on every track."
        return
    yield "That networks which withstand attacks more do better, or worse, elsewhere is not shown of "
    for at, (name, links) in enumerate(sorted(missing.items())):
        yield ", nor of " if at else ""
        yield f"{family_title(name) if name.isupper() else name} on "
        yield from _listed(links)
    yield "."


def _moved(shown: Sequence[ShownTrack], models: Sequence[Mapping[str, Any]]) -> Iterator[str | Link]:
    found = [(track, board.measure, move) for track in shown for board, move in _moves(track, models)]
    if not found:
        yield "Not enough yet to say whether a training moves what it was not made for: none has "
        yield f"{LEAST_SEEDS} networks here beside {LEAST_SEEDS} of its regular twin."
        return
    telling = sorted((each for each in found if each[2].shown), key=lambda each: each[2].p_corrected)
    if not telling:
        yield "No training is shown to move a measure that it was not made for, of "
        yield f"{len(found)} pairs of training and measure."
        return
    yield "Trainings move what they were not made for: "
    for at, (track, measure, move) in enumerate(telling[:_MOST]):
        yield "; " if at else ""
        yield Link(
            f"{move.training.method}, {move.training.base}",
            f"models/{_one_of(track, models, move.training)}.html",
        )
        yield f", takes {in_a_sentence(measure)} from {move.regular:.3g} to {move.trained:.3g} "
        yield f"(by {move.trained - move.regular:+.2g} [{move.low:+.2g}, {move.high:+.2g}])"
    more = len(telling) - _MOST
    yield f"; and {more} more." if more > 0 else "."


def _moves(track: ShownTrack, models: Sequence[Mapping[str, Any]]) -> Iterator[tuple[Any, Move]]:
    """Each move of a track's networks on a task of another family than attacks, with its board."""
    if track.id == OTHER:
        return
    trainings = {model["id"]: training_of(model["cluster"]) for model in models}
    boards = {board.id: board for board in track.boards if not task_family(board.family).attacked}
    figures: dict[str, dict[SweepMember, list[NetworkFigure]]] = {}
    for task, board in boards.items():
        for model, (value, low, high, n) in board.cells(board.rank_by).items():
            training = trainings.get(model)
            if training is not None and value is not None and not _made_for(training, board.family):
                own = figures.setdefault(task, {}).setdefault(training, [])
                own.append(NetworkFigure(value, low, high, n))
    for move in moves(figures):
        yield boards[move.measure], move


def _made_for(training: SweepMember, family: str) -> bool:
    return any(words in training.method for words in task_family(family).trained_for)


def _one_of(track: ShownTrack, models: Sequence[Mapping[str, Any]], training: SweepMember) -> str:
    """The id of a network of that training."""
    own = set(track.models)
    return next(
        str(model["id"])
        for model in models
        if model["id"] in own and training_of(model["cluster"]) == training
    )


def _family(measure: str) -> str:
    return measure.partition("/")[0]


def _listed(links: Sequence[Link]) -> Iterator[str | Link]:
    for at, link in enumerate(links):
        yield "" if at == 0 else " and " if at == len(links) - 1 else ", "
        yield link


def _joined(parts: Iterable[str | Link]) -> Sentence:
    """The parts without empty ones, texts that follow each other as one."""
    found: list[str | Link] = []
    for part in parts:
        if isinstance(part, str) and found and isinstance(found[-1], str):
            found[-1] += part
        elif part:
            found.append(part)
    return found
