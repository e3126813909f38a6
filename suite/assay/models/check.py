"""Whether what a network returned can be logits."""

from torch import Tensor

from assay.errors import UserError


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
