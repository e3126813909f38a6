"""timm/NAME:test and hf-hub:OWNER/NAME: configurations from the cache alone, and what can be wrong with them."""

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file

from assay.common.errors import UserError
from assay.models.zoo import load_model, registry

REVISION = "0" * 40


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Hugging Face cache, and no leave to download."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("ASSAY_DOWNLOAD", raising=False)
    return tmp_path / "hub"


def cached(hub: Path, repository: str, branch: str = "main") -> Path:
    """The folder of a repository's files as Hugging Face's cache keeps them."""
    root = hub / f"models--{repository.replace('/', '--')}"
    (root / "refs").mkdir(parents=True)
    (root / "refs" / branch).write_text(REVISION)
    folder = root / "snapshots" / REVISION
    folder.mkdir(parents=True)
    return folder


def publish(folder: Path, config: dict[str, Any] | str, net: torch.nn.Module | None = None) -> None:
    (folder / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    if net is not None:
        save_file(net.state_dict(), folder / "model.safetensors")


CONFIG = {
    "architecture": "test_vit",
    "num_classes": 7,
    "model_args": {"embed_dim": 32},
    "pretrained_cfg": {
        "input_size": [3, 160, 160], "crop_pct": 0.8, "interpolation": "bilinear", "crop_mode": "border",
        "fixed_input_size": True, "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "license": "mit",
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "branch"),
    [("hf-hub:me/net", "main"), ("hf-hub:me/net@v2", "v2"), ("timm/hf-hub:me/net", "main")],
)
def test_a_network_of_hugging_face_is_read_as_its_owner_described_it(
    hub: Path, asked: str, branch: str
) -> None:
    torch.manual_seed(0)
    net = timm.create_model("test_vit", num_classes=7, embed_dim=32).eval()
    publish(cached(hub, "me/net", branch), CONFIG, net)
    assert registry().find(asked).available() is None
    model = load_model(asked)
    info = model.info
    assert (info.num_classes, info.label_space, info.licence) == (7, "unstated", "mit")
    assert info.architecture == 'timm/test_vit{"embed_dim": 32}'
    assert (info.preprocessing.resize, info.preprocessing.fit) == ((200, 200), "contain")
    assert info.preprocessing.pad == (26, 51, 76)  # the mean colour, rounded
    pixels = torch.rand(2, 3, 160, 160)
    mean, std = (torch.tensor(CONFIG["pretrained_cfg"][name]).view(3, 1, 1) for name in ("mean", "std"))
    torch.testing.assert_close(model.module(pixels), net((pixels - mean) / std))


def test_a_thousand_classes_are_imagenets_unless_the_owner_names_others(hub: Path) -> None:
    thousand = {**CONFIG, "num_classes": 1000, "model_args": {}}
    net = timm.create_model("test_vit")
    publish(cached(hub, "me/plain"), thousand, net)
    publish(cached(hub, "me/named"), {**thousand, "label_names": ["a", "b"]}, net)
    assert load_model("hf-hub:me/plain").info.label_space == "imagenet-1k"
    assert load_model("hf-hub:me/named").info.label_space == "unstated"


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        ("{", "its config.json is none that timm writes"),
        ({"num_classes": 3}, "its config.json is none that timm writes"),
        ({**CONFIG, "architecture": "bert"}, "names 'bert' with 7 classes, which timm does not have"),
        ({**CONFIG, "num_classes": "x"}, "names 'test_vit' with x classes"),
        ({**CONFIG, "num_classes": 0}, "gives features and has no classes"),
        ({**CONFIG, "pretrained_cfg": {**CONFIG["pretrained_cfg"], "interpolation": "cubic"}}, "not supported"),
    ],
)  # fmt: skip
def test_a_repository_of_something_else_is_refused(hub: Path, config: Any, complaint: str) -> None:
    publish(cached(hub, "me/net"), config, timm.create_model("test_vit"))
    with pytest.raises(UserError, match=complaint):
        load_model("hf-hub:me/net")


def test_a_repository_that_is_not_here_is_refused(hub: Path) -> None:
    available = registry().find("hf-hub:me/other").available()
    assert available == "config.json of me/other is not in Hugging Face's cache"
    with pytest.raises(UserError, match=r"config\.json of me/other is not in .*cache; .*ASSAY_DOWNLOAD=1"):
        load_model("hf-hub:me/other")
    with pytest.raises(UserError, match="is no repository of Hugging Face's"):
        load_model("hf-hub:a/b/c/d")


def test_weights_that_are_not_here_are_asked_for(hub: Path) -> None:
    publish(cached(hub, "me/net"), CONFIG)
    assert (
        registry().find("hf-hub:me/net").available()
        == "the weights of me/net are not in Hugging Face's cache"
    )
    with pytest.raises(
        UserError, match=r"weights of me/net are not .*--weights FILE.*model\.safetensors be fetched"
    ):
        load_model("hf-hub:me/net")


def test_the_test_size_is_an_option_and_in_the_key(tmp_path: Path) -> None:
    save_file(timm.create_model("resnet10t.c3_in1k").state_dict(), tmp_path / "mine.safetensors")
    plain, at_test = (
        load_model(f"timm/resnet10t.c3_in1k{option}", weights=tmp_path / "mine.safetensors").info
        for option in ("", ":test")
    )
    assert (plain.input_shape, plain.preprocessing.resize) == ((3, 176, 176), 201)
    assert (at_test.input_shape, at_test.preprocessing.resize) == ((3, 224, 224), 235)
    assert at_test.architecture == "timm/resnet10t.c3_in1k:test"


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("timm/vit_tiny_patch16_224:test", "states no input size or crop for testing; leave out :test"),
        ("timm/resnet10t.c3_in1k:tset", "'tset' is no option; write resnet10t.c3_in1k:test or resnet10t"),
        ("timm/resnet10x:test", "unknown model 'timm/resnet10x:test'; did you mean .*timm/resnet10t"),
    ],
)
def test_an_option_that_cannot_be_is_refused(name: str, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        registry().find(name)


def test_a_network_that_takes_one_size_has_no_other(hub: Path) -> None:
    fixed = {**CONFIG["pretrained_cfg"], "test_input_size": [3, 224, 224]}
    publish(cached(hub, "me/net"), {**CONFIG, "pretrained_cfg": fixed})
    with pytest.raises(UserError, match="takes one input size only; leave out :test"):
        load_model("hf-hub:me/net:test")


def test_a_network_without_classes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="gives features and has no classes"):
        load_model("timm/vit_small_patch14_dinov2.lvd142m", weights=tmp_path / "any.pth")
