"""Verify a block of images: one record per image and combination of perturbations."""

import io
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import lru_cache, partial
from typing import Any

from torch import Tensor

from assay.common.validation import validate
from assay.data.dataset import Dataset, Sample
from assay.models.chain import with_normalisation_as_layer
from assay.models.loaded import LoadedModel
from assay.tasks.base import NotApplicableError, Record, RunContext, Unit
from assay.tasks.shared.loading import LoadedPicture
from assay.tasks.verification.figures import ray, region_map, saliency_panels
from assay.tasks.verification.grammar import parse_motions, parse_theta
from assay.tasks.verification.kept import kept_record
from assay.tasks.verification.network import PiecewiseNetwork, read_network
from assay.tasks.verification.nodes import UnsupportedLayerError
from assay.tasks.verification.perturbations import Theta
from assay.tasks.verification.problem import ProofQuestion
from assay.tasks.verification.spec import VerificationSpec, property_name
from assay.tasks.verification.verify import PropertyFinding, Verification, verify

SHOWN_IMAGES = 2  # how many images of a task get pictures


def check_perturbations(spec: VerificationSpec) -> None:
    """Before any work, refuse perturbations that cannot be read or combined.

    Raises:
        UserError: which one, and how it is written.
    """
    for combination in spec.combinations:
        if spec.verifier == "exact":
            parse_theta(combination)
        else:
            parse_motions(combination)


def check_pictures(spec: VerificationSpec, input_shape: tuple[int, int, int]) -> None:
    """Refuse ranges that leave the network's pictures of (channels, height, width).

    Raises:
        UserError: which one.
    """
    for combination in spec.combinations:
        parse_motions(combination).check(input_shape)


@lru_cache(maxsize=2)
def exact_network(model: LoadedModel) -> PiecewiseNetwork:
    """The model's network in float64, its normalisation folded in.

    Raises:
        NotApplicableError: a node of its graph is not read as piecewise linear, or one too many; names it.
    """
    try:
        return read_network(with_normalisation_as_layer(model.module), model.info.input_shape)
    except UnsupportedLayerError as error:
        raise NotApplicableError(str(error)) from error


def spec_of_one(
    perturbations: Sequence[str],
    delta: float,
    labels: str | None,
    timeout_s: float,
    *,
    verifier: str = "exact",
    saliency: str = "gradient",
    grid: int | None = None,
) -> VerificationSpec:
    """A question about one image as a spec, so that one set of checks serves both.

    Args:
        perturbations: that change together.
        delta: threshold of the attention inconsistency.
        labels: whose maps count; None: all of them where it is proved, the predicted one's where it is searched.
        timeout_s: seconds for a proof.
        verifier: ``exact``, ``search`` or ``auto``.
        saliency: the heat map that the search compares.
        grid: points per parameter that the search looks at first; None: the spec's own default.

    Raises:
        UserError: what is wrong, as in a spec's file.
    """
    document = {
        "schema": 1,
        "family": "verification",
        "title": "one image",
        "data": "one image",
        "combinations": [list(perturbations)],
        "deltas": [delta],
        "labels": labels or ("all" if verifier == "exact" else "predicted"),
        "timeout_s": timeout_s,
        "verifier": verifier,
        "saliency": saliency,
        **({} if grid is None else {"search": {"grid": grid}}),
    }
    return validate(VerificationSpec, document, "assay verify")


def question(spec: VerificationSpec, combination: Sequence[str], seed: int) -> ProofQuestion:
    """What the spec asks of one image."""
    return ProofQuestion(
        theta=parse_theta(combination),
        labels=spec.labels,
        deltas=spec.deltas,
        timeout_s=spec.timeout_s,
        seed=seed % 2**31,
    )


def evaluate(
    spec: VerificationSpec, model: LoadedModel, data: Dataset, units: Sequence[Unit], context: RunContext
) -> Iterator[Record]:
    """One record per unit, in order."""
    network = exact_network(model)
    for unit in units:
        verified = partial(_verified, spec, model, network, data, unit, context)
        yield kept_record(context.savepoints, unit.id, verified)
        context.advance(1)


def _verified(
    spec: VerificationSpec,
    model: LoadedModel,
    network: PiecewiseNetwork,
    data: Dataset,
    unit: Unit,
    context: RunContext,
) -> Record:
    sample, combination = unit.payload
    asked = question(spec, spec.combinations[combination], context.seed(unit.id))
    image = context.loader.batch([LoadedPicture(model, data, sample)], "cpu")[0].double()
    found = verify(network, image, asked)
    shown = sample in data.samples[:SHOWN_IMAGES]
    files = pictures(found, network, image, asked) if shown else {}
    named = {f"{path_safe(unit.id)}/{name}": content for name, content in files.items()}
    return Record(unit.id, describe(found, sample, spec.names[combination]), files=named)


def pictures(
    found: Verification, network: PiecewiseNetwork, image: Tensor, asked: ProofQuestion
) -> dict[str, bytes]:
    """The paper's Fig. 1 to 3 of one image, as PNG by name; none where no cell was listed."""
    if found.table is None:
        return {}
    theta = asked.theta
    drawn = {"saliency.png": _png(saliency_panels, network, image, theta, _chosen(found, theta))}
    drawn["ray.png"] = _png(ray, network, image, asked, found.label)
    if theta.dimension > 1:
        drawn["regions.png"] = _png(region_map, found, theta, image)
    return drawn


def _chosen(found: Verification, theta: Theta) -> list[Tensor]:
    """The unperturbed image, the middle of the range, and where the attention is most inconsistent."""
    assert found.theta_sup is not None
    return [theta.lower, (theta.lower + theta.upper) / 2, found.theta_sup]


def _png(draw: Callable[..., None], *arguments: Any) -> bytes:
    buffer = io.BytesIO()
    draw(*arguments, buffer)
    return buffer.getvalue()


def path_safe(name: str) -> str:
    """A unit's id as a folder's name."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", name)


def describe(found: Verification, sample: Sample, name: str) -> dict[str, Any]:
    """A verification as plain values."""
    return {
        "image": sample.unit_id,
        "label": sample.label,
        "predicted": found.label,
        "perturbation": name,
        "sup_ai": found.sup_ai,
        "theta_sup": _plain_point(found.theta_sup),
        "min_margin": found.min_margin,
        "theta_min": _plain_point(found.theta_min),
        "cells": found.cells,
        "covered": found.covered,
        "complete": found.complete,
        "audit_missed": found.audit_missed,
        "seconds": round(found.seconds, 4),
        "satisfies_cr_not_ar": _cr_but_not_ar(found),
        "relative": asdict(found.relative),
        "properties": {property_name(part.delta): _finding(found, part) for part in found.findings},
        **({"above_sup": found.above_sup} if found.above_sup else {}),  # max pooling alone has any
    }


def _finding(found: Verification, part: PropertyFinding) -> dict[str, Any]:
    witness = found.margin_witness if part.delta is None else found.ai_witness
    component = part.component
    return {
        "verdict": part.verdict,
        "satisfied": part.satisfied,
        "violated": part.violated,
        "partial": part.partial,
        "witness": None if witness is None else {"theta": witness.theta.tolist(), "value": witness.value},
        "connected_share": None if component is None else component.share,
        "farthest": None if component is None else _plain_point(component.farthest),
    }


def _cr_but_not_ar(found: Verification) -> float:
    """Share of Theta in cells that keep the label throughout and violate AR, at the largest delta, somewhere."""
    if found.table is None:
        return 0.0
    largest = max(part.delta for part in found.findings if part.delta is not None)
    gap = found.table.satisfied(None) & ~found.table.satisfied(largest)
    return float(found.table.volumes[gap].sum() / found.table.volumes.sum())


def _plain_point(point: Tensor | None) -> list[float] | None:
    return None if point is None else point.tolist()
