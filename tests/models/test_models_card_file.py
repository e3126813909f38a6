"""Model cards: what they say is what the network gets; what they say wrongly is one sentence."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
import yaml
from onnx import TensorProto, helper, numpy_helper

from assay.common.errors import UserError
from assay.models.card_file import is_card, read_card_file
from assay.models.info import Preprocessing
from assay.models.zoo import list_models, load_model, named_in

CLASSES = 4
PICTURE = np.random.default_rng(3).integers(0, 256, (6, 6, 3), np.uint8)


def network(folder: Path, shape: tuple[int, ...] = (3, 6, 6), name: str = "net.onnx") -> np.ndarray:
    """Writes a linear network over its flat input; returns its weights (values, classes)."""
    values = int(np.prod(shape))
    weights = np.random.default_rng(0).normal(size=(values, CLASSES)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["x"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["y"])],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *shape])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", CLASSES])],
        [numpy_helper.from_array(weights, "w")],
    )
    opset = [helper.make_opsetid("", 13)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), folder / name)
    return weights


def card(folder: Path, file: str = "mine.yaml", **said: Any) -> Path:
    """Writes a card of ``net.onnx``; ``said`` replaces its keys, None removes one."""
    document = {"schema": 1, "name": "mine", "network": {"onnx": "net.onnx"}, "num_classes": CLASSES} | said
    path = folder / file
    path.write_text(yaml.safe_dump({key: value for key, value in document.items() if value is not None}))
    return path


def test_mean_std_range_and_channels_are_what_the_network_gets(tmp_path: Path) -> None:
    weights = network(tmp_path)
    mean, std = [103.9, 116.8, 123.7], [57.0, 58.0, 59.0]
    path = card(tmp_path, input={"channels": "bgr", "range": [0, 255], "mean": mean, "std": std})
    model = load_model(str(path))
    logits = model.module(model.prepare(PICTURE)[None])
    as_its_maker = (PICTURE[:, :, ::-1].astype(np.float64) - mean) / std
    expected = as_its_maker.transpose(2, 0, 1).reshape(1, -1) @ weights
    np.testing.assert_allclose(logits.numpy(), expected, rtol=1e-4)
    assert (model.info.name, model.info.num_classes) == ("mine", CLASSES)


def test_a_card_that_says_nothing_leaves_the_network_as_its_file_is(tmp_path: Path) -> None:
    network(tmp_path)
    plain = load_model(f"onnx:{tmp_path / 'net.onnx'}")
    model = load_model(str(card(tmp_path)))
    pixels = model.prepare(PICTURE)[None]
    assert torch.equal(model.module(pixels), plain.module(pixels))
    assert model.info.preprocessing == plain.info.preprocessing


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"shorter": 8, "interpolation": "bicubic"}, {"resize": 8, "interpolation": "bicubic"}),
        ({"exact": [6, 6]}, {"resize": "direct"}),
        ({"exact": [8, 10], "interpolation": "nearest"}, {"resize": (8, 10), "interpolation": "nearest"}),
    ],
)
def test_a_resize_is_followed_by_a_centre_crop(
    tmp_path: Path, said: dict[str, Any], expected: dict[str, Any]
) -> None:
    network(tmp_path)
    model = load_model(str(card(tmp_path, input={"size": [6, 6], "resize": said})))
    plain = {"crop": (6, 6), "mean": (0.0,) * 3, "std": (1.0,) * 3}
    assert model.info.preprocessing == Preprocessing(**plain, **expected)


def test_own_class_names_and_the_stated_accuracy_come_with_the_model(tmp_path: Path) -> None:
    network(tmp_path)
    stated = {"value": 0.75, "data": "my-test", "n": 400}
    info = load_model(
        str(card(tmp_path, label_space=["a", "b", "c", "d"], clean_accuracy=stated, licence="mine"))
    ).info
    assert (info.classes, info.label_space, info.licence) == (("a", "b", "c", "d"), "unstated", "mine")
    assert info.clean_accuracy is not None
    assert info.clean_accuracy.model_dump() == stated


def test_files_are_found_beside_the_card_and_then_among_the_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside, elsewhere = tmp_path / "cards", tmp_path / "data" / "nets"
    beside.mkdir()
    elsewhere.mkdir(parents=True)
    path = card(beside)
    with pytest.raises(UserError, match=r"names net\.onnx, which is neither at .* nor in"):
        load_model(str(path))
    network(elsewhere)
    monkeypatch.setenv("ASSAY_DATA", str(tmp_path / "data"))
    assert load_model(str(path)).info.num_classes == CLASSES
    path.rename(elsewhere / "mine.yaml")
    assert load_model("mine.yaml").info.name == "mine"  # a bare name, as a list shows it


def test_cards_are_listed_by_what_a_user_types(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network(tmp_path)
    card(tmp_path, label_space="cifar-10", num_classes=10)
    (tmp_path / "task.yaml").write_text("family: adversarial\n")
    (tmp_path / "wrong.yaml").write_text("network: {}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ASSAY_DATA", str(tmp_path))  # the same folder twice is one row
    rows = [entry for entry in list_models() if entry.name.endswith(".yaml")]
    assert [entry.name for entry in rows] == ["CARD.yaml", "mine.yaml", "wrong.yaml"]
    assert (rows[1].label_space, rows[1].available()) == ("cifar-10", None)
    assert "wrong.yaml" in str(rows[2].available())


def test_a_name_in_a_file_starts_at_the_files_folder(tmp_path: Path) -> None:
    assert named_in(card(tmp_path).parent, "mine.yaml") == str(tmp_path / "mine.yaml")
    assert named_in(tmp_path, "elsewhere.yaml") == "elsewhere.yaml"


def test_onnx_takes_the_card_beside_it(tmp_path: Path) -> None:
    network(tmp_path)
    path = card(tmp_path, "net.yaml", input={"mean": [0.5, 0.5, 0.5]})
    assert load_model(f"onnx:{tmp_path / 'net.onnx'}").info.preprocessing.mean == (0.5, 0.5, 0.5)
    card(tmp_path, "net.yaml", network={"onnx": "other.onnx"})
    with pytest.raises(UserError, match=r"taken for the card of net\.onnx beside it, but names other\.onnx"):
        load_model(f"onnx:{tmp_path / 'net.onnx'}")
    path.write_text("layout: none of a card\n")
    assert not is_card(path)
    assert load_model(f"onnx:{tmp_path / 'net.onnx'}").info.preprocessing.mean == (0.0, 0.0, 0.0)


THREE = [0.5, 0.5, 0.5]


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ({"input": {"mean": [0.5]}}, r"`input` speaks of 1 channels where the network takes 3"),
        ({"input": {"mean": [0.5, 0.5], "channels": "rgb"}}, r"mean has 2 values for 3 channels"),
        ({"input": {"mean": THREE, "std": [1, 1]}}, r"std has 2 values for 3 channels"),
        ({"input": {"std": [1, 1, 0]}}, r"std \[1.0, 1.0, 0.0\] is a divisor"),
        ({"input": {"size": [6, 6], "resize": {"shorter": 5}}}, r"resize 5 is smaller than the crop"),
        ({"input": {"size": [6, 6], "resize": {"exact": [8, 5]}}}, r"resize \[8, 5\] is smaller than the crop"),
        ({"input": {"resize": {"shorter": 5}}}, r"resize 5 is smaller than the crop to size \[6, 6\]"),
        ({"input": {"resize": {}}}, r"exactly one of `shorter` and `exact`"),
        ({"input": {"range": [0, 2]}}, r"range \[0.0, 2.0\] is neither \[0, 1\] nor \[0, 255\]"),
        ({"input": {"channels": "grey"}}, r"`input` speaks of 1 channels where the network takes 3"),
        ({"input": {"channels": "rbg"}}, r"`input.channels`: .*'rgb', 'bgr' or 'grey'"),
        ({"num_classes": 5}, r"`num_classes` speaks of 5 classes, but the network returns 4 logits"),
        ({"num_classes": None, "label_space": list("abc")}, r"`label_space` speaks of 3 classes, but the"),
        ({"label_space": list("abc")}, r"label_space lists 3 classes where `num_classes` is 4"),
        ({"label_space": list("abca")}, r"names the class 'a' twice"),
        ({"label_space": "cifar-10"}, r"label space cifar-10 has 10 classes, not 4"),
        ({"network": {"onnx": "mine.yaml"}}, r"`network.onnx` names the card itself"),
        ({"network": {}}, r"network names nothing; give exactly one of onnx, timm"),
        ({"network": {"onnx": "net.onnx", "timm": "x"}}, r"network names onnx and timm; give exactly one"),
        ({"weights": {"file": "w.pth"}}, r"network onnx has its weights inside; leave out `weights`"),
        ({"name": "../escape"}, r"`name`: expected 1 to 80 letters, digits"),
        ({"clean_accuracy": {"value": 69.25, "data": "d"}}, r"`clean_accuracy.value`: .*less than or equal to 1"),
        ({"output": {"drop": [0, 0]}}, r"drop \[0, 0\] names a place twice"),
        ({"preprocessing": {}}, r"unknown key `preprocessing`"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_sentence_that_names_the_card(
    tmp_path: Path, said: dict[str, Any], complaint: str
) -> None:
    network(tmp_path)
    path = card(tmp_path, **said)
    with pytest.raises(UserError, match=complaint) as caught:
        load_model(str(path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../net.onnx", "a/../../net.onnx", "~/net.onnx", "..\\net.onnx"]
)
def test_a_strangers_card_names_no_file_outside_its_folder(tmp_path: Path, name: str) -> None:
    path = card(tmp_path, network={"onnx": name})
    assert read_card_file(path).network.onnx == name
    with pytest.raises(UserError, match=r"`network\.onnx` names .*, which leaves the card's folder"):
        read_card_file(path, confined=True)


def test_a_link_out_of_the_folder_leaves_it_too(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    network(tmp_path)
    (inside / "net.onnx").symlink_to(tmp_path / "net.onnx")
    path = card(inside)
    with pytest.raises(UserError, match="leaves the card's folder"):
        read_card_file(path, confined=True)
    network(inside, name="own.onnx")
    assert read_card_file(card(inside, network={"onnx": "own.onnx"}), confined=True).name == "mine"


def test_weights_of_the_command_line_and_of_a_card_exclude_each_other(tmp_path: Path) -> None:
    network(tmp_path)
    with pytest.raises(UserError, match="leave out --weights"):
        load_model(str(card(tmp_path)), weights=tmp_path / "w.pth")


def test_a_card_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.yaml: cannot be read \(No such file"):
        load_model(str(tmp_path / "none.yaml"))
