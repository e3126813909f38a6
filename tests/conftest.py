"""What every test may use: the folder of shared inputs (or a skip), a cache of its own, two threads at most."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# What is checked is the answer, not the time: machines that run this are shared.
settings.register_profile("assay", deadline=None)
settings.load_profile("assay")

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real inputs that are not part of the project."""
    folder = Path(os.environ.get("ASSAY_SHARED", REPOSITORY.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"the shared inputs are not at {folder} (set ASSAY_SHARED)")
    return folder


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory):
    os.environ["ASSAY_CACHE"] = str(tmp_path_factory.mktemp("cache"))
