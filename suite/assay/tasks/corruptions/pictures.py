"""A corrupted picture as a network reads it, made by the loader and so ahead of time."""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from assay.data.corrupting.level import Level, corrupted
from assay.data.pixels import Pixels
from assay.tasks.shared.loading import LoadedPicture

if TYPE_CHECKING:
    from torch import Tensor

_KEPT = 8  # pictures at a network's size: all corruptions of one begin with it


@dataclass(frozen=True)
class CorruptedPicture(LoadedPicture):
    """One image of a data set at a network's size, then corrupted: ImageNet-C too crops before it corrupts.

    The seed has no part of the model, so that models of one size meet the same pictures.
    """

    level: Level

    @property
    def key(self) -> Hashable:
        """See :class:`assay.tasks.shared.loading.LoadedPicture`."""
        return super().key, self.level

    def load(self) -> "Tensor":
        """See :class:`assay.tasks.shared.loading.LoadedPicture`."""
        import torch

        pixels = corrupted(_LATEST.of(self), self.level, self.sample.unit_id)
        return torch.from_numpy(pixels.transpose(2, 0, 1).astype(np.float32)) / 255


class _Latest:
    """The pictures that were last brought to a network's size; used by several threads."""

    def __init__(self) -> None:
        self._found: OrderedDict[Hashable, Pixels] = OrderedDict()
        self._lock = Lock()

    def of(self, picture: LoadedPicture) -> Pixels:
        """(H, W, C) uint8, not to be written into."""
        from assay.models.pictures import prepared

        key = LoadedPicture(picture.model, picture.data, picture.sample).key
        with self._lock:
            if key in self._found:
                return self._found[key]
        info = picture.model.info
        pixels = prepared(picture.data.image(picture.sample), info.preprocessing, info.name).transpose(
            1, 2, 0
        )
        pixels = np.ascontiguousarray(pixels)
        pixels.flags.writeable = False
        with self._lock:
            self._found[key] = pixels
            if len(self._found) > _KEPT:
                self._found.popitem(last=False)
        return pixels


_LATEST = _Latest()
