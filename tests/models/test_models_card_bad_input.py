"""Cards that are wrong, from the command line: one sentence, exit code 2, nothing written."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
import yaml
from onnx import TensorProto, helper, numpy_helper
from torch import nn

CLASSES = 4
SMALL = {"timm": "mobilenetv3_small_050"}
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "a mean of the wrong length": (
        {"input": {"mean": [0.5]}},
        "`input` speaks of 1 channels where the network takes 3",
    ),
    "a mean that contradicts the channels": (
        {"input": {"mean": [0.5, 0.5], "channels": "bgr"}},
        "mean has 2 values for 3 channels",
    ),
    "a std of 0": ({"input": {"std": [1, 1, 0]}}, "is a divisor; give values above 0"),
    "a resize smaller than the crop": (
        {"input": {"resize": {"shorter": 5}}},
        "resize 5 is smaller than the crop",
    ),
    "a layout that contradicts the shape": (
        {"input": {"layout": "nhwc"}},
        "card.yaml: `layout` nhwc contradicts the network's input (N, 3, 6, 6), which is nchw",
    ),
    "a size that contradicts the shape": (
        {"input": {"size": [6, 8]}},
        "card.yaml: `input.size` [6, 8] contradicts the network's input, whose height and width are [6, 6]",
    ),
    "a class list of another length": (
        {"label_space": list("abc")},
        "`label_space` speaks of 3 classes, but the network returns 4 logits",
    ),
    "weights of another architecture": (
        {"network": SMALL, "weights": {"file": "other.pth"}},
        "other.pth: these weights are of another architecture than MobileNetV3 (missing: conv_stem.weight",
    ),
    "weights of a deeper network": (
        {"network": {"torchvision": "resnet18"}, "weights": {"file": "deeper.pth"}},
        "deeper.pth: these weights are of another architecture than ResNet (unexpected: layer1.2.conv1.weight",
    ),
    "a card that names itself": ({"network": {"onnx": "card.yaml"}}, "`network.onnx` names the card itself"),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A linear network over 3 x 6 x 6 as ONNX, and weight files that are not of the networks of the cards."""
    from torchvision.models import resnet34

    folder = tmp_path_factory.mktemp("cards")
    weights = np.random.default_rng(0).normal(size=(108, CLASSES)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["x"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["y"])],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 6, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", CLASSES])],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, folder / "net.onnx")
    torch.save(nn.Linear(3, 4).state_dict(), folder / "other.pth")
    torch.save(resnet34().state_dict(), folder / "deeper.pth")
    return folder


def write(place: Path, **said: Any) -> Path:
    path = place / "card.yaml"
    path.write_text(yaml.safe_dump({"schema": 1, "name": "mine", "network": {"onnx": "net.onnx"}} | said))
    return path


@pytest.mark.parametrize("case", BAD)
def test_a_wrong_card_is_one_sentence_and_nothing_is_written(
    assay, place: Path, tmp_path: Path, case: str
) -> None:
    said, complaint = BAD[case]
    card, out = write(place, **said), tmp_path / "o"
    for asked in (
        ("validate", card),
        ("run", "--model", card, "--task", "adversarial/digits", "--out", out),
        ("plan", "--model", card, "--task", "adversarial/digits"),
        ("doctor", card, "--data", "digits", "--write", out) if "input" not in said else ("validate", card),
    ):
        code, printed, errors = assay(*asked)
        assert (code, printed) == (2, ""), asked
        assert errors.startswith("assay: ")
        assert errors.count("\n") == 1
    assert not out.exists()
    code, _, errors = assay("validate", card)
    assert complaint in errors


def test_validate_says_where_it_did_not_look_at_the_network(assay, place: Path) -> None:
    looked = "card.yaml: valid model card\n"
    for said, end in (
        ({}, looked),
        ({"network": {"onnx": "none.onnx"}}, "(network not looked at: none.onnx is not here)\n"),
        (
            {"network": {"factory": "none:none"}},
            "(network not looked at: a factory is called only where its model is used)\n",
        ),
        ({"network": SMALL}, "(network not looked at: it has the published weights)\n"),
    ):
        code, printed, errors = assay("validate", write(place, **said))
        assert (code, errors) == (0, "")
        assert printed.endswith(end)


def test_a_program_of_another_size_than_its_card_is_refused(assay, place: Path) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(108, CLASSES))
    torch.export.save(torch.export.export(net, (torch.zeros(2, 3, 6, 6),)), place / "net.pt2")
    code, _, errors = assay("validate", write(place, network={"program": "net.pt2"}, input={"size": [8, 6]}))
    assert (code, "`input.size` [8, 6] contradicts the network's input" in errors) == (2, True)
