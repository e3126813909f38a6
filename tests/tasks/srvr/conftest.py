"""Fixtures of the srvr tests."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from assay.tasks.srvr.mesh import Mesh, build_mesh

CUBE_CORNERS = np.array([[x, y, z] for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)])
CUBE_QUADS = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def shared_srvr() -> Path:
    root = Path(os.environ.get("ASSAY_SHARED", Path(__file__).resolve().parents[4] / "shared")) / "srvr"
    if not root.is_dir():
        pytest.skip(f"the published SRVR data is not here: {root}")
    return root


@pytest.fixture(scope="session")
def cube() -> Mesh:
    faces = [(q[0], q[i], q[i + 1]) for q in CUBE_QUADS for i in (1, 2)]
    return build_mesh(CUBE_CORNERS, faces, name="cube")


@pytest.fixture(scope="session")
def random_soup() -> Mesh:
    generator = np.random.default_rng(0)
    centres = generator.uniform(-0.8, 0.8, (300, 1, 3))
    corners = centres + generator.normal(0, 0.15, (300, 3, 3))
    return build_mesh(corners.reshape(-1, 3), np.arange(900).reshape(-1, 3), name="soup")
