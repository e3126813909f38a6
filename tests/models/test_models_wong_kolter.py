"""The two published robust nets: found by name and hash, or given; answers on real test images."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from assay.common.errors import UserError
from assay.models.loaded import LoadedModel
from assay.models.zoo import load_model


def errors(model: LoadedModel, images: np.ndarray, labels: Tensor) -> int:
    pixels = torch.stack([model.prepare(image) for image in images])
    return int((model.module(pixels).argmax(dim=1) != labels).sum())


def test_wk_mnist_has_its_published_clean_error(
    shared_data: Path, mnist_test: tuple[np.ndarray, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSAY_DATA", str(shared_data))
    model = load_model("wk_mnist")
    assert model.info.licence == "MIT"
    assert model.info.piecewise_linear
    assert errors(model, *mnist_test) == 180


def test_wk_fashion_mnist_loads_strictly(shared_data: Path) -> None:
    path = shared_data / "nets" / "wk_fashion_mnist.safetensors"
    info = load_model("wk_fashion_mnist", weights=path).info
    assert info.label_space == "fashion-mnist"
    assert info.source.startswith("locuslab")


def test_a_missing_file_says_where_it_was_looked_for(no_weights: Path) -> None:
    with pytest.raises(UserError, match=r"wk_mnist.safetensors is in none of .*cache.*--weights"):
        load_model("wk_mnist")


def test_a_found_file_with_another_hash_is_refused_but_may_be_given(
    shared_data: Path, no_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    impostor = tmp_path / "wk_mnist.safetensors"
    shutil.copyfile(shared_data / "nets" / "wk_fashion_mnist.safetensors", impostor)
    monkeypatch.setenv("ASSAY_DATA", str(tmp_path))
    with pytest.raises(UserError, match="is not the published wk_mnist"):
        load_model("wk_mnist")
    assert load_model("wk_mnist", weights=impostor).info.source == "the user's weights"
