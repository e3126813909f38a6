"""Finds the logits in what a network returns, once when it is loaded, and takes them at every pass."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from assay.models.check import LogitsShapeError, ask
from assay.models.info import PLAIN_OUTPUT, OutputChoice

Step = int | str
"""A place in a sequence, the key of a mapping, or the name of an attribute."""

_DEEPEST = 3
_NAMED = "logits"
IMAGES = 2
"""Images in a probing batch: some networks refuse a single one."""


class Logits(nn.Module):
    """Returns the logits of a network that returns them inside something else.

    Its layers have the names that they have in ``net``, after ``net.``; a spec may leave that out.
    """

    def __init__(self, net: nn.Module, steps: tuple[Step, ...], kept: tuple[int, ...] | None) -> None:
        """Wraps ``net``.

        Args:
            net: returns anything.
            steps: from what it returns to the tensor; none where it returns the tensor.
            kept: places of the logits that are classes; None for all.
        """
        super().__init__()
        self.net = net
        self.steps = steps
        self.kept = kept

    def forward(self, pixels: Tensor) -> Tensor:
        """pixels: as the network takes them; returns logits (N, classes)."""
        output = self.net(pixels)
        for step in self.steps:
            output = _part(output, step)
        logits: Tensor = output if self.kept is None else output[:, self.kept]
        return logits


@dataclass(frozen=True)
class OutputReading:
    """How a network's output is read.

    Attributes:
        steps: from the output to the tensor.
        kept: places of the logits that are classes; None for all.
        num_classes: how many are kept.
        notes: what a reader must know of it, a sentence each.
    """

    steps: tuple[Step, ...]
    kept: tuple[int, ...] | None
    num_classes: int
    notes: tuple[str, ...]

    @property
    def returns_logits(self) -> bool:
        """Whether the network itself returns the logits."""
        return not self.steps and self.kept is None

    def of(self, net: nn.Module) -> nn.Module:
        """The network, made to return logits; unchanged where it does so already."""
        return net if self.returns_logits else Logits(net, self.steps, self.kept)


def read_output(
    net: nn.Module,
    images: Tensor,
    name: str,
    choice: OutputChoice = PLAIN_OUTPUT,
    num_classes: int | None = None,
) -> OutputReading:
    """Where the logits are in what a network returns.

    They are the tensor that is chosen; else what is called ``logits``; else the only tensor of (images, classes), or
    the only one that has the stated number of classes.

    Args:
        net: is run once.
        images: (2, C, H, W).
        name: of the network, for messages.
        choice: what the user says of the output.
        num_classes: as the user states it, dropped logits not counted; None where it is not stated.

    Raises:
        UserError: the network fails; its words are quoted.
        LogitsShapeError: it returns no logits, several tensors that could be logits, or fewer logits than must be
            dropped.
    """
    output = ask(net, images, name)
    said = None if num_classes is None else num_classes + len(choice.drop)
    steps = _found(output, name, said) if choice.tensor is None else _chosen(output, choice.tensor, name)
    logits = output
    for step in steps:
        logits = _part(logits, step)
    if not _is_logits(logits, len(images)):
        raise LogitsShapeError(
            f"{name}: {_shown(output, steps)} is {_described(logits)} for {len(images)} images where logits (images, "
            "classes) were expected; correct the network, or say by `output: {tensor: …}` which of its outputs they are"
        )
    count = logits.shape[1]
    kept = _kept(count, choice.drop, name)
    notes = [f"logits are {_shown(output, steps)} of {_with_article(type(output).__name__)}"] if steps else []
    if kept is not None:
        dropped = ", ".join(map(str, sorted(choice.drop)))
        notes.append(f"of {count} logits those at {dropped} are dropped")
    return OutputReading(steps, kept, count if kept is None else len(kept), tuple(notes))


def _kept(count: int, drop: tuple[int, ...], name: str) -> tuple[int, ...] | None:
    if not drop:
        return None
    if max(drop) >= count or count - len(drop) < 1:
        raise LogitsShapeError(
            f"{name}: `output.drop` names the logits {', '.join(map(str, drop))} of a network that returns {count}; "
            "correct it"
        )
    return tuple(place for place in range(count) if place not in drop)


def _found(output: object, name: str, said: int | None) -> tuple[Step, ...]:
    """The way to the logits where the user chose none; ``said`` is their stated number, dropped ones counted."""
    if isinstance(output, Tensor):
        return ()
    leaves = dict(_leaves(output))
    named = [steps for steps in leaves if steps[-1] == _NAMED]
    if len(named) == 1:
        return named[0]
    fitting = [steps for steps, value in leaves.items() if _is_logits(value, IMAGES) and value.shape[1] > 1]
    # The stated number of classes decides only if it leaves something.
    if len(fitting) > 1:
        fitting = [steps for steps in fitting if leaves[steps].shape[1] == said] or fitting
    if len(fitting) == 1:
        return fitting[0]
    kind = _with_article(type(output).__name__)
    if fitting:
        shown = " and ".join(f"{_shown(output, steps)} {tuple(leaves[steps].shape)}" for steps in fitting)
        raise LogitsShapeError(
            f"{name}: returns {kind} in which several tensors can be the logits, {shown}; say which by "
            f"`output: {{tensor: {fitting[0][0]}}}`"
        )
    held = ", ".join(f"{_shown(output, steps)} {_described(value)}" for steps, value in leaves.items())
    raise LogitsShapeError(
        f"{name}: returns {kind}, in which no tensor is logits (images, classes)"
        f"{f': {held}' if held else ''}; return them"
    )


def _chosen(output: object, tensor: Step, name: str) -> tuple[Step, ...]:
    """The way to the tensor that the user chose, by its place or its name."""
    if isinstance(output, Tensor) and tensor == 0:
        return ()
    parts = _parts(output)
    if tensor in parts:
        return (tensor,)
    if isinstance(tensor, int) and tensor < len(parts):
        return (list(parts)[tensor],)
    held = ", ".join(map(str, parts)) or "none"
    raise LogitsShapeError(
        f"{name}: `output.tensor` is {tensor!r}, but the network returns {_with_article(type(output).__name__)} "
        f"with the parts {held}; correct it"
    )


def _leaves(output: object, steps: tuple[Step, ...] = ()) -> Iterator[tuple[tuple[Step, ...], Any]]:
    """Every tensor inside an output, and what is called logits, with the way to it."""
    for step, part in _parts(output).items():
        way = (*steps, step)
        if isinstance(part, Tensor):
            yield way, part
        elif len(way) < _DEEPEST:
            yield from _leaves(part, way)


def _parts(output: object) -> dict[Step, Any]:
    """What a mapping, a sequence or an object holds, by key, place or attribute."""
    if isinstance(output, Tensor | str | bytes | nn.Module) or output is None:
        return {}
    if isinstance(output, Mapping):
        return {key: value for key, value in output.items() if isinstance(key, int | str)}
    if isinstance(output, tuple) and hasattr(output, "_fields"):
        return dict(zip(output._fields, output, strict=True))
    if isinstance(output, list | tuple):
        return dict(enumerate(output))
    attributes = dict(getattr(output, "__dict__", {}))
    for slot in getattr(type(output), "__slots__", ()):
        attributes[slot] = getattr(output, slot, None)
    if hasattr(output, _NAMED):
        attributes[_NAMED] = getattr(output, _NAMED)
    return {key: value for key, value in attributes.items() if not key.startswith("_")}


def _part(output: Any, step: Step) -> Any:
    """One step into an output."""
    if isinstance(output, Mapping) or isinstance(step, int):
        return output[step]
    return getattr(output, step)


def _shown(output: object, steps: tuple[Step, ...]) -> str:
    """The way as Python writes it."""
    words = "output"
    for step in steps:
        keyed = isinstance(output, Mapping) or isinstance(step, int)
        words += f"[{step!r}]" if keyed else f".{step}"
        output = _part(output, step)
    return words


def _is_logits(value: object, images: int) -> bool:
    return isinstance(value, Tensor) and value.ndim == 2 and len(value) == images


def _described(value: object) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    return _with_article(type(value).__name__)


def _with_article(noun: str) -> str:
    return f"{'an' if noun[:1].lower() in 'aeio' else 'a'} {noun}"
