"""A user's own factory, from a file in the current directory, and every way in which it can be wrong."""

import sys
from pathlib import Path

import pytest
import torch

from assay.errors import UserError
from assay.models.zoo import load_model

MODULE = """
import torch
from torch import nn
from assay.models.zoo import load_model

def net(shape=(3, 32, 32), classes=10):
    torch.manual_seed(0)
    size = shape[0] * shape[1] * shape[2]
    return nn.Sequential(nn.Flatten(), nn.Linear(size, classes))

def conv():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 1000))

def small_conv():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10))

HALF = {"crop": [32, 32], "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}

def described():
    return net(), {**HALF, "resize": "direct", "label_space": "cifar10", "licence": "MIT"}

def loaded():
    return load_model("efficientnet_lite0")

def wrong_key():
    return net(), {**HALF, "means": 3}

def wrong_channels():
    return net(), {"crop": (32, 32), "mean": (0.0,), "std": (1.0,)}

def wrong_second():
    return net(), "imagenet"

def text():
    return "a model"

def broken():
    raise RuntimeError("no weights today")

def needs_argument(path):
    return net()

constant = 3
"""


@pytest.fixture(autouse=True)
def own_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_models_of_a_test.py").write_text(MODULE)
    (tmp_path / "own_broken_of_a_test.py").write_text("import no_such_package_anywhere")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "own_models_of_a_test", raising=False)


def own(factory: str) -> str:
    return f"own_models_of_a_test:{factory}"


def test_a_bare_module_takes_plain_pixels_in_the_one_shape_it_accepts() -> None:
    info = load_model(own("net")).info
    assert (info.input_shape, info.num_classes, info.label_space) == ((3, 32, 32), 10, "unstated")
    assert info.piecewise_linear


def test_a_bare_module_of_1000_classes_is_an_imagenet_one() -> None:
    preprocessing = load_model(own("conv")).info.preprocessing
    assert (preprocessing.resize, preprocessing.crop) == (256, (224, 224))


def test_a_bare_module_of_any_size_must_be_described() -> None:
    with pytest.raises(UserError, match="return \\(module, preprocessing\\)"):
        load_model(own("small_conv"))


def test_a_described_module_is_normalised_as_said() -> None:
    model = load_model(own("described"))
    assert model.info.label_space == "cifar10"
    assert model.info.licence == "MIT"
    assert model.info.preprocessing.resize == "direct"
    pixels = torch.rand(2, 3, 32, 32)
    plain = load_model(own("net")).module
    assert torch.allclose(model.module(pixels), plain((pixels - 0.5) / 0.5), atol=1e-6)


def test_equal_weights_have_equal_hashes_and_a_users_file_its_own(tmp_path: Path) -> None:
    first = load_model(own("net"))
    assert first.info.weights_sha256 == load_model(own("described")).info.weights_sha256
    torch.save({key: value + 1 for key, value in first.module.state_dict().items()}, tmp_path / "mine.pth")
    second = load_model(own("net"), weights=tmp_path / "mine.pth")
    assert second.info.weights_sha256 != first.info.weights_sha256
    assert not torch.equal(second.module.state_dict()["1.bias"], first.module.state_dict()["1.bias"])


def test_a_loaded_model_is_taken_as_it_is(tmp_path: Path) -> None:
    assert load_model(own("loaded")).info.name == "efficientnet_lite0"
    with pytest.raises(UserError, match="leave out --weights"):
        load_model(own("loaded"), weights=tmp_path / "mine.pth")


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        (own("wrong_key"), "unknown key `means`"),
        (own("wrong_channels"), r"fails on 2 images of 1 x 32 x 32 \(RuntimeError: mat1 and mat2"),
        (own("wrong_second"), "its preprocessing is a str"),
        (own("text"), "returned str; return a torch module"),
        (own("broken"), "RuntimeError: no weights today"),
        (own("needs_argument"), "calling it without arguments failed"),
        (own("constant"), "has no callable 'constant'"),
        (own("nothing"), "has no callable 'nothing'"),
        ("own_broken_of_a_test:net", "No module named 'no_such_package_anywhere'"),
        ("no_such_module_anywhere:net", "importing no_such_module_anywhere failed"),
    ],
)
def test_a_wrong_factory_is_said(name: str, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        load_model(name)
