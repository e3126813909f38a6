"""How a method's code is found: functions registered for the method's model."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from torch import Tensor

from assay.attacks.images import AttackedImages, LiveImages, Memory
from assay.attacks.observe import observe
from assay.attacks.settings import AttackSettings

MethodT = TypeVar("MethodT", bound=AttackSettings)
Start = Callable[[AttackedImages, MethodT], tuple[Tensor, Memory]]
"""First iterates (a new tensor) and the memory that goes with them."""
Advance = Callable[[LiveImages, MethodT], None]
"""Moves `live.adversarial` (and `live.memory`), in place, to the next iterates."""
Judged = Callable[[LiveImages, Tensor], None]
"""Moves iterates, in place, by what the model has just said of them: (n,) bool, which are misclassified."""


class Look(Protocol):
    """How a method looks at the model; most climb the loss of their attack, as `observe` sees it."""

    def __call__(
        self,
        live: LiveImages,
        attack: Any,
        *,
        gradient: bool,
        needed: Callable[[Tensor], bool] = ...,
    ) -> LiveImages:
        """See `observe`."""


@dataclass(frozen=True)
class Implementation:
    """The functions that make a method.

    Attributes:
        start: The first start.
        advance: One step.
        restart: The starts after the first, where they differ.
        look: How the model is asked.
        step_back: Called before a step if some iterates are misclassified but have not fallen; all are then looked at
            again. For methods that leave the ball.
        slope_per_class: Whether a look takes one backward pass per class, not one.
        end: Called with the last iterates, which are then judged once more.
    """

    start: Start[Any]
    advance: Advance[Any]
    restart: Start[Any] | None = None
    look: Look = observe
    step_back: Judged | None = None
    end: Judged | None = None
    slope_per_class: bool = False


_IMPLEMENTATIONS: dict[type[AttackSettings], Implementation] = {}


def implements(
    method: type[MethodT],
    *,
    start: Start[MethodT],
    restart: Start[MethodT] | None = None,
    look: Look = observe,
    step_back: Judged | None = None,
    end: Judged | None = None,
    slope_per_class: bool = False,
) -> Callable[[Advance[MethodT]], Advance[Any]]:
    """Register the decorated function as the step of a method, with its other parts."""

    def register(advance: Advance[MethodT]) -> Advance[Any]:
        _IMPLEMENTATIONS[method] = Implementation(
            start, advance, restart, look, step_back, end, slope_per_class
        )
        return advance

    return register


def implementation_of(attack: AttackSettings) -> Implementation:
    """The functions of an attack's method; their module is imported at first use."""
    importlib.import_module(attack.module)
    return _IMPLEMENTATIONS[type(attack)]
