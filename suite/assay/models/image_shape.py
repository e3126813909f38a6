"""Reads from the shape of a network's input which pictures it takes (no torch)."""

from assay.common.errors import UserError
from assay.models.info import Layout

Shape = tuple[int, int, int]
"""Channels, height, width."""

_CHANNELS = (1, 3)


def image_shape(
    shape: tuple[int, ...], layout: Layout | None, where: str, card: str | None = None
) -> tuple[Shape, Layout]:
    """(channels, height, width) and the layout of an input (without the batch).

    Args:
        shape: three sizes.
        layout: as the user says; None where the shape alone is to tell.
        where: of the network, for messages.
        card: that says the layout, for messages; None where the network has none.

    Raises:
        UserError: it is no image, the layout contradicts it, or it fits both layouts and none is given.
    """
    shown = f"(N, {', '.join(map(str, shape))})"
    fitting: list[Layout] = []
    if len(shape) == 3:
        fitting = [name for name, channels in _ends(shape) if channels in _CHANNELS]
    if not fitting:
        raise UserError(
            f"{where}: its input {shown} is no image of 1 or 3 channels; load it by a factory of your own"
        )
    if layout is None and len(fitting) > 1:
        raise UserError(
            f"{where}: its input {shown} may be channels first or last; say `layout: nchw` or `layout: nhwc` in the "
            "card's `input`"
        )
    chosen = layout or fitting[0]
    if chosen not in fitting:
        raise UserError(
            f"{card or where}: `layout` {chosen} contradicts the network's input {shown}, which is {fitting[0]}; "
            "correct it"
        )
    first, second, third = shape
    return ((first, second, third) if chosen == "nchw" else (third, first, second)), chosen


def _ends(shape: tuple[int, ...]) -> tuple[tuple[Layout, int], tuple[Layout, int]]:
    return ("nchw", shape[0]), ("nhwc", shape[-1])
