"""One image verified: by proof, or by a search; the answer as a document and as text."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.common.errors import UserError
from assay.tasks.verification.spec import VerificationSpec, property_name

if TYPE_CHECKING:
    from torch import Tensor

    from assay.models.loaded import LoadedModel
    from assay.tasks.verification.verify import Verification


@dataclass(frozen=True)
class OneImage:
    """What is asked of one image.

    Attributes:
        spec: with one combination of perturbations.
        model: any.
        path: of the picture.
        pixels: (C, H, W), as the model reads it.
        device: to compute on.
        yes_or_no: stop at the first confirmed violation of AR.
    """

    spec: VerificationSpec
    model: "LoadedModel"
    path: Path
    pixels: "Tensor"
    device: str
    yes_or_no: bool


@dataclass(frozen=True)
class VerifyAnswer:
    """A document with one row per property, the same as text, and what draws its pictures (PNG by name)."""

    document: Mapping[str, Any]
    text: str
    pictures: Callable[[], Mapping[str, bytes]]


def exactly(asked: OneImage) -> VerifyAnswer:
    """The exact verifier's answer.

    Raises:
        UserError: a layer of the network cannot be verified, which is named; no such device.
    """
    from assay.models.loaded import torch_device
    from assay.tasks.base import NotApplicableError
    from assay.tasks.verification.evaluate import exact_network, pictures, question
    from assay.tasks.verification.verify import verify

    spec, _ = asked.spec, torch_device(asked.device)
    try:
        network = exact_network(asked.model)
    except NotApplicableError as error:
        raise UserError(
            f"model {asked.model.info.name}: {error}; choose a network of linear layers and ReLUs, or --verifier search"
        ) from error
    put = replace(question(spec, spec.combinations[0], spec.seed), stop_when_violated=asked.yes_or_no)
    image = asked.pixels.double()
    found = verify(network, image, put)
    rows = _rows(found, asked)
    document = rows[0] | {"properties": rows}
    return VerifyAnswer(document, _table(found, rows), lambda: pictures(found, network, image, put))


def _rows(found: "Verification", asked: OneImage) -> list[dict[str, Any]]:
    """One row per property, with the columns of the family's records."""
    norm = found.relative.norm
    common = {
        "unit_id": asked.path.name,
        "label": found.label,
        "perturbation": asked.spec.names[0],
        "verifier": "exact",
        "sup_ai": found.sup_ai,
        "sup_ai_relative": found.sup_ai / norm if found.sup_ai is not None and norm else None,
        "theta_sup": None if found.theta_sup is None else found.theta_sup.tolist(),
        "min_margin": found.min_margin,
        "theta_min": None if found.theta_min is None else found.theta_min.tolist(),
        "cells": found.cells,
        "seconds": found.seconds,
        "error": None,
    }
    return [
        common
        | {
            "property": property_name(part.delta),
            "verdict": part.verdict,
            "share_satisfied": part.satisfied,
            "share_violated": part.violated,
            "share_partial": part.partial,
        }
        for part in found.findings
    ]


def _table(found: "Verification", rows: list[dict[str, Any]]) -> str:
    from assay.common.tables import text_table

    columns = ("property", "verdict", "share_satisfied", "share_violated", "share_partial")
    shown = [[row[column] for column in columns] for row in rows]
    first = rows[0]
    lines = [
        f"predicted label {found.label}; {found.cells} activation cells in {found.seconds:.2f} s",
        f"sup ai {first['sup_ai']} at theta = {first['theta_sup']}",
        f"smallest margin {first['min_margin']} at theta = {first['theta_min']}",
        text_table(shown, headers=columns, floatfmt=".6g"),
    ]
    if found.above_sup:
        lines.append(
            f"at {found.above_sup} points the network's own gradient shows more than sup ai, for rounding breaks ties "
            "in its max pooling: AR is not called robust"
        )
    return "\n".join(lines)


def searched(asked: OneImage) -> VerifyAnswer:
    """The search's answer, which proves only what it finds broken.

    Raises:
        UserError: no such device; --yes-or-no, which only a proof has.
    """
    import time

    from assay.models.loaded import torch_device
    from assay.tasks.verification.grammar import parse_motions
    from assay.tasks.verification.search import search
    from assay.tasks.verification.search_evaluate import describe, origins
    from assay.tasks.verification.search_figures import pictures
    from assay.tasks.verification.task import TASK

    if asked.yes_or_no:
        raise UserError("--yes-or-no: belongs to the exact verifier; leave it out")
    spec, device = asked.spec, torch_device(asked.device)
    began = time.monotonic()
    images = asked.pixels[None].to(device)
    batch_size = TASK.batch_size(asked.model.info.input_shape, asked.device)
    fast, exact = origins(spec, asked.model.to(device).module, images, batch_size)
    motions = parse_motions(spec.combinations[0])
    assert spec.search is not None
    (found,) = search(fast, exact, motions, spec.deltas, spec.search)
    seconds = time.monotonic() - began
    values = describe(found, asked.path.name, found.label, spec, 0)
    rows = [
        {
            "unit_id": asked.path.name,
            **{name: values[name] for name in _SEARCHED},
            "cells": None,
            "seconds": seconds,
            "error": None,
            "property": name,
            "verdict": part["verdict"],
            "share_satisfied": None,
            "share_violated": None,
            "share_partial": None,
            "share_seen": part["seen"],
        }
        for name, part in values["properties"].items()
    ]
    document = rows[0] | {"properties": rows}
    return VerifyAnswer(document, _searched_table(rows), lambda: pictures(fast, motions, found, spec))


_SEARCHED = (
    "label", "perturbation", "verifier", "saliency", "sup_ai", "sup_ai_relative", "theta_sup", "min_margin",
    "theta_min", "points",
)  # fmt: skip


def _searched_table(rows: list[dict[str, Any]]) -> str:
    from assay.common.tables import text_table

    columns = ("property", "verdict", "share_seen")
    first = rows[0]
    blind = "attention_is_not_zero failed: the network passes no gradient to its pixels, so nothing can be compared"
    return "\n".join(
        [
            *([blind] if first["sup_ai_relative"] is None else []),
            f"predicted label {first['label']}; {first['points']} points looked at in {first['seconds']:.2f} s, "
            f"heat map: {first['saliency']}",
            f"sup ai at least {first['sup_ai']} at theta = {first['theta_sup']}",
            f"smallest margin at most {first['min_margin']} at theta = {first['theta_min']}",
            text_table(
                [[row[column] for column in columns] for row in rows], headers=columns, floatfmt=".6g"
            ),
            "nothing is proved: unknown means not found broken",
        ]
    )
