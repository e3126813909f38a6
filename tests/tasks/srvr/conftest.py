"""Fixtures of the srvr tests."""

import json
import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import yaml

from assay.tasks.srvr.mesh import Mesh, build_mesh
from opened_jobs import JobRequest, open_job, run_units
from tasks.srvr.three_shapes import MANIFEST, SPEC

CUBE_CORNERS = np.array([[x, y, z] for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)])
CUBE_QUADS = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]


@pytest.fixture(autouse=True)
def _one_thread(one_thread):
    """For every test here."""


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


@pytest.fixture(scope="session")
def spec_of(tmp_path_factory):
    """Write a spec with changes beside its manifest; gives its path."""
    folder = tmp_path_factory.mktemp("srvr")
    (folder / "three.yaml").write_text(yaml.safe_dump(MANIFEST))

    def write(**changes):
        text = yaml.safe_dump(SPEC | changes)
        path = folder / f"t{abs(hash(text))}.yaml"
        path.write_text(text)
        return str(path)

    return write


@pytest.fixture(scope="session")
def outcome(spec_of):
    """Job and records of a factory of ``views_models``, by its name and the spec's changes as JSON."""

    @cache
    def run(factory="brightness", changes="{}", batch_size=16):
        job = open_job(
            JobRequest(f"views_models:{factory}", spec_of(**json.loads(changes)), batch_size=batch_size)
        )
        chunks = [run_units(job, job.chunk(index), lambda _n: None) for index in range(job.chunk_count)]
        return job, [record for chunk in chunks for record in chunk]

    return run
