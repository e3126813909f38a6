"""How a method's code is found: functions registered under the method's declared name."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from assay.attacks.methods import Method
from assay.attacks.observe import Model, Observation, observe
from assay.attacks.rows import Inputs, Live, Memory
from assay.attacks.settings import AttackSettings

Start = Callable[[Inputs, AttackSettings], tuple[Tensor, Memory]]
"""First iterates (a new tensor) and the memory that goes with them."""
Advance = Callable[[Live, Observation, AttackSettings], None]
"""Moves `live.adversarial` (and `live.memory`), in place, to the next iterates."""
Judged = Callable[[Live, Tensor, AttackSettings], None]
"""Moves iterates, in place, by what the model has just said of them: (n,) bool, which are misclassified."""


class Look(Protocol):
    """How a method looks at the model; most climb the loss of their settings, as `observe` sees it."""

    def __call__(
        self,
        model: Model,
        adversarial: Tensor,
        inputs: Inputs,
        settings: AttackSettings,
        *,
        gradient: bool,
        needed: Callable[[Tensor], bool] = ...,
    ) -> Observation:
        """See `observe`."""


@dataclass(frozen=True)
class Implementation:
    """The functions that make a method.

    Attributes:
        start: The first start.
        advance: One step.
        restart: The starts after the first, where they differ.
        look: How the model is asked.
        step_back: Called before a step where iterates are misclassified that have not fallen; all are then looked at
            once more. For methods that leave the ball.
        end: Called with the last iterates, which are then judged once more.
    """

    start: Start
    advance: Advance
    restart: Start | None = None
    look: Look = observe
    step_back: Judged | None = None
    end: Judged | None = None


_IMPLEMENTATIONS: dict[str, Implementation] = {}


def implements(
    name: str,
    *,
    start: Start,
    restart: Start | None = None,
    look: Look = observe,
    step_back: Judged | None = None,
    end: Judged | None = None,
) -> Callable[[Advance], Advance]:
    """Register the decorated function as the step of the method `name`, with its other parts."""

    def register(advance: Advance) -> Advance:
        _IMPLEMENTATIONS[name] = Implementation(start, advance, restart, look, step_back, end)
        return advance

    return register


def implementation_of(method: Method) -> Implementation:
    """The method's functions; its module is imported at first use."""
    importlib.import_module(method.module)
    return _IMPLEMENTATIONS[method.name]
