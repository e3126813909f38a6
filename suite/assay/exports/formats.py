"""The formats by name: what writes each, which modules it needs, and what to do with what was written."""

import difflib
import importlib.util
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from assay.common.errors import UserError
from assay.exports.figures import ExportedResult
from assay.exports.places import portable

INSTALL = "pip install 'assay[export]'"


@dataclass(frozen=True)
class Wishes:
    """What else a user says.

    Attributes:
        out: where the export will lie in the end.
        hub: ``DATA=ORG/NAME`` each: a data set, and that on Hugging Face's Hub whose leaderboard is meant.
        developer: who made the models.
        evaluator: who ran Assay.
        data_roots: folders to look for data in.
    """

    out: Path
    hub: Sequence[str] = ()
    developer: str | None = None
    evaluator: str | None = None
    data_roots: Sequence[Path] = ()


Writer = Callable[[Sequence[ExportedResult], Path, Wishes], Sequence[str]]
"""Writes results at a path; returns a line for each thing that it had to leave out."""


@dataclass(frozen=True)
class Format:
    """One format.

    Attributes:
        write: its writer.
        modules: what it needs besides what every installation has.
        takes: the wishes that are its own.
        next_step: what to do with it; ``{out}`` is its place.
    """

    write: Writer
    modules: tuple[str, ...]
    takes: tuple[str, ...]
    next_step: str


def format_named(name: str) -> Format:
    """A format.

    Raises:
        UserError: there is no such format, or a library that writes it is not installed.
    """
    found = FORMATS.get(name)
    if found is None:
        near = difflib.get_close_matches(name, FORMATS, n=1, cutoff=0.3)
        hint = f"did you mean {near[0]}? There are " if near else "choose one of "
        raise UserError(f"--to: there is no format {name!r}; {hint}{', '.join(FORMATS)}")
    missing = [module for module in found.modules if importlib.util.find_spec(module) is None]
    if missing:
        raise UserError(f"--to {name}: needs {' and '.join(missing)}, which is not installed: {INSTALL}")
    return found


def _hugging_face(results: Sequence[ExportedResult], place: Path, wishes: Wishes) -> Sequence[str]:
    from assay.exports import hugging_face

    known = {each.document.data.name for each in results}
    on_hub = {}
    for text in wishes.hub:
        data, _, repository = text.partition("=")
        if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
            raise UserError(f"--hub {text}: is not DATA=ORG/NAME, such as {min(known)}=my-org/my-data")
        if data not in known:
            raise UserError(
                f"--hub {text}: no result is of data set {data!r}; there are {', '.join(sorted(known))}"
            )
        on_hub[data] = repository
    return hugging_face.write(results, place, on_hub)


def _every_eval_ever(results: Sequence[ExportedResult], place: Path, wishes: Wishes) -> Sequence[str]:
    from assay.exports import every_eval_ever

    if not wishes.developer:
        raise UserError(
            "--to eee: records are filed by who made the model; say it with --developer NAME "
            "(and who ran Assay with --evaluator NAME)"
        )
    parties = every_eval_ever.Parties(wishes.developer, wishes.evaluator)
    return every_eval_ever.write(results, place, parties)


def _croissant(results: Sequence[ExportedResult], place: Path, wishes: Wishes) -> Sequence[str]:
    from assay.data.manifest import load_manifest
    from assay.exports import croissant

    place.mkdir()
    left_out = []
    for card in {each.document.data.sha256: each.document.data for each in results}.values():
        out = place / f"{portable(card.name)}-{card.sha256[:8]}.json"
        try:
            manifest = load_manifest(card.name)
        except UserError:
            croissant.write_card(card, out)
            why = "no data set of that name ships; export its manifest for its files"
            left_out.append(f"{card.name}: without its files ({why})")
        else:
            croissant.write_manifest(manifest, wishes.data_roots, out, card)
    return left_out


def _mlflow(results: Sequence[ExportedResult], place: Path, wishes: Wishes) -> Sequence[str]:
    from assay.exports import mlflow_store

    mlflow_store.write(results, place, wishes.out)
    return ()


def _tensorboard(results: Sequence[ExportedResult], place: Path, _: Wishes) -> Sequence[str]:
    from assay.exports import tensorboard_events

    tensorboard_events.write(results, place)
    return ()


def _latex(results: Sequence[ExportedResult], place: Path, _: Wishes) -> Sequence[str]:
    from assay.exports import latex

    latex.write(results, place)
    return ()


FORMATS: Mapping[str, Format] = {
    "hf": Format(_hugging_face, (), ("hub",), "a folder for each model, to copy into its repository on the Hub"),
    "eee": Format(
        _every_eval_ever, ("jsonschema",), ("developer", "evaluator"),
        "records of Every Eval Ever (schema 0.3.0, checked), to copy into its datastore",
    ),
    "croissant": Format(
        _croissant, ("mlcroissant",), ("data_roots",), "mlcroissant validate --jsonld FILE checks it"
    ),
    "mlflow": Format(_mlflow, ("mlflow",), (), "MLFLOW_ALLOW_FILE_STORE=true mlflow ui --backend-store-uri {out}"),
    "tensorboard": Format(_tensorboard, ("tensorboard",), (), "tensorboard --logdir {out}"),
    "latex": Format(_latex, (), (), "\\input it where the package booktabs is loaded"),
}  # fmt: skip
