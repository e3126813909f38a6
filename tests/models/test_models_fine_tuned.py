"""A fine-tuned network from end to end: a head trained here, saved as Lightning does, brought in by a card."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torch import Tensor, nn

from assay.models.zoo import load_model

CARD = """
schema: 1
name: fine_tuned
network: {timm: tf_efficientnet_lite0}
weights: {file: last.ckpt}
num_classes: 10
label_space: cifar-10
"""
TASK = """
schema: 1
family: adversarial
title: One attack, one radius
data: foolbox-cifar10
eps: [0, 1/255]
attacks: [{method: fgsm}]
"""


def pictures() -> tuple[Tensor, Tensor]:
    """Foolbox's CIFAR-10 pictures as the network's makers prepare them (20, 3, 224, 224), and their labels."""
    spec = importlib.util.find_spec("foolbox")
    assert spec is not None
    assert spec.origin is not None
    files = sorted((Path(spec.origin).parent / "data").glob("cifar10_*.png"))
    images = [Image.open(file).convert("RGB").resize((256, 256), Image.Resampling.BICUBIC) for file in files]
    values = torch.from_numpy(np.stack([np.asarray(each) for each in images])).permute(0, 3, 1, 2)
    labels = torch.tensor([int(file.stem.split("_")[-1]) for file in files])
    return (values[:, :, 16:240, 16:240] / 255 - 0.5) / 0.5, labels


def fine_tuned(values: Tensor, labels: Tensor) -> nn.Module:
    """EfficientNet-Lite0's frozen features with a ten-class head trained on these pictures."""
    net: nn.Module = timm.create_model("tf_efficientnet_lite0", num_classes=10)
    trained = load_model("efficientnet_lite0").module
    inner = next(layer for layer in trained.modules() if hasattr(layer, "conv_stem"))
    features = {key: value for key, value in inner.state_dict().items() if "classifier" not in key}
    net.load_state_dict(features, strict=False)
    net.eval()
    head = net.get_submodule("classifier")
    with torch.no_grad():
        seen = net.forward_head(net.forward_features(values), pre_logits=True)  # type: ignore[operator]
    optimiser = torch.optim.Adam(head.parameters(), lr=0.01)
    for _ in range(100):
        optimiser.zero_grad()
        nn.functional.cross_entropy(head(seen), labels).backward()
        optimiser.step()
    return net


@pytest.mark.slow
def test_a_head_trained_here_is_run_by_a_card_with_the_accuracy_that_pytorch_measures(
    assay, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    values, labels = pictures()
    net = fine_tuned(values[:10], labels[:10])
    with torch.no_grad():
        right = int((net(values).argmax(1) == labels).sum())
    assert 10 <= right < 20  # it knows the ten that it was trained on, and not every other

    saved = {
        "state_dict": {f"model.{key}": value for key, value in net.state_dict().items()},
        "pytorch-lightning_version": "2.5.0",
        "epoch": 99,
        "global_step": 100,
        "hyper_parameters": {"lr": 0.01},
        "optimizer_states": [],
        "lr_schedulers": [],
        "callbacks": {},
        "loops": {},
    }
    torch.save(saved, tmp_path / "last.ckpt")
    card, task, out = tmp_path / "fine_tuned.yaml", tmp_path / "fgsm.yaml", tmp_path / "out"
    card.write_text(CARD)
    task.write_text(TASK)

    code, printed, err = assay("accuracy", card, "--data", "foolbox-cifar10", "--json")
    assert code == 0, err
    assert [row["right"] for row in json.loads(printed)] == [right]

    code, _, err = assay("run", "--model", card, "--task", task, "--out", out)
    assert code == 0, err
    result = json.loads((out / "results" / "fine_tuned" / "fgsm.json").read_text())
    metrics = {row["name"]: row for row in result["metrics"]}
    assert (metrics["clean_accuracy"]["value"], metrics["clean_accuracy"]["n"]) == (
        pytest.approx(right / 20),
        20,
    )
