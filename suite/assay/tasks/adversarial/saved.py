"""The adversarial images of an outcome as files, and what rounding to 8 bit makes of them."""

from fractions import Fraction

from torch import Tensor

from assay.attacks.losses import in_top
from assay.tasks.adversarial.block import Block, fresh_logits
from assay.tasks.adversarial.levels import Outcome
from assay.tasks.adversarial.names import png_name
from assay.tasks.adversarial.pixels import png_bytes, rounded


def correct_after_rounding(block: Block, outcome: Outcome) -> Tensor:
    """(N,) bool: whether the images are classified correctly once their pixels are 8-bit integers."""
    logits = fresh_logits(block.model, rounded(outcome.images), block.batch_size)
    return in_top(logits, block.labels, block.top_k)


def png_files(block: Block, series: str, eps: Fraction, outcome: Outcome) -> list[dict[str, bytes]]:
    """Each image's file by its name, for one attack at one radius."""
    return [
        {png_name(series, eps, unit_id): png_bytes(outcome.images[row])}
        for row, unit_id in enumerate(block.unit_ids)
    ]
