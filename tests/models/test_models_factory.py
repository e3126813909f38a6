"""A user's own factory, from a file in the current directory, and every way in which it can be wrong."""

import sys
from pathlib import Path

import pytest
import torch

from assay.common.errors import UserError
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

def quits():
    import sys
    sys.exit("no licence file")

class Answers(nn.Module):
    def __init__(self, answer):
        super().__init__()
        self.inner, self.answer = net(), answer

    def forward(self, x):
        return self.answer(self.inner(x))

def answers_dict():
    return Answers(lambda y: {"logits": y})

def answers_two():
    return Answers(lambda y: (y, y + 1))

def answers_chosen():
    return Answers(lambda y: (y, y + 1)), {"output": {"tensor": 1, "drop": [0]}, "num_classes": 9}

def fails(y):
    raise KeyError("the layer that was renamed")

def broken_inside():
    return Answers(fails)

def described_as_a_card():
    return net(), {
        "input": {"size": [32, 32], "range": [0, 255], "mean": [127.5] * 3, "std": [127.5] * 3,
                  "resize": {"exact": [32, 32]}},
        "num_classes": 10, "label_space": "cifar-10", "licence": "MIT",
        "clean_accuracy": {"value": 0.5, "data": "mine"},
    }

def own_classes():
    return net(), {"label_space": list("abcdefghij")}

def wrong_count():
    return net(), {"num_classes": 9}

def wrong_card_key():
    return net(), {"input": {"size": [32, 32], "means": [0]}}

def channels_last():
    class Last(nn.Module):
        def forward(self, x):
            return x.mean((1, 2)) @ torch.eye(3)
    return Last(), {"input": {"size": [5, 4], "layout": "nhwc"}}

constant = 3
"""


@pytest.fixture(autouse=True)
def own_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_models_of_a_test.py").write_text(MODULE)
    (tmp_path / "own_broken_of_a_test.py").write_text("import no_such_package_anywhere")
    (tmp_path / "own_quitting_of_a_test.py").write_text("import sys\nsys.exit(3)")
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


def test_a_module_may_be_described_by_the_fields_of_a_card() -> None:
    said, plain = load_model(own("described_as_a_card")), load_model(own("described"))
    pixels = torch.rand(2, 3, 32, 32)
    assert torch.allclose(said.module(pixels), plain.module(pixels))
    assert said.info.preprocessing == plain.info.preprocessing
    assert (said.info.label_space, said.info.licence) == ("cifar-10", "MIT")
    assert said.info.clean_accuracy is not None
    assert load_model(own("own_classes")).info.classes == tuple("abcdefghij")


def test_a_described_layout_is_what_the_network_gets() -> None:
    model = load_model(own("channels_last"))
    pixels = torch.rand(2, 3, 5, 4)
    assert model.info.input_shape == (3, 5, 4)
    assert torch.allclose(model.module(pixels), pixels.mean((2, 3)))


def test_the_logits_of_a_bare_module_are_found_in_what_it_returns() -> None:
    info = load_model(own("answers_dict")).info
    assert (info.input_shape, info.num_classes) == ((3, 32, 32), 10)
    assert info.notes == ("logits are output['logits'] of a dict",)


def test_a_factory_says_which_output_it_means() -> None:
    pixels = torch.rand(2, 3, 32, 32)
    logits = load_model(own("net")).module(pixels) + 1
    assert torch.equal(load_model(own("answers_chosen")).module(pixels), logits[:, 1:])


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
        (own("broken_inside"), "3 x 32 x 32: KeyError: 'the layer that was renamed'"),
        (own("quits"), r"ended the program \(SystemExit: no licence file\); raise"),
        (
            "own_quitting_of_a_test:net",
            r"importing own_quitting_of_a_test ended the program \(SystemExit: 3\)",
        ),
        (own("answers_two"), "several tensors can be the logits"),
        (own("wrong_count"), "9 classes are stated, but it returns 10 logits"),
        (own("wrong_card_key"), "its description: unknown key `input.means`"),
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
