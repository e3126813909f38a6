import re

import pytest
import torch

from assay.common.errors import UserError
from assay.tasks.srvr.camera import camera, place
from assay.tasks.srvr.pytorch3d_backend import pytorch3d_problem, render_with_pytorch3d
from assay.tasks.srvr.render import RenderSettings, Surface, render

VIEWS = camera(place(("azimuth_deg", "elevation_deg"), torch.tensor([[30.0, 20.0], [200.0, 60.0]])))


def test_both_renderers_draw_the_same_image(random_soup):
    problem = pytorch3d_problem()
    if problem:
        pytest.skip(problem)
    surface, settings = Surface.from_mesh(random_soup), RenderSettings(64)
    ours, theirs = render(surface, VIEWS, settings), render_with_pytorch3d(surface, VIEWS, settings)
    assert (ours - theirs).abs().mean() < 2e-3


def test_without_pytorch3d_the_error_says_what_to_do(monkeypatch, cube):
    def refuse(name):
        raise ImportError("no such build")

    monkeypatch.setattr("assay.tasks.srvr.pytorch3d_backend.importlib.import_module", refuse)
    says = rf"no such build.*from source for torch {re.escape(torch.__version__)}, or use `renderer: assay`"
    with pytest.raises(UserError, match=says):
        render_with_pytorch3d(Surface.from_mesh(cube), VIEWS)
