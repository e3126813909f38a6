"""Rendering with PyTorch3D, where it can be imported: a cross-check and an option, never needed.

PyTorch3D's camera looks along +z with x to the left, which its NDC shares; the conventions of
:mod:`assay.tasks.srvr.camera` have x to the right. That is why :func:`render_with_pytorch3d` changes a sign.
"""

import importlib
import math

import torch
from torch import Tensor, nn

from assay.common.errors import UserError
from assay.tasks.srvr.camera import HALF_ANGLE_DEG, Camera
from assay.tasks.srvr.render import DEFAULT_SETTINGS, RenderSettings, Surface, shade

_INSTALL = (
    "no build of it is published for the torch that Assay needs: build facebookresearch/pytorch3d from source"
)
"""So no extra: the only published build for Linux, easypytorch3d 0.7.9.post1, is for torch 2.11 and 2.12."""


def pytorch3d_problem() -> str | None:
    """Why PyTorch3D cannot be used here, in one sentence; None where it can."""
    try:
        importlib.import_module("pytorch3d._C")
    except (ImportError, OSError) as error:
        return (
            f"renderer pytorch3d: it cannot be imported here ({type(error).__name__}: {error}); {_INSTALL} for torch "
            f"{torch.__version__}, or use `renderer: assay`"
        )
    return None


def render_with_pytorch3d(
    surface: Surface, camera: Camera, settings: RenderSettings = DEFAULT_SETTINGS
) -> Tensor:
    """Images (N, 3, S, S) as :func:`assay.tasks.srvr.render.render`, with PyTorch3D's rasteriser.

    Raises:
        UserError: where PyTorch3D cannot be imported.
    """
    problem = pytorch3d_problem()
    if problem:
        raise UserError(problem)
    rasterize = importlib.import_module("pytorch3d.renderer.mesh.rasterize_meshes").rasterize_meshes
    structures = importlib.import_module("pytorch3d.structures")
    images = []
    for view in range(len(camera)):
        here = camera[view : view + 1]
        points = _to_ndc(surface.corners, here)
        face_index = torch.arange(points.shape[0], device=points.device).view(-1, 3)
        drawn = rasterize(
            structures.Meshes(points[None], face_index[None]),
            image_size=settings.raster_size,
            blur_radius=0.0,
            faces_per_pixel=1,
            perspective_correct=True,
            cull_backfaces=False,
        )
        intensity = shade(surface, here, drawn[0][..., 0])
        images.append(nn.functional.avg_pool2d(intensity, settings.supersampling))
    return torch.stack(images).expand(-1, 3, -1, -1)


def _to_ndc(corners: Tensor, here: Camera) -> Tensor:
    """Corners (3, 3, F) in PyTorch3D's screen space, x to the left: (3 F, 3), corner fastest."""
    points = corners.permute(2, 1, 0).reshape(-1, 3)
    seen = (points - here.eye.to(points)) @ here.axes[0].to(points).T
    scale = 1 / (seen[:, 2] * math.tan(math.radians(HALF_ANGLE_DEG)))
    return torch.stack((-seen[:, 0] * scale, seen[:, 1] * scale, seen[:, 2]), dim=1)
