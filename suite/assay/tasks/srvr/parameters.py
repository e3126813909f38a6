"""The semantic parameters: how a study may vary the placement of camera and light. No torch.

A parameter is one function from a :class:`Placement` and a value to the changed placement; registering it
with :func:`semantic_parameter` makes it usable in specs, maps, searches and gradients.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from assay.common.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

MESH_RADIUS = math.sqrt(3)
"""No vertex of a normalised mesh is further from the origin; a camera stays outside."""


@dataclass(frozen=True)
class Placement:
    """A batch of N camera and light placements; every field is a float64 tensor of shape (N,)."""

    azimuth_deg: Tensor
    elevation_deg: Tensor
    distance: Tensor
    light_azimuth_deg: Tensor
    light_elevation_deg: Tensor


Setter = Callable[[Placement, "Tensor"], Placement]


@dataclass(frozen=True)
class SemanticParameter:
    """One coordinate of the semantic space.

    Attributes:
        name: with its unit, as specs spell it.
        low: lower end of the default domain.
        high: upper end of the default domain.
        period: after how much the image repeats, or None.
        set: returns the placement with the parameter at the given (N,) values.
    """

    name: str
    low: float
    high: float
    period: float | None
    set: Setter


SEMANTIC_PARAMETERS: dict[str, SemanticParameter] = {}


def semantic_parameter(
    name: str, low: float, high: float, period: float | None = None
) -> Callable[[Setter], Setter]:
    """Register the decorated function as the semantic parameter ``name`` with default domain [low, high]."""

    def register(setter: Setter) -> Setter:
        SEMANTIC_PARAMETERS[name] = SemanticParameter(name, low, high, period, setter)
        return setter

    return register


@semantic_parameter("azimuth_deg", 0.0, 360.0, period=360.0)
def _set_azimuth(placement: Placement, value: Tensor) -> Placement:
    return replace(placement, azimuth_deg=value)


@semantic_parameter("elevation_deg", -10.0, 90.0)
def _set_elevation(placement: Placement, value: Tensor) -> Placement:
    return replace(placement, elevation_deg=value)


@semantic_parameter("distance", 2.0, 5.0)
def _set_distance(placement: Placement, value: Tensor) -> Placement:
    return replace(placement, distance=value)


@semantic_parameter("light_azimuth_deg", 0.0, 360.0, period=360.0)
def _set_light_azimuth(placement: Placement, value: Tensor) -> Placement:
    return replace(placement, light_azimuth_deg=value)


@semantic_parameter("light_elevation_deg", -90.0, 90.0)
def _set_light_elevation(placement: Placement, value: Tensor) -> Placement:
    return replace(placement, light_elevation_deg=value)


def find_parameters(names: Sequence[str]) -> list[SemanticParameter]:
    """The registered parameters of these names, in this order.

    Raises:
        UserError: for no name, a name twice, or a name that is not registered.
    """
    if not names or len(set(names)) != len(names):
        raise UserError(f"semantic parameters {list(names)}: give at least one, and each only once")
    unknown = [name for name in names if name not in SEMANTIC_PARAMETERS]
    if unknown:
        known = ", ".join(SEMANTIC_PARAMETERS)
        raise UserError(f"semantic parameters {unknown}: unknown; choose from {known}")
    return [SEMANTIC_PARAMETERS[name] for name in names]
