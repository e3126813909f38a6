"""Whether what a network returned can be logits."""

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from assay.errors import UserError

if TYPE_CHECKING:
    from assay.models.loaded import LoadedModel


class LogitsError(UserError):
    """A network's output is not what its card promises."""


class NonFiniteLogitsError(LogitsError):
    """The output holds NaN or an infinity."""


class LogitsShapeError(LogitsError):
    """The output is not one row of ``num_classes`` logits an image."""


def check_logits(logits: Tensor, num_classes: int) -> None:
    """Refuses an output that cannot be scored.

    Args:
        logits: (N, num_classes).
        num_classes: as the model's card says.

    Raises:
        LogitsShapeError: another shape.
        NonFiniteLogitsError: NaN or an infinity; never counted as a misclassification.
    """
    if logits.ndim != 2 or logits.shape[1] != num_classes:
        raise LogitsShapeError(
            f"the model returned {tuple(logits.shape)} where (images, {num_classes}) logits were expected; "
            "correct its number of classes"
        )
    finite = logits.isfinite().all(dim=1)
    if not bool(finite.all()):
        raise NonFiniteLogitsError(
            f"the model returned NaN or infinite logits for {int((~finite).sum())} of {len(logits)} images; "
            "check its weights and its precision"
        )


def looks_like_probabilities(logits: Tensor, tolerance: float = 1e-4) -> bool:
    """Whether every row of ``logits`` (N, classes) lies in [0, 1] and sums to 1: a softmax at the end."""
    if len(logits) == 0:
        return False
    inside = bool(((logits >= -tolerance) & (logits <= 1 + tolerance)).all())
    return inside and bool(((logits.sum(dim=1) - 1).abs() <= tolerance).all())


def probe(model: "LoadedModel", device: str) -> None:
    """One small pass before any work starts, so that a model that can't be scored is refused at once.

    Raises:
        LogitsError: the model returns NaN for every input, another shape than its card says, or probabilities.
    """
    images = torch.linspace(0, 1, 2 * math.prod(model.info.input_shape), device=device)
    with torch.no_grad():
        logits = model.module(images.reshape(2, *model.info.input_shape))
    # One image may well be a unit's own error; a model that can do none is refused.
    finite = logits.isfinite().flatten(1).all(1)
    check_logits(logits[finite] if finite.any() else logits, model.info.num_classes)
    if looks_like_probabilities(logits):
        raise LogitsError(
            f"the model {model.info.name} returns probabilities; attacks and margins need logits: "
            "remove the final softmax"
        )
