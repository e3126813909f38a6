"""What the model tests share: files that are beside the repository or not there."""

import gzip
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of shared nets and data sets; tests that need it are skipped where it is absent."""
    root = os.environ.get("ASSAY_SHARED") or Path(__file__).resolve().parents[2].parent / "shared"
    folder = Path(root) / "data"
    if not folder.is_dir():
        pytest.skip(f"the shared data are not at {folder}; set ASSAY_SHARED")
    return folder


@pytest.fixture(scope="session")
def mnist_test(shared_data: Path) -> tuple[np.ndarray, Tensor]:
    """The 10,000 MNIST test images (N, 28, 28, 1) uint8 and their labels (N,)."""
    images, labels = (
        gzip.decompress((shared_data / "mnist" / f"t10k-{part}-ubyte.gz").read_bytes())
        for part in ("images-idx3", "labels-idx1")
    )
    pixels = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 28, 28, 1)
    return pixels, torch.tensor(np.frombuffer(labels, np.uint8, offset=8).astype(np.int64))


@pytest.fixture
def no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without cached weights or leave to download; returns its torch hub's checkpoint folder."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ASSAY_DATA", raising=False)
    monkeypatch.delenv("ASSAY_DOWNLOAD", raising=False)
    return tmp_path / "torch" / "hub" / "checkpoints"
