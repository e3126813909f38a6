"""Cards of timm's and torchvision's architectures and of factories: heads, keys and names of weights."""

import sys
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import yaml
from torch import nn
from torchvision import models

from assay.common.errors import UserError
from assay.models.subject import open_subject
from assay.models.zoo import load_model

FACTORY = """
import torch
from torch import nn

class Two(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Sequential(nn.Flatten(), nn.Linear(12, 4))

    def forward(self, pixels):
        return {"features": pixels.mean((2, 3)), "scores": self.layer(pixels)}

def bare(): return Two()
def described(): return Two(), {"input": {"size": [2, 2], "mean": [0.5] * 3}, "label_space": "mine"}
def loaded():
    from assay.models.zoo import load_model
    return load_model("digits_fnn")
"""


def card(folder: Path, network: dict[str, str], **said: Any) -> str:
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump({"schema": 1, "name": "mine", "network": network} | said))
    return str(path)


@pytest.fixture
def factory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = "own_factory_of_a_card_test"
    (tmp_path / f"{name}.py").write_text(FACTORY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, name, raising=False)
    return name


def timm_net(num_classes: int, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    net: nn.Module = timm.create_model("mobilenetv3_small_050", num_classes=num_classes)
    return net.eval()


@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "timm/mobilenetv3_small_050"])
def test_a_fine_tuned_head_of_timm_as_lightning_saves_it(tmp_path: Path, name: str) -> None:
    net = timm_net(10)
    state = {f"model.{key}": value for key, value in net.state_dict().items()}
    torch.save({"state_dict": state, "hyper_parameters": {"lr": 0.1}}, tmp_path / "last.ckpt")
    path = card(
        tmp_path, {"timm": name}, weights={"file": "last.ckpt"}, num_classes=10, label_space="cifar-10"
    )
    model = load_model(path)
    pixels = torch.rand(2, 3, 224, 224)
    preprocessing = model.info.preprocessing
    mean, std = (torch.tensor(each).view(-1, 1, 1) for each in (preprocessing.mean, preprocessing.std))
    assert torch.allclose(model.module(pixels), net((pixels - mean) / std))
    assert (model.info.num_classes, model.info.label_space) == (10, "cifar-10")
    assert model.info.architecture == "timm/mobilenetv3_small_050"


def test_a_head_of_other_classes_has_no_label_space_of_the_published_weights(tmp_path: Path) -> None:
    spaces = {}
    for classes in (10, 1000):
        torch.save(timm_net(classes).state_dict(), tmp_path / "net.pth")
        path = card(
            tmp_path, {"timm": "mobilenetv3_small_050"}, weights={"file": "net.pth"}, num_classes=classes
        )
        spaces[classes] = load_model(path).info.label_space
    assert spaces == {10: "unstated", 1000: "imagenet-1k"}


def test_a_fine_tuned_head_of_torchvision(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = models.squeezenet1_1(num_classes=7)
    torch.save({"model": {f"module.{k}": v for k, v in net.state_dict().items()}}, tmp_path / "net.pth")
    path = card(tmp_path, {"torchvision": "squeezenet1_1"}, weights={"file": "net.pth"}, num_classes=7)
    info = load_model(path).info
    assert (info.num_classes, info.architecture) == (7, "torchvision/squeezenet1_1")
    assert info.preprocessing.resize == 256


def test_the_key_chooses_among_several_state_dicts_and_makes_another_model(tmp_path: Path) -> None:
    kinds = {"state_dict": timm_net(10, 0), "state_dict_ema": timm_net(10, 1)}
    torch.save({key: net.state_dict() for key, net in kinds.items()}, tmp_path / "both.pth")
    hashes = set()
    for key in (None, *kinds):
        weights = {"file": "both.pth"} | ({"key": key} if key else {})
        model = load_model(card(tmp_path, {"timm": "mobilenetv3_small_050"}, weights=weights, num_classes=10))
        hashes.add(model.info.weights_sha256)
        taken = dict(model.module.net.named_parameters())["conv_stem.weight"]
        assert torch.equal(taken, kinds[key or "state_dict"].conv_stem.weight)
        assert model.info.notes[0].startswith(f"weights taken from {key or 'state_dict'} ")
    assert len(hashes) == 2


def test_a_card_of_a_factory(tmp_path: Path, factory: str) -> None:
    said = {"input": {"size": [2, 2]}, "output": {"tensor": "scores"}, "label_space": list("abcd")}
    model = load_model(card(tmp_path, {"factory": f"{factory}:bare"}, **said))
    assert model.info.notes == ("logits are output['scores'] of a dict",)
    assert model.info.classes == tuple("abcd")
    torch.save(
        {"net.layer.1.weight": torch.eye(4, 12), "net.layer.1.bias": torch.zeros(4)}, tmp_path / "n.pth"
    )
    model = load_model(card(tmp_path, {"factory": f"{factory}:bare"}, weights={"file": "n.pth"}, **said))
    pixels = torch.rand(2, 3, 2, 2)
    assert torch.equal(model.module(pixels), pixels.flatten(1)[:, :4])


def test_what_a_factory_says_counts_where_the_card_says_nothing(tmp_path: Path, factory: str) -> None:
    network, output = {"factory": f"{factory}:described"}, {"tensor": "scores"}
    info = load_model(card(tmp_path, network, output=output)).info
    assert (info.preprocessing.mean, info.label_space) == ((0.5, 0.5, 0.5), "mine")
    info = load_model(card(tmp_path, network, output=output, input={"mean": [0.1] * 3}, label_space="x")).info
    assert (info.preprocessing.mean, info.label_space) == ((0.1, 0.1, 0.1), "x")


def test_the_doctor_looks_at_the_logits_of_a_network_that_returns_several_things(
    tmp_path: Path, factory: str
) -> None:
    path = card(tmp_path, {"factory": f"{factory}:described"}, output={"tensor": "scores"})
    subject = open_subject(path)
    assert subject.shape == (3, 2, 2)
    pixels = torch.rand(2, 3, 2, 2)
    assert torch.equal(subject.networks[None](pixels - 0.5), load_model(path).module(pixels))


class Pair(nn.Module):
    """Returns features beside its logits."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(12, 4)

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return pixels.mean((2, 3)), self.layer(pixels.flatten(1))


@pytest.mark.parametrize("batch", [1, 3])
def test_an_exported_program_of_several_outputs_for_any_batch(tmp_path: Path, batch: int) -> None:
    net, pixels = Pair().eval(), torch.rand(5, 3, 2, 2)
    torch.export.save(torch.export.export(net, (torch.rand(batch, 3, 2, 2),)), tmp_path / "net.pt2")
    path = card(tmp_path, {"program": "net.pt2"}, output={"tensor": 1}, num_classes=4)
    model = load_model(path)
    assert torch.allclose(model.module(pixels), net(pixels)[1], atol=1e-6)
    assert "logits are output[1]" in model.info.notes[0]
    counted = card(tmp_path, {"program": "net.pt2"}, num_classes=4)  # the number of classes tells them apart
    assert load_model(counted).info.notes == model.info.notes


@pytest.mark.parametrize(
    ("network", "said", "complaint"),
    [
        ({"timm": "no_such"}, {}, "unknown model 'timm/no_such'"),
        ({"torchvision": "resnet51"}, {}, "unknown model 'resnet51'; did you mean resnet"),
        (
            {"timm": "mobilenetv3_small_050"},
            {"num_classes": 10},
            "are of 1000 classes, not 10; name the fine-tuned",
        ),
        (
            {"timm": "mobilenetv3_small_050"},
            {"weights": {"file": "none.pth"}},
            r"names none\.pth, which is neither",
        ),
        ({"factory": "FACTORY:bare"}, {}, r"`input\.size` is missing"),
        (
            {"factory": "FACTORY:bare"},
            {"input": {"size": [2, 2]}},
            "returns a dict in which several tensors can be",
        ),
        ({"factory": "FACTORY:loaded"}, {}, "returned LoadedModel; return a torch module"),
    ],
)
def test_a_card_that_cannot_be_is_one_sentence(
    tmp_path: Path, factory: str, network: dict[str, str], said: dict[str, Any], complaint: str
) -> None:
    named = {kind: name.replace("FACTORY", factory) for kind, name in network.items()}
    with pytest.raises(UserError, match=complaint):
        load_model(card(tmp_path, named, **said))
