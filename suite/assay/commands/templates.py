"""Files to begin with, each key with the sentence that its class says of it: they cannot drift from what is read."""

import inspect
import re
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from assay.common.errors import UserError
from assay.common.validation import validate

_WIDTH = 118


def task(of: str) -> str:
    """A spec to begin with: a shipped task's own, or that of a family's first task in a track.

    Raises:
        UserError: no such family or task.
    """
    from assay.tasks.families import families, family, spec_document
    from assay.tasks.task_spec import shipped_specs
    from assay.tasks.tracks import shipped_tracks

    if of in families():
        tracks = [task for track in shipped_tracks().values() for task in track.embedded.tasks]
        of = next(task for task in [*tracks, *shipped_specs()] if task.startswith(f"{of}/"))
    document = spec_document(of)
    spec = family(str(document["family"])).spec_type
    return _commented(f"A task of your own, from {of}.", document, spec)


def recipe() -> str:
    """A recipe to begin with: the smallest that ships."""
    from assay.training.recipe import Recipe
    from assay.training.recipe_files import load_recipe

    document = load_recipe("smoke/regular").model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return _commented("A recipe of your own.", document, Recipe)


def submission() -> str:
    """What a submitter says of a model."""
    from assay.board.submissions.documents import Metadata

    document = {
        "schema": 1,
        "name": "my_model",
        "paper": {"title": "The paper that describes the model", "url": "https://example.org/paper"},
        "code": "https://example.org/code",
        "licence": "Apache-2.0",
        "contact": "you@example.org",
    }
    words = {
        "name": "what the row is called",
        "paper": "title and address, or the word none",
        "code": "where the model's code is, or the word assay where `assay train` made it",
        "licence": "of the weights",
        "contact": "an address for questions",
        "note": "a sentence for readers",
    }
    head = "What `assay submit DIR --metadata` asks of a submitter."
    return _commented(head, document, Metadata, words, {"model": "my_model"})


def data(folder: Path, out: Path | None) -> str:
    """A manifest of a folder with one folder per class, or of one with pictures that nobody has labelled.

    Raises:
        UserError: it has no class folders and no pictures.
    """
    from assay.data.layouts.folder_per_class import class_folders
    from assay.data.layouts.unlabelled import Unlabelled
    from assay.data.manifest import DataManifest
    from assay.models.info import IMAGENET

    classes = class_folders(folder) if folder.is_dir() else []
    if not classes and not Unlabelled(type="unlabelled").discover(folder):
        raise UserError(
            f"{folder}: has no folders and no pictures; put the pictures of each class into a folder of its name"
        )
    name = re.sub(r"[^a-z0-9._-]+", "-", folder.resolve().name.lower()).strip("-._") or "pictures"
    beside = folder.parent if out is None else out.parent
    inside = folder.resolve().relative_to(beside.resolve()).as_posix() if _is_in(folder, beside) else None
    document = {
        "schema": 1,
        "name": name,
        "title": f"My pictures: {name}",
        **(
            {"label_space": f"{name}-labels", "num_classes": len(classes)}
            if classes
            else {"label_space": IMAGENET, "num_classes": 1000}
        ),
        "licence": "unstated",
        "source": "say where they come from and how they were chosen",
        "get": "say how another gets them",
        **({"location": {"folder": inside}} if inside else {}),
        "layout": {"type": "folder-per-class", "classes": classes} if classes else {"type": "unlabelled"},
        "files": "unlisted",
    }
    where = "" if inside else f" Give --data-root {folder.parent} with it."
    what = (
        "a folder per class in this order."
        if classes
        else "without labels: run it with --set labels=predicted, on models of this label space."
    )
    return _commented(f"The pictures in {folder.name}, {what}{where}", document, DataManifest)


def _is_in(folder: Path, place: Path) -> bool:
    return folder.resolve().is_relative_to(place.resolve())


def _commented(
    head: str,
    document: Mapping[str, Any],
    model: type[BaseModel],
    more: Mapping[str, str] | None = None,
    filled_in: Mapping[str, Any] | None = None,
) -> str:
    """A document with a comment above each key, and the keys that it leaves out as comments below.

    Args:
        head: the first line.
        document: the content.
        model: whose docstring has the words.
        more: words on keys that the docstring is silent on.
        filled_in: what the program says itself, so that it is not in the file.
    """
    words = _words(model) | dict(more or {})
    lines = [f"# {head}", ""]
    for key, value in document.items():
        lines += _comment(words.get(key, ""))
        lines += _dumped(key, value)
    whole = validate(model, {**(filled_in or {}), **document}, head).model_dump(mode="json", by_alias=True)
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    left = [name for name, field in fields.items() if name not in document and not field.is_required()]
    if left:
        lines += ["", "# Left out, each as where it is not said:"]
    for name in left:
        lines += _comment(words.get(name, ""))
        default = fields[name].default  # a dump leaves out some fields that are at their default
        value = whole.get(name, default if isinstance(default, str | int | float) else None)
        lines += [f"#{line}" for line in _dumped(name, value)]
    return "\n".join(lines) + "\n"


def _dumped(key: str, value: Any) -> list[str]:
    """One key as YAML: blocks and lists of plain values on one line each."""
    flow = None if isinstance(value, list | dict) else False
    text: str = yaml.safe_dump(
        {key: value}, sort_keys=False, allow_unicode=True, width=_WIDTH, default_flow_style=flow
    )
    return text.rstrip().splitlines()


def _comment(words: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(words, _WIDTH - 4)]


def _words(model: type[BaseModel]) -> dict[str, str]:
    """Key to what the docstrings of a class and its bases say of it."""
    found: dict[str, str] = {}
    for each in reversed(model.__mro__):
        found |= _attributes(inspect.getdoc(each) or "") if issubclass(each, BaseModel) else {}
    return found


def _attributes(doc: str) -> dict[str, str]:
    """The section ``Attributes:`` of a docstring."""
    _, _, section = doc.partition("Attributes:\n")
    entries = re.findall(r"^    (\w+): (.+(?:\n {5,}.+)*)", section, flags=re.MULTILINE)
    plain = (
        (name, re.sub(r":\w+:(?=`)", "", " ".join(text.split())).replace("``", "`")) for name, text in entries
    )
    return dict(plain)
