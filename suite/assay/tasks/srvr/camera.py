"""Where the camera stands and where the light comes from.

The conventions are those of the published renders (Neural Mesh Renderer). The eye at ``d (cos el sin az, sin el, -cos
el cos az)`` looks at the origin; ``z = -eye/|eye|``, ``x = up × z``, ``y = z × x``; and the image's half angle is 30°.
So the image is mirrored against a right-handed camera.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from assay.common.errors import UserError
from assay.tasks.srvr.parameters import MESH_RADIUS, Placement, find_parameters

DEFAULT_DISTANCE = 2.732
HALF_ANGLE_DEG = 30.0


@dataclass(frozen=True)
class Camera:
    """What the rasteriser needs of N placements, float64.

    Attributes:
        axes: (N, 3, 3); rows are the camera's x (image right), y (image up) and z (viewing direction).
        eye: (N, 3) position in object units.
        light: (N, 3) unit vector towards the light.
    """

    axes: Tensor
    eye: Tensor
    light: Tensor

    def __len__(self) -> int:
        return len(self.eye)

    def __getitem__(self, views: slice | Tensor) -> "Camera":
        return Camera(axes=self.axes[views], eye=self.eye[views], light=self.light[views])


def place(names: Sequence[str], values: Tensor) -> Placement:
    """Placements at points of the semantic space; parameters that are not named keep the published values.

    Args:
        names: n parameters, in the order of the columns of ``values``.
        values: (N, n) in the parameters' own units.

    Raises:
        UserError: for unknown parameters, values that are not finite, or a camera inside the mesh's sphere.
    """
    points = values.to(torch.float64)
    if not torch.isfinite(points).all():
        raise UserError(f"semantic parameters {list(names)}: a value is NaN or infinite; give finite numbers")
    nought = points.new_zeros(len(points))
    placement = Placement(nought, nought, nought + DEFAULT_DISTANCE, nought, nought + 90.0)
    for parameter, column in zip(find_parameters(names), points.unbind(1), strict=True):
        placement = parameter.set(placement, column)
    if len(points) and placement.distance.min() <= MESH_RADIUS:
        nearest = float(placement.distance.min())
        raise UserError(
            f"distance {nearest:g}: the camera would be inside the object; keep it above {MESH_RADIUS:.3f}"
        )
    return placement


def camera(placement: Placement) -> Camera:
    """The camera's axes, its position and the light's direction.

    ``x = up × z`` is taken in closed form, (cos az, 0, sin az), so it is defined at elevation ±90° too. There the image
    is the limit from inside the range; beyond the pole it goes on smoothly (upside down).
    """
    azimuth, elevation = torch.deg2rad(placement.azimuth_deg), torch.deg2rad(placement.elevation_deg)
    sin_az, cos_az, sin_el, cos_el = azimuth.sin(), azimuth.cos(), elevation.sin(), elevation.cos()
    zero = torch.zeros_like(sin_az)
    x_axis = torch.stack((cos_az, zero, sin_az), dim=1)
    y_axis = torch.stack((-sin_el * sin_az, cos_el, sin_el * cos_az), dim=1)
    outward = torch.stack((cos_el * sin_az, sin_el, -cos_el * cos_az), dim=1)
    light_az, light_el = (
        torch.deg2rad(placement.light_azimuth_deg),
        torch.deg2rad(placement.light_elevation_deg),
    )
    light = torch.stack(
        (light_el.cos() * light_az.sin(), light_el.sin(), -light_el.cos() * light_az.cos()), dim=1
    )
    return Camera(
        axes=torch.stack((x_axis, y_axis, -outward), dim=1),
        eye=placement.distance[:, None] * outward,
        light=light,
    )
