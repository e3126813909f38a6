"""Whether what a network returned can be logits."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from assay.common.errors import UserError

if TYPE_CHECKING:
    from assay.models.loaded import LoadedModel


_LONGEST = 300  # letters of somebody's exception that are quoted


_MOVES = {
    f"{name}Backward"
    for name in (
        "Alias", "AsStrided", "Cat", "Clone", "Expand", "Index", "IndexSelect", "Permute", "ReshapeAlias", "Select",
        "Slice", "Split", "SplitWithSizes", "Squeeze", "T", "ToCopy", "Transpose", "UnsafeView", "Unsqueeze", "View",
    )
}  # fmt: skip


class ForwardError(UserError):
    """A network fails on its input; ``words`` are its exception's own."""

    def __init__(self, said: str, words: str) -> None:
        super().__init__(said)
        self.words = words


class LogitsError(UserError):
    """A network's output is not what its card promises."""


class NonFiniteOutputError(LogitsError):
    """The output holds NaN or an infinity."""


class LogitsShapeError(LogitsError):
    """The output is not one row of ``num_classes`` logits per image."""


class LogitsCountError(LogitsShapeError):
    """The output has another number of logits than is stated; ``found`` is how many it has."""

    def __init__(self, said: str, found: int) -> None:
        super().__init__(said)
        self.found = found


def ask(net: Callable[[Tensor], Any], images: Tensor, name: str) -> Any:
    """What a network returns for some images, without gradients.

    Raises:
        ForwardError: it fails, or ends the program.
    """
    try:
        with torch.no_grad():
            return net(images)
    except (Exception, SystemExit) as error:  # a foreign forward may fail in any way
        shape = " x ".join(map(str, images.shape[1:]))
        words = quoted(error)
        raise ForwardError(
            f"{name}: the network fails on {len(images)} images of {shape} ({words}); mend it, or correct the size "
            "and the channels of its input",
            words,
        ) from error


def quoted(error: BaseException) -> str:
    """The type and the words of somebody's exception, in one line."""
    words = " ".join(str(error).split())[:_LONGEST]
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def check_logits(logits: Tensor, num_classes: int) -> None:
    """Refuses an output that cannot be scored.

    Args:
        logits: (N, num_classes).
        num_classes: as the model's card says.

    Raises:
        LogitsShapeError: another shape.
        NonFiniteLogitsError: NaN or an infinity; never counted as a misclassification.
    """
    check_type(logits)
    if logits.ndim != 2 or logits.shape[1] != num_classes:
        raise LogitsShapeError(
            f"the model returned {tuple(logits.shape)} where (images, {num_classes}) logits were expected; "
            "correct its number of classes"
        )
    finite = logits.isfinite().all(dim=1)
    if not bool(finite.all()):
        raise NonFiniteOutputError(
            f"the model returned NaN or infinite logits for {int((~finite).sum())} of {len(logits)} images; "
            "check its weights and its precision"
        )


def check_type(logits: object) -> None:
    """Refuses an output that is no tensor.

    Raises:
        LogitsShapeError: it is none; its type is named.
    """
    if not isinstance(logits, Tensor):
        raise LogitsShapeError(
            f"the model returned an object of type {type(logits).__name__} where a tensor (images, classes) of "
            "logits was expected; correct its output"
        )


def looks_like_probabilities(logits: Tensor, tolerance: float = 1e-4) -> bool:
    """Whether every row of ``logits`` (N, classes) lies in [0, 1] and sums to 1: a softmax at the end."""
    if len(logits) == 0:
        return False
    inside = bool(((logits >= -tolerance) & (logits <= 1 + tolerance)).all())
    return inside and bool(((logits.sum(dim=1) - 1).abs() <= tolerance).all())


def ends_in_sigmoid(net: Callable[[Tensor], Any], images: Tensor) -> bool:
    """Whether a network ends in a sigmoid; later steps that only move or choose values do not count.

    Read off the graph that PyTorch keeps for gradients, so of modules, functions, ONNX graphs and programs alike;
    False for a network that gives no gradient.
    """
    try:
        with torch.enable_grad():
            output = net(images.detach().clone().requires_grad_())
    except Exception:
        return False  # it has answered before; where gradients are needed, the refusal is reported there
    step = output.grad_fn if isinstance(output, Tensor) else None
    while step is not None and step.name().rstrip("0123456789") in _MOVES:
        step = next((before for before, _ in step.next_functions if before is not None), None)
    return step is not None and step.name().startswith("SigmoidBackward")


def probe(model: "LoadedModel", device: str) -> None:
    """One small pass before any work starts, so that a model that can't be scored is refused at once.

    Raises:
        UserError: the model fails; its words are quoted.
        LogitsError: the model returns NaN for every input, another shape than its card says, or probabilities.
    """
    images = torch.linspace(0, 1, 2 * math.prod(model.info.input_shape), device=device)
    images = images.reshape(2, *model.info.input_shape)
    logits = ask(model.module, images, model.info.name)
    check_type(logits)
    # One image may well be a unit's own error; a model that can do none is refused.
    finite = logits.isfinite().flatten(1).all(1)
    check_logits(logits[finite] if finite.any() else logits, model.info.num_classes)
    softmax = looks_like_probabilities(logits)
    if softmax or ends_in_sigmoid(model.module, images):
        raise LogitsError(
            f"the model {model.info.name} returns probabilities; attacks and margins need logits: "
            f"remove the final {'softmax' if softmax else 'sigmoid'}"
        )
