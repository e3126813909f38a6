"""How a method's code is found: functions registered under the method's declared name."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from assay.attacks.methods import Method
from assay.attacks.observe import Observation
from assay.attacks.rows import Inputs, Live, Memory
from assay.attacks.settings import AttackSettings

Start = Callable[[Inputs, AttackSettings], tuple[Tensor, Memory]]
"""First iterates (a new tensor) and the memory that goes with them."""
Advance = Callable[[Live, Observation, AttackSettings], None]
"""Moves `live.adversarial` (and `live.memory`), in place, to the next iterates."""


@dataclass(frozen=True)
class Implementation:
    """The two functions that make a method."""

    start: Start
    advance: Advance


_IMPLEMENTATIONS: dict[str, Implementation] = {}


def implements(name: str, *, start: Start) -> Callable[[Advance], Advance]:
    """Register the decorated function as the step of the method `name`, which begins with `start`."""

    def register(advance: Advance) -> Advance:
        _IMPLEMENTATIONS[name] = Implementation(start, advance)
        return advance

    return register


def implementation_of(method: Method) -> Implementation:
    """The method's functions; its module is imported at first use."""
    importlib.import_module(method.module)
    return _IMPLEMENTATIONS[method.name]
