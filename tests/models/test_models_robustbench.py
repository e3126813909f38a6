"""RobustBench's zoo: names, preprocessing and checkpoints, where the package is installed."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn
from varied_pictures import twenty_pictures

from assay.common.errors import UserError
from assay.models import robustbench
from assay.models.pictures import prepared
from assay.models.robustbench import Published, fitted
from assay.models.zoo import load_model, registry

needs_robustbench = pytest.mark.skipif(
    importlib.util.find_spec("robustbench") is None,
    reason=f"robustbench is not installed: {robustbench.HOW_TO_INSTALL}",
)


def test_without_the_package_the_way_out_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(robustbench, "PACKAGE", "no_such_package_anywhere")
    entry = registry().find("robustbench/Standard:Linf")
    assert entry.available() == "the package robustbench is not installed"
    with pytest.raises(UserError, match=r"is not installed; pip install 'assay\[robustbench\]'.*--no-deps"):
        load_model("robustbench/Standard:Linf", weights=Path("mine.pt"))


# --- checkpoints


class Inner(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)


class Normalising(nn.Module):
    """A network with its own normalisation, as RobustBench's are."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mu", torch.full((1, 3, 1, 1), 0.5))
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)


def behind_a_normalisation() -> nn.Module:
    normalise = nn.Module()
    normalise.register_buffer("mean", torch.full((1, 3, 1, 1), 0.5))
    net = nn.Sequential()
    net.add_module("normalize", normalise)
    net.add_module("model", Inner())
    return net


def trained(prefix: str) -> dict[str, Tensor]:
    shapes = {"conv.weight": (4, 3, 3, 3), "conv.bias": (4,), "fc.weight": (2, 4), "fc.bias": (2,)}
    return {f"{prefix}{name}": torch.full(shape, 7.0) for name, shape in shapes.items()}


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "module.model."])
@pytest.mark.parametrize("make", [Normalising, behind_a_normalisation])
@pytest.mark.parametrize(
    "more", [{}, {"model_preact_hl1.1.weight": torch.ones(1), "conv.scores": torch.ones(1)}]
)
def test_a_checkpoint_of_any_prefix_fits(make: Any, prefix: str, more: dict[str, Tensor]) -> None:
    net = make()
    found = fitted(net, trained(prefix) | more)
    net.load_state_dict(found)
    values = dict(net.state_dict())
    constants = [name for name in values if name.rpartition(".")[2] in ("mu", "mean")]
    assert len(constants) == 1
    assert (values.pop(constants[0]) == 0.5).all()
    assert all((value == 7).all() for value in values.values())


@pytest.mark.parametrize(
    "state", [{}, {"conv.weight": torch.zeros(4, 3, 3, 3)}, trained("") | {"other.weight": torch.ones(1)}]
)
def test_another_networks_checkpoint_is_left_as_it_is(state: dict[str, Tensor]) -> None:
    assert fitted(Normalising(), state) is state


def test_older_names_of_timms_swin_fit() -> None:
    """Before timm 0.9 a stage ended with the downsampling that begins the next stage today."""
    inner = timm.create_model("swin_tiny_patch4_window7_224", depths=(1, 1, 1, 1))
    net = nn.Sequential()
    net.add_module("model", inner)
    old = {}
    for name, value in inner.state_dict().items():
        parts = name.replace("head.fc.", "head.").split(".")
        if parts[2:3] == ["downsample"]:
            parts[1] = str(int(parts[1]) - 1)
        old[f"module.{'.'.join(parts)}"] = value + 1 if value.is_floating_point() else value
    found = fitted(net, old)
    assert found.keys() == net.state_dict().keys()
    net.load_state_dict(found)


# --- the zoo itself


@pytest.fixture(scope="module")
def zoo() -> dict[str, Published]:
    return {one.full_name: one for one in robustbench.published()}


@needs_robustbench
def test_the_zoo_is_read_without_the_packages_init(zoo: dict[str, Published]) -> None:
    assert len(zoo) > 200
    assert "gdown" not in sys.modules
    assert "robustbench" not in sys.modules  # so that a later import is the real one


@needs_robustbench
@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("Standart:Linf", "did you mean .*robustbench/Standard:Linf"),
        ("Wong2020Fast", "unknown model 'robustbench/Wong2020Fast'; did you mean .*Wong2020Fast:Linf"),
        ("Wong2020Fast:Linf", "write robustbench/cifar10/Wong2020Fast:Linf or robustbench/imagenet/Wong"),
    ],
)
def test_a_name_that_is_none_or_several_is_refused(name: str, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        registry().find(f"robustbench/{name}")


@needs_robustbench
@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("cifar10/Chen2020Adversarial:Linf", "is an ensemble of 3 weight files"),
        ("imagenet/Standard_R50:Linf", "has torchvision's weights and none of its own"),
    ],
)
def test_what_has_no_weight_file_of_its_own_is_refused(name: str, complaint: str, tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1)}, tmp_path / "mine.pt")
    with pytest.raises(UserError, match=complaint):
        load_model(f"robustbench/{name}", weights=tmp_path / "mine.pt")


@needs_robustbench
@pytest.mark.parametrize(
    ("name", "wrap"),
    [
        (
            "cifar10/Rebuffi2021Fixing_R18_ddpm:Linf",
            lambda state: {f"module.{key}": state[key] for key in state},
        ),
        ("cifar10/Andriushchenko2020Understanding:Linf", lambda state: {"best": {}, "last": state}),
        (
            "imagenet/Salman2020Do_R18:Linf",
            lambda state: {"state_dict": without(state, "normalize.", "model.")},
        ),
    ],
)
def test_a_network_with_a_users_checkpoint_answers_as_the_packages_own(
    name: str, wrap: Any, tmp_path: Path, zoo: dict[str, Published]
) -> None:
    torch.manual_seed(0)
    published = zoo[name].described["model"]().eval()
    torch.save(wrap(published.state_dict()), tmp_path / "mine.pt")
    model = load_model(f"robustbench/{name}", weights=tmp_path / "mine.pt")
    pixels = torch.rand(2, *model.info.input_shape)
    with torch.no_grad():
        torch.testing.assert_close(model.module(pixels), published(pixels))


def without(state: dict[str, Tensor], left_out: str, prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in state.items() if not key.startswith(left_out)}


@needs_robustbench
def test_weights_in_the_folder_that_its_loader_fills_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zoo: dict[str, Published]
) -> None:
    monkeypatch.chdir(tmp_path)
    name = "robustbench/cifar10/Rebuffi2021Fixing_R18_ddpm:Linf"
    assert registry().find(name).available() is not None
    with pytest.raises(
        UserError, match=r"its weights are not in models/cifar10/Linf/Rebuffi2021Fixing_R18_ddpm\.pt"
    ):
        load_model(name)
    file = tmp_path / "models" / "cifar10" / "Linf" / "Rebuffi2021Fixing_R18_ddpm.pt"
    file.parent.mkdir(parents=True)
    torch.save(zoo[name.removeprefix("robustbench/")].described["model"]().state_dict(), file)
    assert load_model(name).info.label_space == "cifar-10"
    assert registry().find(name).available() is None


@needs_robustbench
def test_weights_that_timm_keeps_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    name = "robustbench/cifar10/Debenedetti2022Light_XCiT-S12:Linf"
    assert registry().find(name).available() is not None
    file = tmp_path / "hub" / "checkpoints" / "debenedetti2022light-xcit-s-cifar10-linf.pth.tar"
    file.parent.mkdir(parents=True)
    net = timm.create_model("debenedetti2022light_xcit_s12_cifar10_linf", num_classes=10).eval()
    torch.save({"state_dict": net.state_dict()}, file)
    model = load_model(name)
    pixels = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(model.module(pixels), net(pixels))


@needs_robustbench
def test_its_preprocessing_is_the_packages_own(zoo: dict[str, Published]) -> None:
    """The package's transforms, from its source: torchvision's, which its module of data makes."""
    transforms = its_transforms()
    pictures = [picture for picture in twenty_pictures() if min(picture.size) >= 288]
    assert pictures
    seen = set()
    for one in zoo.values():
        said = one.described.get("preprocessing")
        if one.dataset != "imagenet" or one.timm_name is not None or said in seen:
            continue
        seen.add(said)
        preprocessing = one.preprocessing(nn.Identity())
        for picture in pictures:
            pixels = prepared(np.asarray(picture), preprocessing, one.name).astype(np.float32) / 255
            assert torch.equal(torch.from_numpy(pixels), transforms[said](picture)), said
    assert seen == {"Res256Crop224", "BicubicRes256Crop224", "Res224", "Crop288"}


def its_transforms() -> dict[Any, Any]:
    """``PREPROCESSINGS`` of ``robustbench.data``, whose other imports need not be there."""
    from torchvision import transforms

    folder = importlib.util.find_spec("robustbench").submodule_search_locations[0]  # type: ignore[union-attr,index]
    source = (Path(folder) / "data.py").read_text(encoding="utf-8")
    start = source.index("PREPROCESSINGS = {")
    names: dict[str, Any] = {"transforms": transforms}
    exec(source[start : source.index("\n}\n", start) + 2], names)  # the package's own text, in a test
    return dict(names["PREPROCESSINGS"])


@needs_robustbench
@pytest.mark.slow
def test_every_network_of_the_zoo_has_a_card_or_a_reason(zoo: dict[str, Published]) -> None:
    """Built without memory for weights where that can be; nothing is downloaded for any."""
    refused = []
    for one in zoo.values():
        try:
            with torch.device("meta"):
                net = one.network()
        except UserError as error:
            refused.append(str(error))
            continue
        except (RuntimeError, NotImplementedError):  # it computes while it is built
            continue
        assert one.preprocessing(net).mean == (0.0,) * 3
        del net
    assert len([reason for reason in refused if "ensemble" in reason]) == 11
    assert len([reason for reason in refused if "torchvision" in reason]) == 2
    assert len(refused) == 13
