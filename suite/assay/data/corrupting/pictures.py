"""Pictures of a corrupted data set."""

from collections.abc import Sequence

from PIL import Image

from assay.common.errors import UserError
from assay.data.corrupting.corruption import Corruption, resized, working_size
from assay.data.corrupting.level import Level, corrupted, unfit
from assay.data.corrupting.names import Settings
from assay.data.layouts.base import Mask
from assay.data.pixels import ImageError, Pixels


def settled(corruption: Corruption, pictures: Sequence[Pixels], data_name: str) -> Corruption:
    """The corruption with its settings, once they are found to fit some pictures of a data set.

    Raises:
        UserError: one of them is refused (:func:`assay.data.corrupting.level.unfit`).
    """
    # One set of constants for all pictures: the small ones' if none of the three is large.
    chosen = {corruption.settings_for(picture.shape) for picture in pictures}
    settings: Settings = "cifar-10-c" if chosen == {"cifar-10-c"} else "imagenet-c"
    known = corruption.model_copy(update={"settings": settings})
    for picture in pictures:
        reason = _refused(picture, known, f"data set {data_name} has")
        if reason is not None:
            raise UserError(f"corruption: {reason}")
    return known


def corrupted_picture(picture: Pixels, corruption: Corruption, unit_id: str, where: str) -> Pixels:
    """One picture, brought to the size that the corruption is meant for and then corrupted.

    Args:
        picture: (H, W, C) uint8.
        corruption: what is done to it.
        unit_id: of the picture in its data set; what is random depends on it.
        where: of the picture, for messages.

    Raises:
        ImageError: it is refused (:func:`assay.data.corrupting.level.unfit`).
    """
    settings = corruption.settings_for(picture.shape)
    reason = _refused(picture, corruption, "it has")
    if reason is not None:
        raise ImageError(f"{where}: {reason}")
    level = Level(corruption.kind, corruption.severity, settings, corruption.seed)
    size = working_size(picture.shape, settings)
    return corrupted(resized(picture, size, Image.Resampling.BILINEAR), level, unit_id)


def mask_of_corrupted(mask: Mask, corruption: Corruption) -> Mask:
    """A mask (H, W) at the size of its picture, once that is corrupted."""
    size = working_size(mask.shape, corruption.settings_for(mask.shape))
    return resized(mask, size, Image.Resampling.NEAREST)


def _refused(picture: Pixels, corruption: Corruption, subject: str) -> str | None:
    settings = corruption.settings_for(picture.shape)
    shape = (*working_size(picture.shape, settings), picture.shape[2])
    return unfit(corruption.kind, settings, shape, subject)
