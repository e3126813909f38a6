"""Images of white, flat-shaded surfaces: the rasteriser's samples, lit and averaged.

Intensity ``0.5 + 0.5 max(0, n·light)`` with the face's normal turned to the viewer, black background, drawn
at ``supersampling`` times the size and averaged: the conventions of the published renders (Neural Mesh
Renderer).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from assay.tasks.srvr.camera import Camera
from assay.tasks.srvr.mesh import Mesh
from assay.tasks.srvr.rasteriser import visible_faces

AMBIENT = 0.5
DIRECTIONAL = 0.5
_BYTES_PER_ITEM = 256


@dataclass(frozen=True)
class RenderSettings:
    """How to draw.

    Attributes:
        image_size: S, height and width of the images in pixels.
        supersampling: samples of a pixel along each side.
        memory_mb: bound on a render's temporary memory; mesh and images come on top.
    """

    image_size: int = 224
    supersampling: int = 2
    memory_mb: int = 16

    @property
    def raster_size(self) -> int:
        """Height and width of the grid of samples."""
        return self.image_size * self.supersampling

    @property
    def max_items(self) -> int:
        """How many faces, rows, fragments or samples to hold at a time."""
        return max(self.memory_mb * 2**20 // _BYTES_PER_ITEM, self.raster_size)


DEFAULT_SETTINGS = RenderSettings()


@dataclass(frozen=True)
class Surface:
    """A mesh on a device, float32.

    Attributes:
        corners: (3, 3, F): coordinate, corner, face.
        normals: (F, 3) unit normals, by the order of the corners.
        offsets: (F,) normal · corner, the plane's distance from the origin.
    """

    corners: Tensor
    normals: Tensor
    offsets: Tensor

    @classmethod
    def from_mesh(cls, mesh: Mesh, device: torch.device | str = "cpu") -> "Surface":
        """Prepare a mesh for drawing on ``device``."""
        corners = torch.from_numpy(mesh.corners)
        normals = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0], dim=1)
        normals = normals / normals.norm(dim=1, keepdim=True)
        offsets = (normals * corners[:, 0]).sum(1)
        return cls(
            corners=corners.permute(2, 1, 0).to(device, torch.float32).contiguous(),
            normals=normals.to(device, torch.float32),
            offsets=offsets.to(device, torch.float32),
        )

    def __len__(self) -> int:
        return self.corners.shape[2]


def render(surface: Surface, camera: Camera, settings: RenderSettings = DEFAULT_SETTINGS) -> Tensor:
    """Images of one surface from N cameras.

    Returns:
        (N, 3, S, S) float32 in [0, 1] on the surface's device; the three channels are equal.
    """
    size = settings.image_size
    grey = torch.empty((len(camera), 1, size, size), device=surface.corners.device)
    views = max(settings.max_items // settings.raster_size**2, 1)
    for start in range(0, len(camera), views):
        part = camera[start : start + views]
        faces = visible_faces(surface.corners, part, settings.raster_size, settings.max_items)
        grey[start : start + views, 0] = nn.functional.avg_pool2d(
            shade(surface, part, faces), settings.supersampling
        )
    return grey.expand(-1, 3, -1, -1)


def render_shapes(
    surfaces: Sequence[Surface],
    shape_index: Sequence[int],
    camera: Camera,
    settings: RenderSettings = DEFAULT_SETTINGS,
) -> Tensor:
    """Images of several surfaces, as :func:`render`; view i shows ``surfaces[shape_index[i]]``."""
    index = torch.as_tensor(shape_index, dtype=torch.int64)
    size, device = settings.image_size, surfaces[0].corners.device
    images = torch.empty((len(camera), 3, size, size), device=device)
    for shape in sorted(set(index.tolist())):
        views = (index == shape).nonzero()[:, 0]
        images[views.to(device)] = render(surfaces[shape], camera[views], settings)
    return images


def shade(surface: Surface, camera: Camera, faces: Tensor) -> Tensor:
    """Light each sample: (N, R, R) face indices (-1: background) to float32 intensities in [0, 1]."""
    seen = (faces.reshape(-1) >= 0).nonzero()[:, 0]
    view, face = seen // faces[0].numel(), faces.reshape(-1).index_select(0, seen)
    normals = _facing_normals(surface, camera, view, face)
    towards = (normals * camera.light.to(normals).index_select(0, view)).sum(1)
    image = torch.zeros(faces.numel(), device=faces.device)
    image.index_copy_(0, seen, (AMBIENT + DIRECTIONAL * towards.clamp(min=0)).clamp(max=1))
    return image.view(faces.shape)


def shade_slope(surface: Surface, camera: Camera, faces: Tensor, light_slopes: Tensor) -> Tensor:
    """How the intensities of one view change with the light.

    Args:
        surface: the shape.
        camera: one camera.
        faces: (R, R) face indices, -1 for the background.
        light_slopes: (n, 3) derivatives of the light's direction by n parameters.

    Returns:
        (n, R, R) float32.
    """
    seen = faces >= 0
    normals = _facing_normals(surface, camera, torch.zeros_like(faces[seen]), faces[seen])
    lit = normals @ camera.light[0].to(normals) > 0
    slopes = torch.zeros((len(light_slopes), *faces.shape), device=faces.device)
    slopes[:, seen] = DIRECTIONAL * lit * (light_slopes.to(normals) @ normals.T)
    return slopes


def _facing_normals(surface: Surface, camera: Camera, view: Tensor, face: Tensor) -> Tensor:
    """The faces' normals turned to the eyes of their views: (K, 3) from two (K,) indices."""
    normals = surface.normals.index_select(0, face)
    eye = camera.eye.to(normals).index_select(0, view)
    side = torch.sign((normals * eye).sum(1) - surface.offsets.index_select(0, face))
    return side[:, None] * normals
