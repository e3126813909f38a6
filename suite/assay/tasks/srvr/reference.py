"""One view with a known picture: if the camera, the light or the rasteriser change, this view shows it."""

from functools import lru_cache

import torch
from torch import nn

from assay.tasks.srvr.camera import camera, place
from assay.tasks.srvr.procedural import embedded_mesh
from assay.tasks.srvr.render import Draw, RenderSettings, Surface

_SETTINGS = RenderSettings(image_size=48, supersampling=2)
_VIEW = {"azimuth_deg": 130.0, "elevation_deg": 30.0, "light_azimuth_deg": 20.0, "light_elevation_deg": 60.0}
_EXPECTED = (
    0.000, 0.000, 0.038, 0.000, 0.000, 0.000,
    0.000, 0.253, 0.387, 0.000, 0.000, 0.000,
    0.000, 0.191, 0.317, 0.146, 0.000, 0.000,
    0.000, 0.152, 0.761, 0.789, 0.112, 0.000,
    0.000, 0.039, 0.023, 0.244, 0.017, 0.000,
    0.000, 0.000, 0.000, 0.037, 0.000, 0.000,
)  # fmt: skip
"""The procedural chair, which looks different from every side: its mean intensity in 6 × 6 tiles."""


@lru_cache(maxsize=4)
def reference_difference(draw: Draw, device: str) -> float:
    """The largest difference between the tiles of the known view and what ``draw`` makes of it now."""
    surface = Surface.from_mesh(embedded_mesh("chair"), device)
    view = camera(place(tuple(_VIEW), torch.tensor([list(_VIEW.values())], dtype=torch.float64)))
    tiles = nn.functional.avg_pool2d(draw(surface, view, _SETTINGS)[:, :1], 8).flatten().cpu()
    return float((tiles - torch.tensor(_EXPECTED)).abs().max())
