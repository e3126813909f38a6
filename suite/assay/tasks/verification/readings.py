"""What any network shows of perturbed images: attention inconsistency and margins, many rows in one pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from assay.common.savepoints import NONE, Savepoints
from assay.saliency.compute import channel_maps
from assay.saliency.settings import settings_of
from assay.tasks.verification.attention import Labels, counted_labels
from assay.tasks.verification.moves import Motions


def logits_and_maps(
    module: nn.Module, images: Tensor, labels: Tensor, saliency: str
) -> tuple[Tensor, Tensor]:
    """Logits `(N, classes)` and the heat maps of the labels `(N, L)`: `(N, L, C, H, W)`, C = 1 for Grad-CAM.

    The gradient of a logit that does not depend on the pixels is zero.
    """
    if saliency != "gradient":
        return _other_maps(module, images, labels, saliency)
    pixels = images.detach().requires_grad_()
    with torch.enable_grad():
        logits: Tensor = module(pixels)
        chosen = logits.gather(1, labels).sum(0)
    if not chosen.requires_grad:
        return logits, torch.zeros_like(images)[:, None].repeat(1, labels.shape[1], 1, 1, 1)
    last = len(chosen) - 1
    rows = [
        torch.autograd.grad(logit, pixels, retain_graph=k < last, allow_unused=True)[0]
        for k, logit in enumerate(chosen)
    ]
    return logits.detach(), torch.stack([torch.zeros_like(images) if row is None else row for row in rows], 1)


def _maps(module: nn.Module, images: Tensor, labels: Tensor, saliency: str) -> Tensor:
    return logits_and_maps(module, images, labels, saliency)[1]


def _other_maps(module: nn.Module, images: Tensor, labels: Tensor, saliency: str) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        logits: Tensor = module(images)
    repeated = images.repeat_interleave(labels.shape[1], 0)
    maps = channel_maps(module, repeated, labels.flatten(), settings_of(saliency, {}), len(repeated))
    maps = maps if maps.ndim == 4 else maps[:, None]
    return logits, maps.reshape(*labels.shape, *maps.shape[1:])


@dataclass(frozen=True, eq=False)
class UnchangedImages:
    """Images as they are, with all that is compared with.

    Attributes:
        module: the network, pixels in [0, 1] to logits, of the images' type and device.
        images: `(N, C, H, W)`.
        labels: `(N, L)` int64, whose maps count.
        label: `(N,)` int64, the predicted label, which CR asks to keep.
        maps: `(N, L, C, H, W)` the labels' heat maps.
        saliency: how heat maps are made.
        batch_size: images in one pass.
        savepoints: where what was seen is kept.
    """

    module: nn.Module
    images: Tensor
    labels: Tensor
    label: Tensor
    maps: Tensor
    saliency: str
    batch_size: int
    savepoints: Savepoints = NONE

    @staticmethod
    def of(
        module: nn.Module,
        images: Tensor,
        labels: Labels,
        saliency: str,
        batch_size: int,
        savepoints: Savepoints = NONE,
    ) -> UnchangedImages:
        """Look at images `(N, C, H, W)` of the module's type and device."""
        with torch.no_grad():
            logits = torch.cat([module(some) for some in torch.split(images, batch_size)])
        chosen, label = counted_labels(logits, labels), logits.argmax(1)
        return UnchangedImages.asked(module, images, chosen, label, saliency, batch_size, savepoints)

    @staticmethod
    def asked(
        module: nn.Module,
        images: Tensor,
        labels: Tensor,
        label: Tensor,
        saliency: str,
        batch_size: int,
        savepoints: Savepoints = NONE,
    ) -> UnchangedImages:
        """The same about labels that are given."""
        parts = zip(torch.split(images, batch_size), torch.split(labels, batch_size), strict=True)
        maps = torch.cat(
            [
                savepoints.step(f"maps {images.dtype}", partial(_maps, module, some, chosen, saliency))
                for some, chosen in parts
            ]
        )
        return UnchangedImages(module, images, labels, label, maps, saliency, batch_size, savepoints)

    @property
    def norms(self) -> Tensor:
        """`(N,)` sums over labels of the maps' norms."""
        norms: Tensor = torch.linalg.vector_norm(self.maps.flatten(2), dim=2).sum(1)
        return norms

    def some(self, rows: list[int]) -> UnchangedImages:
        """The same for some of the images."""
        index = torch.tensor(rows, device=self.images.device)
        return UnchangedImages(
            self.module, self.images[index], self.labels[index], self.label[index], self.maps[index],
            self.saliency, self.batch_size, self.savepoints,
        )  # fmt: skip

    def attention(self, motions: Motions, rows: Tensor, theta: Tensor) -> Tensor:
        """Inconsistency and margin of image `rows` `(R,)` at theta `(R, d)`: `(R, 2)` float64 on the host."""
        return self._in_passes("attention", partial(self._attention, motions), rows, theta)

    def margins(self, motions: Motions, rows: Tensor, theta: Tensor) -> Tensor:
        """Margins f_label - max of the others of image `rows` `(R,)` at theta `(R, d)`: `(R,)` float64 on the host."""
        return self._in_passes("margin", partial(self._margin, motions), rows, theta)

    def _in_passes(
        self, what: str, look: Callable[[Tensor, Tensor], Tensor], rows: Tensor, theta: Tensor
    ) -> Tensor:
        rows, theta = rows.to(self.images.device), theta.to(self.images)
        parts = zip(torch.split(rows, self.batch_size), torch.split(theta, self.batch_size), strict=True)
        seen = [self.savepoints.step(f"{what} {self.images.dtype}", partial(look, *some)) for some in parts]
        return torch.cat(seen).cpu().double()

    def _attention(self, motions: Motions, rows: Tensor, theta: Tensor) -> Tensor:
        moved = motions.apply(self.images[rows], theta)
        logits, actual = logits_and_maps(self.module, moved, self.labels[rows], self.saliency)
        change = actual - motions.expected(self.maps[rows], theta)
        inconsistency = torch.linalg.vector_norm(change.flatten(2), dim=2).sum(1)
        return torch.stack([inconsistency, margin_of(logits, self.label[rows])], 1)

    def _margin(self, motions: Motions, rows: Tensor, theta: Tensor) -> Tensor:
        with torch.no_grad():
            logits = self.module(motions.apply(self.images[rows], theta))
        return margin_of(logits, self.label[rows])


def margin_of(logits: Tensor, label: Tensor) -> Tensor:
    """f_label - max of the others: `(N, classes)` and `(N,)` to `(N,)`."""
    own = logits.gather(1, label[:, None])
    others = logits.scatter(1, label[:, None], -torch.inf)
    return own[:, 0] - others.amax(1)
