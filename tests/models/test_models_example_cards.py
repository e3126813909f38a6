"""The example cards: fourteen networks that others published, each read as its makers meant it."""

import json
import os
from pathlib import Path

import pytest

from assay.models.card_file import read_card_file
from assay.models.conventions import as_said

CARDS = Path(__file__).resolve().parents[2] / "docs" / "cards"
RIGHT = {  # of the first 1,000 CIFAR-10 and 2,000 MNIST test images, and of 300 pictures of NIPS 2017
    "resnet_2b": 703,
    "cifar_base_kw": 611,
    "cifar_wide_kw": 636,
    "cifar10_small": 630,
    "cifar10_medium": 706,
    "cifar10_large": 755,
    "Convnet_avgpool": 1939,
    "Convnet_maxpool": 1942,
    "mnist_relu_9_200": 1873,
    "ffnnSIGMOID__Point_6x200": 1940,
    "mnist-net_256x6": 1918,
    "mobilenet_v1_0.5_160": 199,
    "mobilenet_v1_0.5_160-crop": 193,
    "mobilenet_v1_0.75_192": 228,
    "mobilenet_v1_0.75_192-crop": 230,
    "mobilenet_v2_1.0_224": 249,
    "mobilenet_v2_1.0_224-crop": 245,
}
DATA = {"cifar-10": "cifar10-test1000", "mnist": "mnist-test", "imagenet-1k": "nips2017-dev300"}


@pytest.fixture
def zoo(shared: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the networks, where cards and data sets find their files."""
    folder = shared / "zoo"
    if not folder.is_dir():
        pytest.skip(f"the published networks are not at {folder}")
    monkeypatch.setenv("ASSAY_DATA", os.pathsep.join([str(folder), str(shared / "data")]))
    return folder


def test_there_is_a_card_of_every_network_and_of_both_resizes() -> None:
    cards = {path.stem: read_card_file(path, confined=True) for path in CARDS.glob("*.yaml")}
    assert set(cards) == set(RIGHT)
    assert all(card.name == stem and card.label_space in DATA for stem, card in cards.items())
    assert len({card.network.onnx for card in cards.values()}) == 14


@pytest.mark.slow
def test_one_command_gives_every_accuracy_to_the_image(assay, zoo: Path) -> None:
    data = [word for name in DATA.values() for word in ("--data", name)]
    code, out, err = assay("accuracy", *sorted(CARDS.glob("*.yaml")), *data, "--limit", 2000, "--json")
    assert (code, err) == (0, "")
    assert {row["model"]: row["right"] for row in json.loads(out)} == RIGHT


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in RIGHT if not name.endswith("-crop")])
def test_the_doctor_finds_the_makers_convention_from_a_hundred_images(assay, zoo: Path, name: str) -> None:
    card = read_card_file(CARDS / f"{name}.yaml")
    data = DATA[str(card.label_space)]
    code, out, _ = assay("doctor", f"onnx:{zoo / name}.onnx", "--data", data, "--json")
    document = json.loads(out)
    assert (code, document["fits"], document["candidates"][0]["n"]) == (0, True, 100)
    first, said = document["candidates"][0]["input"], card.input
    assert first["size"] == list(said.size or ())
    assert (first["channels"], first.get("mean"), first.get("std"), first.get("range")) == (
        said.channels,
        list(said.mean) if said.mean else None,
        list(said.std) if said.std else None,
        None,
    )
    if said.resize is not None:  # bilinear, of the whole picture: pictures cannot tell the two resizes apart
        assert (
            first["resize"]
            == as_said(said)["resize"]
            == {"exact": first["size"], "interpolation": "bilinear"}
        )
    assert document["card"]["input"] == first
    assert document["card"]["network"] == {"onnx": f"{name}.onnx"}
