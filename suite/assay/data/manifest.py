"""Data manifests: which files make a data set, what they mean, and how to get them."""

import difflib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    Discriminator,
    Field,
    PrivateAttr,
    StringConstraints,
    Tag,
    model_validator,
)

from assay.common.canonical import canonical_sha256
from assay.common.errors import UserError
from assay.common.resources import shipped_folder
from assay.common.validation import StrictModel, read_yaml, validate
from assay.data.archive import Archive, Url, safe_folder
from assay.data.corrupting.corruption import Corruption, split_name
from assay.data.layouts import AnyLayout
from assay.data.layouts.base import FileName
from assay.data.pixels import ColourPolicy, Conversion

_RULES_OF_BEFORE = ("alpha", "cmyk")

#: Label spaces with a public meaning and size; any other name is a manifest's own.
PUBLIC_LABEL_SPACES = {
    "imagenet-1k": 1000,
    "cifar-10": 10,
    "cifar-100": 100,
    "mnist": 10,
    "fashion-mnist": 10,
    "digits": 10,
    "tiny-imagenet-200": 200,
    "oxford-flowers-17": 17,
}

Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]*$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Prose = Annotated[str, StringConstraints(min_length=1)]


def _files_kind(value: object) -> str:
    return "listed" if isinstance(value, dict) else "word"


# Chosen by hand, so that an error message speaks of the kind that was meant, not of both.
Files = Annotated[
    Annotated[dict[FileName, Sha256], Field(min_length=1), Tag("listed")]
    | Annotated[Literal["unlisted"], Tag("word")],
    Discriminator(_files_kind),
]


class Location(StrictModel):
    """Where the files lie inside what is searched.

    Attributes:
        package: an installed Python package that ships them, or none.
        folder: the folder in that package, and in each searched folder (which is itself tried too).
    """

    package: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_]\w*$")] | None = None
    folder: Annotated[str, AfterValidator(safe_folder)] = "."


class DataManifest(ColourPolicy):
    """One data set.

    Attributes:
        schema_version: written ``schema: 1``.
        name: its name on the command line and in specs.
        title: one line for tables.
        label_space: what the class indices mean; a model must declare the same.
        num_classes: labels lie in [0, num_classes).
        licence: of the pictures, as stated by their publisher.
        source: where they come from and how they were chosen.
        get: the command or the words that get them.
        location: where they lie in each searched folder.
        layout: how samples and labels are found in the files.
        files: relative path to SHA-256 (of the unpacked content, where the file lies as ``PATH.gz``), or
            the word ``unlisted``: then the hashes are computed from the files present.
        urls: relative path to the address that serves it, for files that can be downloaded one by one.
        archives: packed folders that hold the files, to be unpacked into a data root.
        corruption: what is done to every picture when it is read; none where left out.
    """

    schema_version: Literal[1] = Field(alias="schema")
    name: Slug
    title: Prose
    label_space: Slug
    num_classes: Annotated[int, Field(gt=0)]
    licence: Prose
    source: Prose
    get: Prose
    location: Location = Location()
    layout: AnyLayout
    files: Files
    urls: dict[FileName, Url] = Field(default_factory=dict)
    archives: Annotated[tuple[Archive, ...], Field(strict=False)] = ()
    corruption: Corruption | None = None
    _folder: Path | None = PrivateAttr(default=None)

    @property
    def folder(self) -> Path | None:
        """The folder of a user's own manifest, where its data may lie too; None for shipped ones."""
        return self._folder

    @property
    def labelled(self) -> bool:
        """Whether its pictures have labels."""
        return self.layout.labelled

    def require_labels(self, no_own_answers: str | None = None) -> None:
        """Refuse pictures without labels where these are needed.

        Args:
            no_own_answers: why the network's own answers cannot stand in for them, or None where they can.

        Raises:
            UserError: they have none.
        """
        if not self.labelled:
            instead = (
                f" (`labels: predicted` would have no meaning: {no_own_answers})"
                if no_own_answers
                else ", or ask whether the answer stays what it was: `assay run` with --set labels=predicted"
            )
            raise UserError(
                f"data set {self.name}: its pictures have no labels (a folder has no class folders); put those of each "
                f"class into a folder of its name{instead}"
            )

    @property
    def can_be_fetched(self) -> bool:
        """Whether it says where all its files can be downloaded."""
        return bool(self.archives) or (self.files != "unlisted" and set(self.urls) == set(self.files))

    @property
    def how_to_get(self) -> str:
        """``get`` on one line, for messages; the verb that does it first, where there is one."""
        words = " ".join(self.get.split())
        named = self.folder is None and self.corruption is None and self.can_be_fetched
        return f"`assay fetch {self.name}`; by hand: {words}" if named else words

    @property
    def colours(self) -> ColourPolicy:
        """The manifest's colour policy alone."""
        return ColourPolicy(**{name: getattr(self, name) for name in ColourPolicy.model_fields})

    def corrupted(self, corruption: Corruption) -> Self:
        """The same data set with its pictures corrupted; name and title say so.

        Raises:
            UserError: its pictures are corrupted already.
        """
        if self.corruption is not None:
            raise UserError(f"data set {self.name}: its pictures are corrupted already; name it without `~`")
        title = f"{self.title}, {corruption.words}"
        changes = {"name": self.name + corruption.suffix, "title": title, "corruption": corruption}
        return self.model_copy(update=changes)

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        public = PUBLIC_LABEL_SPACES.get(self.label_space)
        if public not in (None, self.num_classes):
            raise ValueError(f"label space {self.label_space} has {public} classes, not {self.num_classes}")
        declared = self.layout.declared_classes()
        if declared not in (None, self.num_classes):
            raise ValueError(f"the layout names {declared} classes where `num_classes` is {self.num_classes}")
        listed = set(self.layout.required()) if self.files == "unlisted" else set(self.files)
        for name in (*self.layout.required(), *self.urls):
            if name not in listed:
                raise ValueError(f"the file {name!r} is named but not listed in `files`")
        packed = [archive.name for archive in self.archives]
        if len(set(packed)) < len(packed):
            raise ValueError("two of the `archives` have the same file name")
        return self

    def identity_sha256(self, file_hashes: Mapping[str, str], conversions: Iterable[Conversion] = ()) -> str:
        """The hash of what changes a sample's pixels, label or order: not of licence, prose or places.

        Some pictures used to be refused unless the manifest said otherwise. Rules on these are in it only where the
        manifest has them, or where there are such pictures; any other data set keeps its former hash.

        Args:
            file_hashes: SHA-256 by name.
            conversions: those that at least one picture needs.
        """
        said = self.model_fields_set
        colours = {"channels": self.channels} | {
            rule: getattr(self, rule) if rule in said else "refuse" for rule in _RULES_OF_BEFORE
        }
        later = {
            conversion.rule: conversion.value
            for conversion in conversions
            if conversion.rule != "orientation"
            and not (conversion.rule in _RULES_OF_BEFORE and conversion.rule in said)
        }
        document = {
            "schema": self.schema_version,
            "label_space": self.label_space,
            "num_classes": self.num_classes,
            "colours": colours,
            "layout": self.layout.model_dump(mode="json"),
            "files": sorted(file_hashes.items()),
            **({"conversions": later} if later else {}),
        }
        return canonical_sha256(document)


def list_manifests() -> list[str]:
    """The names of the shipped manifests, sorted."""
    return sorted(path.stem for path in shipped_folder("data_manifests").glob("*.yaml"))


def load_manifest(name_or_path: str, relative_to: Path | None = None) -> DataManifest:
    """A shipped manifest by name, or a user's own by the path of its YAML file.

    Args:
        name_or_path: anything with a folder in it or ending in .yaml or .yml is a path; ``~CORRUPTION:SEVERITY`` behind
            it asks for the same pictures corrupted.
        relative_to: the spec that names it, or that spec's folder; relative paths start there.

    Raises:
        UserError: no such manifest, it is not a valid one, or no such corruption.
    """
    name_or_path, corruption = split_name(name_or_path)
    manifest = _load(name_or_path, relative_to)
    return manifest if corruption is None else manifest.corrupted(corruption)


def _load(name_or_path: str, relative_to: Path | None) -> DataManifest:
    if _is_path(name_or_path):
        start = Path() if relative_to is None else relative_to if relative_to.is_dir() else relative_to.parent
        path = start / Path(name_or_path).expanduser()
        return _read(path, own_folder=path.parent)
    names = list_manifests()
    if name_or_path not in names:
        nearest = difflib.get_close_matches(name_or_path, names, n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(nearest)}?" if nearest else f"there are {', '.join(names)}"
        raise UserError(f"unknown data set {name_or_path!r}: {hint} (a file of your own ends in .yaml)")
    return _read(shipped_folder("data_manifests") / f"{name_or_path}.yaml", own_folder=None)


def _is_path(text: str) -> bool:
    return text.endswith((".yaml", ".yml")) or "/" in text or os.sep in text


def _read(path: Path, own_folder: Path | None) -> DataManifest:
    document = read_yaml(path)
    layout = document.get("layout")
    if isinstance(layout, dict):
        lists = {key: layout[key] for key in ("classes", "only") if isinstance(layout.get(key), str)}
        document["layout"] = layout | {key: _lines(name, path, key) for key, name in lists.items()}
    manifest = validate(DataManifest, document, str(path))
    manifest._folder = own_folder
    corruption = manifest.corruption
    return (
        manifest
        if corruption is None
        else manifest.model_copy(update={"corruption": None}).corrupted(corruption)
    )


def _lines(name: str, manifest: Path, key: str) -> list[str]:
    """The names in a text file beside the manifest, or shipped; they enter its identity."""
    beside = manifest.parent / name
    path = beside if beside.exists() else shipped_folder("data_manifests") / name
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{manifest}: `layout.{key}` names {beside}, which cannot be read ({error}); correct the name"
        ) from error
