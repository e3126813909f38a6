"""The doctor: a convention that was planted is found, or named among those that the pictures cannot tell apart."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
import yaml
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from assay.models.conventions import (
    AS_DESCRIBED,
    COLOUR,
    GREY,
    PLAIN,
    RESIZES,
    Convention,
    described,
    input_conventions,
    outputs,
    resizes,
)
from assay.models.diagnosis import Diagnosis, TrialPictures, diagnose
from assay.models.info import Preprocessing

CLASSES = 10
SIDE = 6
DATA = """schema: 1
name: prototypes
title: ten colours with noise
label_space: prototypes
num_classes: 10
licence: none
source: drawn by the tests
get: run the tests
layout: {type: npz, file: prototypes.npz}
files: unlisted
"""


def prototypes(channels: int) -> np.ndarray:
    """(classes, channels) in [0, 1]: colours that neither another range nor the reverse order leaves as they are."""
    if channels == 1:
        return np.linspace(0.05, 0.95, CLASSES)[:, None]
    return np.random.default_rng(11).uniform(0.05, 0.95, (CLASSES, channels))


def drawn(channels: int, n: int = 100, size: tuple[int, int] = (SIDE, SIDE)) -> TrialPictures:
    """Pictures of a class's colour with noise; every class as often."""
    generator = np.random.default_rng(5)
    labels = generator.permutation(np.arange(n) % CLASSES)
    clean = prototypes(channels)[labels][:, None, None, :]
    pixels = clean + generator.normal(0, 0.1, (n, *size, channels))
    return TrialPictures(list((pixels.clip(0, 1) * 255).round().astype(np.uint8)), labels.tolist(), CLASSES)


class Nearest(nn.Module):
    """Logits by the distance of the mean colour to each prototype: right for pixels in [0, 1], RGB."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.prototypes = torch.tensor(prototypes(channels), dtype=torch.float32)

    def forward(self, pixels: Tensor) -> Tensor:
        means = pixels.mean((2, 3))
        return -30 * (means[:, None, :] - self.prototypes).square().sum(2)


class Planted(nn.Module):
    """The network of a maker who took pictures otherwise."""

    def __init__(
        self, convention: Convention, channels: int, change: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        super().__init__()
        self.net, self.change = Nearest(channels), change
        self.preprocessing = convention.preprocessing

    def forward(self, values: Tensor) -> Tensor:
        ordered = values.flip(1) if self.preprocessing.channels == "bgr" else values
        mean, std = (
            torch.tensor(each).view(-1, 1, 1) for each in (self.preprocessing.mean, self.preprocessing.std)
        )
        logits = self.net(ordered * std + mean)
        return logits if self.change is None else self.change(logits)


def conventions(channels: int) -> list[Convention]:
    return list(input_conventions((channels, SIDE, SIDE), (None,), coloured=True))


def found_for(net: nn.Module, channels: int, **more: Any) -> Diagnosis:
    found = diagnose(lambda _layout: net, (channels, SIDE, SIDE), (None,), drawn(channels), **more)
    assert isinstance(found, Diagnosis)
    return found


@pytest.mark.parametrize("channels", [1, 3])
def test_every_planted_convention_is_first_or_cannot_be_told_apart(channels: int) -> None:
    for planted in conventions(channels):
        found = found_for(Planted(planted, channels), channels)
        fitting = [each.convention for each in found.candidates[: found.equals + 1]]
        assert planted in fitting
        assert found.fits
        if planted.values not in ("ImageNet", "ImageNet, std 0.225", "CIFAR-10"):  # which are all but alike
            assert fitting[0] == planted


def test_the_issues_list_is_tried() -> None:
    tried = {each.name for each in conventions(3)}
    assert {
        "[0, 1], rgb",
        "[0, 255], bgr",
        "ImageNet, rgb",
        "CIFAR-10, bgr",
        "ImageNet, std 0.225, rgb",
    } <= tried
    assert len(tried) == 2 * (len(COLOUR) - 1) + 1
    assert {norm.name for norm in GREY} >= {"[0, 1]", "[0, 255]", "MNIST"}


def test_what_cannot_be_told_apart_is_settled_for_the_plainest() -> None:
    class Brighter(nn.Module):
        """Two classes by whether one half is brighter: no normalisation changes the answer."""

        def forward(self, values: Tensor) -> Tensor:
            halves = values[..., : SIDE // 2].mean((1, 2, 3)), values[..., SIDE // 2 :].mean((1, 2, 3))
            return torch.stack(halves, 1)

    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 40)
    pixels = generator.integers(0, 100, (40, SIDE, SIDE, 3)).astype(np.uint8)
    for row, label in enumerate(labels):
        pixels[row, :, : SIDE // 2] += np.uint8(100 * (1 - label))
        pixels[row, :, SIDE // 2 :] += np.uint8(100 * label)
    pictures = TrialPictures(list(pixels), labels.tolist(), 2)
    found = diagnose(lambda _layout: Brighter(), (3, SIDE, SIDE), (None,), pictures)
    assert isinstance(found, Diagnosis)
    assert found.best.convention.name == "[0, 1], rgb"
    assert found.equals == len(conventions(3)) - 1


@pytest.mark.parametrize(
    ("change", "output"),
    [
        (lambda logits: torch.cat([logits.new_zeros(len(logits), 1) - 3, logits], 1), {"drop": [0]}),
        (lambda logits: torch.cat([logits, logits.new_zeros(len(logits), 1) - 3], 1), {"drop": [10]}),
        (lambda logits: logits.roll(1, 1), {"label_shift": 1}),
        (lambda logits: logits.roll(-1, 1), {"label_shift": -1}),
    ],
)
def test_a_background_class_and_shifted_labels_are_found(
    change: Callable[[Tensor], Tensor], output: dict[str, Any]
) -> None:
    planted = conventions(3)[3]
    found = found_for(Planted(planted, 3, change), 3)
    assert found.best.convention.output() == output
    assert found.best.convention.values == planted.values


def test_a_layout_that_the_shape_leaves_open_is_found() -> None:
    def split(pixels: Tensor) -> Tensor:
        return pixels.reshape(len(pixels), 3, -1)

    class OfRow(nn.Module):
        """Takes 108 values in a row, laid out as (6, 6, 3)."""

        def forward(self, values: Tensor) -> Tensor:
            return Nearest(3)(values.reshape(-1, SIDE, SIDE, 3).permute(0, 3, 1, 2))

    class AsRow(nn.Module):
        def __init__(self, layout: str | None) -> None:
            super().__init__()
            self.layout = layout

        def forward(self, pixels: Tensor) -> Tensor:
            return OfRow()((pixels.permute(0, 2, 3, 1) if self.layout == "nhwc" else pixels).flatten(1))

    found = diagnose(AsRow, (3, SIDE, SIDE), ("nchw", "nhwc"), drawn(3))
    assert isinstance(found, Diagnosis)
    assert found.best.convention.name == "[0, 1], rgb, nhwc"


def test_the_way_to_resize_is_found() -> None:
    """The object fills the middle quarter; a network that expects a crop sees it paler in the whole picture."""
    labels = np.arange(60) % CLASSES
    pixels = np.full((60, 24, 24, 3), 128, np.uint8)
    noise = np.random.default_rng(2).normal(0, 20, (60, 12, 12, 3))
    pixels[:, 6:18, 6:18] = np.clip(255 * prototypes(3)[labels][:, None, None] + noise, 0, 255).astype(
        np.uint8
    )
    pictures = TrialPictures(list(pixels), labels.tolist(), CLASSES)
    found = diagnose(lambda _layout: Nearest(3), (3, SIDE, SIDE), (None,), pictures)
    assert isinstance(found, Diagnosis)
    assert found.best.convention.name == "[0, 1], rgb, crop alone"
    assert found.best.convention.preprocessing.resize is None
    assert {each.convention.preprocessing.resize for each in found.candidates} == {None, "direct", 7}


def test_of_resizes_that_change_nothing_the_whole_picture_and_bilinear_come_first() -> None:
    """Pictures of one colour each: however they are resized, the network sees the same."""
    labels = np.arange(60) % CLASSES
    colours = (255 * prototypes(3)[labels]).round().astype(np.uint8)
    pictures = TrialPictures(list(np.tile(colours[:, None, None], (1, 9, 12, 1))), labels.tolist(), CLASSES)
    found = diagnose(lambda _layout: Nearest(3), (3, SIDE, SIDE), (None,), pictures)
    assert isinstance(found, Diagnosis)
    alike = [each.convention for each in found.candidates[: found.equals + 1]]
    assert [each.resize for each in alike if each.values == PLAIN] == list(RESIZES)
    assert alike[0].preprocessing.interpolation == "bilinear"
    assert [each.plainness for each in alike] == sorted(each.plainness for each in alike)


def test_the_plainest_is_ranked_by_its_rule() -> None:
    """Each less plain than the one before."""
    plain = conventions(3)[0]
    resized = list(resizes(plain, [(9, 12)]))
    other = next(each for each in conventions(3) if each.values == "ImageNet")
    nhwc = list(input_conventions((3, SIDE, SIDE), ("nchw", "nhwc"), coloured=True))
    last_layout = next(each for each in nhwc if (each.input.layout, each.values) == ("nhwc", PLAIN))
    background = outputs(plain, CLASSES + 1, CLASSES)
    own = described(Preprocessing(crop=(SIDE, SIDE), mean=(0.9,) * 3, std=(0.1,) * 3))
    assert own is not None
    assert plain.resize == ""  # where pictures have the network's size
    for ordered in (
        [own, plain, *resized, other],
        [plain, last_layout],
        [*background, other],
        [plain, outputs(plain, CLASSES, CLASSES)[1]],
    ):
        ranks = [each.plainness for each in ordered]
        assert ranks == sorted(set(ranks))


def test_what_a_model_says_of_itself_is_taken_where_nothing_is_better() -> None:
    planted = next(each for each in conventions(3) if each.values == "ImageNet")
    own = described(planted.preprocessing)
    assert found_for(Planted(planted, 3), 3, own=own).best.convention.values == AS_DESCRIBED
    wrong = described(Preprocessing(crop=(SIDE, SIDE), mean=(0.9,) * 3, std=(0.1,) * 3))
    assert found_for(Planted(planted, 3), 3, own=wrong).best.convention.values != AS_DESCRIBED


def test_a_network_that_guesses_fits_nothing_and_one_of_other_classes_is_told() -> None:
    class Guesses(nn.Module):
        def __init__(self, logits: int) -> None:
            super().__init__()
            self.logits = logits

        def forward(self, values: Tensor) -> Tensor:
            return torch.linspace(0, 1, self.logits).repeat(len(values), 1)

    assert not found_for(Guesses(CLASSES), 3).fits
    assert diagnose(lambda _layout: Guesses(7), (3, SIDE, SIDE), (None,), drawn(3)) == 7


def test_nan_is_a_wrong_answer() -> None:
    class Overflows(nn.Module):
        def forward(self, values: Tensor) -> Tensor:
            return Nearest(3)(values).masked_fill((values.amax((1, 2, 3)) > 100)[:, None], torch.nan)

    found = found_for(Overflows(), 3)
    assert found.best.convention.name == "[0, 1], rgb"
    assert all(each.accuracy <= 0.2 for each in found.candidates if "255" in each.convention.name)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the data set and an ONNX network that takes BGR in [0, 255] less its mean, with a background."""
    folder = tmp_path_factory.mktemp("doctor")
    pictures = drawn(3, n=120)
    np.savez(folder / "prototypes.npz", images=np.stack(pictures.pixels), labels=np.array(pictures.labels))
    (folder / "prototypes.yaml").write_text(DATA)
    colours = prototypes(3)[:, ::-1] * 255 - (103.939, 116.779, 123.68)  # of BGR, less the mean
    weights = np.zeros((CLASSES + 1, 3, SIDE, SIDE))
    weights[1:] = (2 * colours / SIDE**2)[:, :, None, None]
    bias = np.concatenate([[-1e6], -(colours**2).sum(1)])
    constants = {"w": weights.reshape(CLASSES + 1, -1).T / 100, "b": bias / 100}
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["x"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["z"]),
         helper.make_node("Add", ["z", "b"], ["y"])],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", CLASSES + 1])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()],
    )  # fmt: skip
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), folder / "n.onnx"
    )
    return folder


def test_the_verb_prints_a_table_and_one_object_and_writes_the_card(
    assay, place: Path, tmp_path: Path
) -> None:
    asked = ("doctor", f"onnx:{place / 'n.onnx'}", "--data", place / "prototypes.yaml")
    code, out, _ = assay(*asked)
    assert code == 0
    assert "fits: Caffe, bgr, without class 0" in out
    card = place / "found.yaml"
    code, out, _ = assay(*asked, "--json", "--write", card)
    assert code == 0
    document = json.loads(out)
    first = document["candidates"][0]
    said = {"size": [6, 6], "range": [0, 255], "channels": "bgr", "mean": [103.939, 116.779, 123.68]}
    assert (first["input"], first["output"], first["n"]) == (said, {"drop": [0]}, 100)
    assert first["accuracy"] > 0.9
    assert {"input", "output", "accuracy", "n"} <= set(document["candidates"][-1])
    assert document["card"] == yaml.safe_load(card.read_text())
    assert document["card"]["network"] == {"onnx": "n.onnx"}
    code, out, _ = assay("validate", card)
    assert (code, "valid model card" in out) == (0, True)
    code, _, err = assay(*asked, "--write", card)
    assert code == 2
    assert "exists; name a new file" in err


def test_the_verb_says_what_it_cannot_do(assay, place: Path, tmp_path: Path) -> None:
    data = ("--data", place / "prototypes.yaml")
    code, _, err = assay("doctor", f"onnx:{place / 'n.onnx'}", "--data", "foolbox-cifar100")
    assert code == 2
    assert "returns 11 logits where the data set foolbox-cifar100 has 100 classes" in err
    code, _, err = assay("doctor", "onnx:none.onnx", *data)
    assert (code, "none.onnx" in err) == (2, True)
    code, out, _ = assay("doctor", "doctor_models:guesses", *data)
    assert code == 1
    assert "no convention fits" in out
    target = tmp_path / "card.yaml"
    code, _, err = assay("doctor", "doctor_models:guesses", *data, "--write", target)
    assert (code, "no convention fits, so there is no card" in err, target.exists()) == (2, True, False)
