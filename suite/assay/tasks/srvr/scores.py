"""f_z(u): a network's probability of a shape's class at points of the semantic space, and its slopes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from assay.tasks.srvr.arrays import FloatArray, IntArray
from assay.tasks.srvr.camera import camera, place
from assay.tasks.srvr.gradient import render_points
from assay.tasks.srvr.render import DEFAULT_SETTINGS, Draw, RenderSettings, Surface, render, render_shapes

Network = Callable[[Tensor], Tensor]
"""Images (N, 3, S, S) in [0, 1] to logits (N, classes); in eval mode."""


@dataclass(frozen=True)
class NetworkScores:
    """The score function of region searches on the network itself; search i sees ``shape_of_search[i]``.

    Attributes:
        network: to study.
        surfaces: K shapes.
        class_index: K indices into the network's logits.
        names: the n semantic parameters.
        shape_of_search: the shape of each search.
        settings: of the renders; their size is the network's input.
        batch_size: images per forward pass.
        draw: the renderer.
    """

    network: Network
    surfaces: Sequence[Surface]
    class_index: Sequence[int]
    names: Sequence[str]
    shape_of_search: Sequence[int]
    settings: RenderSettings = DEFAULT_SETTINGS
    batch_size: int = 16
    draw: Draw = render

    def __call__(self, searches: IntArray, points: FloatArray) -> FloatArray:
        """Scores (B, K) of the given searches (B,) at points (B, K, n)."""
        shapes, flat = self._flatten(searches, points)
        scores = []
        with torch.inference_mode():
            for start in range(0, len(flat), self.batch_size):
                some = slice(start, start + self.batch_size)
                cameras = camera(place(self.names, flat[some]))
                images = render_shapes(self.surfaces, shapes[some], cameras, self.settings, self.draw)
                scores.append(self._probabilities(images, shapes[some]).cpu())
        return torch.cat(scores).to(torch.float64).numpy().reshape(points.shape[:2])

    def gradient(self, searches: IntArray, points: FloatArray) -> FloatArray:
        """Slopes (B, K, n) by autograd through the network and the edges of the image.

        A network reacts to single pixels more than to the shape's turning, so these slopes follow those over
        half a degree poorly; central differences are the better default.
        """
        shapes, flat = self._flatten(searches, points)
        slopes = []
        for shape, point in zip(shapes, flat, strict=True):
            values = point[None].clone().requires_grad_(True)
            images = render_points(self.surfaces[shape], self.names, values, self.settings)
            score = self._probabilities(images, [shape]).sum()
            slopes.append(torch.autograd.grad(score, values)[0][0])
        return torch.stack(slopes).numpy().reshape(points.shape)

    def _flatten(self, searches: IntArray, points: FloatArray) -> tuple[list[int], Tensor]:
        """The shape and the coordinates of each point: B * K of them."""
        shapes = np.repeat(np.asarray(self.shape_of_search)[searches], points.shape[1])
        return shapes.tolist(), torch.from_numpy(points.reshape(-1, points.shape[2]))

    def _probabilities(self, images: Tensor, shapes: Sequence[int]) -> Tensor:
        """The probability of each image's own class, (N,)."""
        classes = torch.tensor([self.class_index[shape] for shape in shapes], device=images.device)
        return self.network(images).softmax(1).gather(1, classes[:, None])[:, 0]
