"""Tracks: for one label space, the tasks of every family that have a meaning there, at three scales.

A track is a question about one model, asked in as many ways as there are families. Where a family has no task, the
track says why.
"""

from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from assay.common.errors import UserError
from assay.common.resources import shipped_folder
from assay.common.validation import StrictModel, read_yaml, validate

FOLDER = "tracks"


class Scale(StrEnum):
    """How much of a track is run."""

    EMBEDDED = "embedded"  # no download, minutes
    MEDIUM = "medium"  # data that anybody can fetch freely, some minutes per small network
    FULL = "full"


class TrackScale(StrictModel):
    """One scale of a track.

    Attributes:
        tasks: ids of shipped specs, in the order they are shown.
        without: for each family that has no task here, why.
    """

    tasks: tuple[Annotated[str, Field(min_length=1)], ...] = Field(min_length=1)
    without: dict[str, Annotated[str, Field(min_length=1)]] = Field(default_factory=dict)


class Track(StrictModel):
    """A label space and its tasks.

    Attributes:
        title: for people.
        description: what is asked, and on which data.
        label_space: of the models that the track is for.
        default_model: the model that is run where none is named.
        embedded: needs only the installed packages and some minutes.
        medium: data that anybody can fetch freely, and a laptop's time; what the board compares on.
        full: the data that the field compares on.
    """

    schema_version: Literal[1] = Field(alias="schema")
    title: str
    description: str
    label_space: str
    default_model: str
    embedded: TrackScale
    medium: TrackScale
    full: TrackScale

    def at(self, scale: Scale) -> TrackScale:
        """The track at a scale."""
        return {Scale.EMBEDDED: self.embedded, Scale.MEDIUM: self.medium, Scale.FULL: self.full}[scale]

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks of all scales, each once, from the smallest scale on."""
        return tuple(dict.fromkeys(task for scale in Scale for task in self.at(scale).tasks))


def shipped_tracks() -> dict[str, Track]:
    """Name to track, of all that ship with Assay, sorted by name."""
    paths = sorted((shipped_folder("benchmarks") / FOLDER).glob("*.yaml"))
    return {path.stem: read_track(path) for path in paths}


def load_track(name: str) -> Track:
    """The track called ``name``.

    Raises:
        UserError: there is no such track; names those that there are.
    """
    tracks = shipped_tracks()
    if name not in tracks:
        raise UserError(f"unknown track {name!r}; choose one of {', '.join(tracks)} (`assay list tracks`)")
    return tracks[name]


def track_of(label_space: str) -> tuple[str, Track] | None:
    """The name and the track of a label space; None where there is none."""
    return next(
        ((name, track) for name, track in shipped_tracks().items() if track.label_space == label_space), None
    )


def families_without(tasks: Iterable[str]) -> dict[str, str]:
    """Why families have no task, for every track and scale with all its tasks among ``tasks``."""
    asked = set(tasks)
    found: dict[str, str] = {}
    for track in shipped_tracks().values():
        for at in map(track.at, Scale):
            if asked >= set(at.tasks):
                found |= at.without
    return found


def read_track(path: Path) -> Track:
    """The track in a YAML file.

    Raises:
        UserError: it is not a valid one.
    """
    return validate(Track, read_yaml(path), str(path))
