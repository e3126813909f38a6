"""The MNIST networks: random parameters must be found in a listed cell, with the pattern that torch shows there."""

import gzip
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from verification_checks import check_patterns

import small_training
from assay.common import resources
from assay.models.zoo import load_model
from assay.tasks.verification.evaluate import exact_network
from assay.tasks.verification.grammar import parse_theta
from assay.tasks.verification.network import read_network
from assay.tasks.verification.problem import ProofQuestion
from assay.tasks.verification.verify import verify

SHARED = Path(os.environ.get("ASSAY_SHARED", Path(__file__).parents[3].parent / "shared")) / "data"
RANGES = {
    "brightness and patch": ["brightness:0:0.5", "patch:0:0.5:10:10:4x4"],
    "brightness and translation": ["brightness:0:0.5", "translation:x:0:2"],
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (SHARED / "mnist").is_dir(), reason=f"no MNIST at {SHARED / 'mnist'}"),
]


def pixels(part):
    content = gzip.decompress((SHARED / "mnist" / f"{part}-images-idx3-ubyte.gz").read_bytes())
    return torch.from_numpy(np.frombuffer(content, np.uint8, offset=16).copy()).reshape(-1, 1, 28, 28) / 255


def digits(part):
    content = gzip.decompress((SHARED / "mnist" / f"{part}-labels-idx1-ubyte.gz").read_bytes())
    return torch.from_numpy(np.frombuffer(content, np.uint8, offset=8).copy()).long()


@pytest.fixture(
    scope="module", params=["mnist_fnn_200", "mnist_fnn_800", "mnist_cnn_2028", "mnist-net_256x2.onnx"]
)
def network(request):
    """A network of the recipe after one epoch on 12,000 images, or the downloaded one."""
    if request.param.endswith(".onnx"):
        path = SHARED / "nets" / request.param
        return exact_network(load_model(f"onnx:{path}"))
    labels = digits("train")
    net = small_training.small_net(request.param)
    return read_network(
        small_training.train(net, pixels("train")[:12000], labels[:12000], epochs=1), (1, 28, 28)
    )


@pytest.mark.parametrize("name", RANGES)
def test_pattern_of_5000_random_points_is_in_a_listed_cell(name, network):
    theta, image = parse_theta(RANGES[name]), pixels("t10k")[1].double()
    result = verify(network, image, ProofQuestion(theta))
    assert result.complete
    check_patterns(network.module, image, theta, result, 5000)


def test_a_recipe_trains_a_network_that_the_zoo_finds_and_says_its_accuracy(assay, tmp_path, monkeypatch):
    shipped = resources.shipped_folder("benchmarks") / "recipes" / "munakata" / "mnist.yaml"
    quick = {**yaml.safe_load(shipped.read_text()), "epochs": 1}
    (tmp_path / "quick.yaml").write_text(yaml.safe_dump(quick))
    out = tmp_path / "nets" / "mnist_fnn_200"
    code, told, _ = assay("train", f"{tmp_path / 'quick.yaml'}:fnn_200", "--out", out, "--data-root", SHARED)
    assert code == 0
    monkeypatch.setenv("ASSAY_DATA", str(tmp_path / "nets"))
    model = load_model("mnist_fnn_200")
    assert model.info.trained_on is not None
    with torch.no_grad():
        right = model.module(pixels("t10k")).argmax(1) == digits("t10k")
    accuracy = float(re.search(r"clean accuracy ([\d.]+)%", told)[1]) / 100
    assert accuracy == pytest.approx(float(right.double().mean()), abs=5e-5)
    assert accuracy > 0.9
