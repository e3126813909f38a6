"""Which verifier ``auto`` takes: one for all images of a job, by the network and the first image alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from assay.common.errors import UserError
from assay.data.dataset import Dataset
from assay.models.loaded import LoadedModel
from assay.tasks.base import NotApplicableError
from assay.tasks.verification.cells import product_cell
from assay.tasks.verification.evaluate import exact_network
from assay.tasks.verification.grammar import parse_theta
from assay.tasks.verification.network import PiecewiseNetwork
from assay.tasks.verification.perturbations import Theta
from assay.tasks.verification.problem import with_clamp
from assay.tasks.verification.spec import AUTO_CELLS, AUTO_RELUS, VerificationSpec
from assay.tasks.verification.subdivide import subdivide


class Chooser:
    """Remembers the answer for the job at hand: all its chunks ask."""

    def __init__(self) -> None:
        self._known: tuple[tuple[VerificationSpec, LoadedModel, str], bool] | None = None

    def takes_exact(self, spec: VerificationSpec, model: LoadedModel, data: Dataset) -> bool:
        """Whether the exact verifier takes the job."""
        if spec.verifier != "auto":
            return spec.verifier == "exact"
        asked = (spec, model, data.sha256)
        if self._known is None or self._known[0] != asked:
            image = model.prepare(data.image(data.samples[0]))
            self._known = (asked, within_budget(model, image, spec.combinations))
        return self._known[1]


def within_budget(model: LoadedModel, image: Tensor, combinations: Sequence[Sequence[str]]) -> bool:
    """Whether the exact verifier takes network and perturbations, and lists no more cells than :data:`AUTO_CELLS`.

    Args:
        model: any.
        image: (C, H, W).
        combinations: of perturbations, as texts.
    """
    try:
        ranges = [parse_theta(combination) for combination in combinations]
        network = exact_network(model)
    except (NotApplicableError, UserError):
        return False
    return network.neurons <= AUTO_RELUS and all(
        cells_are_few(network, image.double(), theta, AUTO_CELLS) for theta in ranges
    )


def cells_are_few(network: PiecewiseNetwork, image: Tensor, theta: Theta, most: int) -> bool:
    """Whether the image has at most this many activation cells; stops counting when there are more."""
    layers = with_clamp(network) if theta.clamp else network.layers
    count = 0
    for piece in theta.pieces:
        cell = product_cell([part.corners for part in piece.parts])
        forms = piece.image_forms(image).flatten(1)[None]
        for leaves in subdivide(layers, cell, forms, math.inf):
            count += len(leaves.cells)
            if count > most:
                return False
    return True


chooser = Chooser()
