"""Checks of a whole verification against the network itself: patterns, ai and margins at points of the range."""

import numpy as np
import pytest
import torch
from scipy.spatial import ConvexHull
from torch import nn
from verification_oracles import autograd_ai, grid

from assay.tasks.verification.cells import Cells
from assay.tasks.verification.grammar import parse_theta
from assay.tasks.verification.network import read_network
from assay.tasks.verification.problem import ProofQuestion
from assay.tasks.verification.subdivide import pattern_keys
from assay.tasks.verification.verify import verify


def random_points(theta, count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    spread = torch.rand(count, theta.dimension, generator=generator, dtype=torch.float64)
    return theta.lower + spread * (theta.upper - theta.lower)


def module_keys(module, images):
    """Hashes of the patterns that the torch module itself shows at its ReLUs (no max pooling), one image at a time."""
    shown = []
    handles = [
        step.register_forward_hook(lambda _, __, out: shown.append((out > 0).flatten(1)))
        for step in module.modules()
        if isinstance(step, nn.ReLU)
    ]
    for image in images:  # a graph read from ONNX may have its batch size fixed at one
        module(image[None])
    keys = torch.zeros(len(images), dtype=torch.int64)
    for depth in range(len(handles)):
        on = torch.cat(shown[depth :: len(handles)])
        keys += pattern_keys(on, torch.ones(on.shape[1], dtype=torch.bool), depth)
    for handle in handles:
        handle.remove()
    return keys


def contains(cells: Cells, i, point, slack=1e-9):
    points = cells.points[i, : int(cells.count[i])].numpy()
    if cells.dimension == 1:
        return points.min() - slack <= point[0] <= points.max() + slack
    if cells.dimension == 2:
        edges = np.roll(points, -1, 0) - points
        turns = edges[:, 0] * (point[1] - points[:, 1]) - edges[:, 1] * (point[0] - points[:, 0])
        return (turns >= -slack).all() or (turns <= slack).all()
    equations = ConvexHull(points, qhull_options="QJ").equations
    return (equations[:, :3] @ point + equations[:, 3] <= 1e-6).all()


def check_patterns(module, image, theta, result, count):
    """Random points: their pattern, as torch shows it, is listed once, in a cell that holds them."""
    points = random_points(theta, count)
    values = [autograd_ai(module, theta, image, point, range(10)) for point in points[:100]]
    images = torch.stack([theta.apply(image, point) for point in points])
    index = {}
    for row, (piece, key) in enumerate(
        zip(result.table.piece.tolist(), result.table.keys.tolist(), strict=True)
    ):
        assert (piece, key) not in index, "a pattern is listed twice"
        index[piece, key] = row
    for number, (point, key) in enumerate(zip(points, module_keys(module, images).tolist(), strict=True)):
        row = index.get((theta.pieces.index(theta.pieces_of(point[None])[0]), key))
        assert row is not None, f"the pattern at {point.tolist()} is not listed"
        assert contains(result.table.cells, row, point.numpy())
        if number < len(values):
            low, high = float(result.table.ai_min[row]), float(result.table.ai_max[row])
            assert low - 1e-9 <= values[number] <= high + 1e-9


def check_values(module, image, theta, result, side):
    """No grid point exceeds sup ai or falls below the smallest margin."""
    labels, margin = range(10), lambda logits: logits[result.label] - np.delete(logits, result.label).max()
    for point in grid(theta, side):
        assert autograd_ai(module, theta, image, point, labels) <= result.sup_ai + 1e-9
        logits = module(theta.apply(image, point)[None])[0].detach().numpy()
        assert margin(logits) >= result.min_margin - 1e-9
    assert autograd_ai(module, theta, image, result.ai_witness.theta, labels) == pytest.approx(
        result.sup_ai, rel=1e-4
    )


def check_all(module, image, texts, count=400, side=6):
    theta = parse_theta(texts)
    result = verify(read_network(module, tuple(image.shape)), image, ProofQuestion(theta, deltas=(1e-3,)))
    assert result.complete
    assert result.covered == pytest.approx(1, abs=1e-12)
    if not theta.clamp:
        check_patterns(module, image, theta, result, count)
    check_values(module, image, theta, result, side)
    return result
