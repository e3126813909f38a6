"""Operators beside the plain ones: default exports of known architectures, resizes, types, refusals by name."""

import importlib
import sys
import warnings

import numpy as np
import onnx
import pytest
import timm
import torch
import torchvision
from onnx import TensorProto, helper
from test_models_onnx_exports import agrees, drawn, saved
from torch import nn

from assay.common.errors import UserError
from assay.models.check import LogitsError, ends_in_sigmoid, probe
from assay.models.onnx_graph import network
from assay.models.piecewise import is_piecewise_linear

TV, SWIN = torchvision.models, torchvision.models.swin_transformer


def tv_swin(block, downsample):
    return TV.SwinTransformer(
        [4, 4], 16, [1, 2], [2, 4], [4, 4], num_classes=10, block=block, downsample_layer=downsample
    )


ARCHITECTURES = {
    "resnet18": (lambda: TV.resnet18(num_classes=10), True),
    "timm resnet18": (lambda: timm.create_model("resnet18", num_classes=10), True),
    "squeezenet": (lambda: TV.squeezenet1_1(num_classes=10), True),
    "mobilenet_v3_small": (lambda: TV.mobilenet_v3_small(num_classes=10), False),
    "shufflenet": (lambda: TV.shufflenet_v2_x0_5(num_classes=10), False),
    "efficientnet_lite0": (lambda: timm.create_model("efficientnet_lite0", num_classes=10), True),
    "efficientnet_b0": (lambda: timm.create_model("efficientnet_b0", num_classes=10), False),
    "vit": (lambda: timm.create_model("vit_tiny_patch16_224", img_size=64, depth=2, num_classes=10), False),
    "vit of tanh": (
        lambda: timm.create_model(
            "vit_tiny_patch16_224", img_size=64, depth=2, num_classes=10, act_layer="gelu_tanh"
        ),
        False,
    ),
    "convnext": (lambda: timm.create_model("convnext_atto", depths=(1, 1, 1, 1), num_classes=10), False),
    "swin": (lambda: tv_swin(SWIN.SwinTransformerBlock, SWIN.PatchMerging), False),
    "swin v2": (lambda: tv_swin(SWIN.SwinTransformerBlockV2, SWIN.PatchMergingV2), False),
}


QUICK = {"resnet18", "squeezenet", "vit"}  # of three kinds; the others are of the longer checks


@pytest.mark.parametrize(
    "name", [pytest.param(each, marks=() if each in QUICK else pytest.mark.slow) for each in ARCHITECTURES]
)
def test_default_exports_of_known_architectures_answer_alike(tmp_path, name):
    make, piecewise = ARCHITECTURES[name]
    torch.manual_seed(0)
    net = make().eval()
    with warnings.catch_warnings(action="ignore"):
        torch.onnx.export(net, (torch.rand(1, 3, 64, 64),), tmp_path / "net.onnx", verbose=False)
    found = agrees(tmp_path / "net.onnx", (3, 64, 64))
    assert is_piecewise_linear(found.module) == piecewise


def resized(path, opset, given, constants, after, size=(6, 5), **settings):
    nodes = [
        helper.make_node("Resize", given, ["r"], **settings),
        helper.make_node("Flatten", ["r"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]
    constants = constants | {"w": drawn(3 * after[0] * after[1], 10)}
    return saved(path, nodes, ["N", 3, *size], constants, opset=opset, version=10)


TURNS = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize(
    "mode",
    [
        {"mode": "linear"},
        {"mode": "cubic", "cubic_coeff_a": -0.5},
        {"mode": "cubic", "exclude_outside": 1},
        *({"mode": "nearest", "nearest_mode": near} for near in ("floor", "ceil", "round_prefer_floor")),
    ],
)
@pytest.mark.parametrize("after", [(12, 10), (3, 7)])
def test_every_resize_means_what_onnxruntime_says(tmp_path, turn, mode, after):
    sizes = {"s": np.array([1, 3, *after], dtype=np.int64)}
    path = resized(
        tmp_path / "net.onnx",
        13,
        ["x", "", "", "s"],
        sizes,
        after,
        coordinate_transformation_mode=turn,
        **mode,
    )
    nodes_batch = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 6, 5])
    model = onnx.load(path)
    model.graph.input[0].CopyFrom(nodes_batch)
    onnx.save(model, path)
    agrees(path, (3, 6, 5))


@pytest.mark.parametrize("opset", [13, 18, 19])
def test_a_resize_by_factors_is_right(tmp_path, opset):
    scales = {"s": np.array([1, 1, 2.5, 1.7], dtype=np.float32)}
    path = resized(tmp_path / "net.onnx", opset, ["x", "", "s"], scales, (15, 8), mode="linear")
    agrees(path, (3, 6, 5))


def test_a_smooth_shrinking_is_right(tmp_path):
    scales = {"s": np.array([1, 1, 0.5, 0.6], dtype=np.float32)}
    agrees(
        resized(tmp_path / "net.onnx", 18, ["x", "", "s"], scales, (3, 3), mode="linear", antialias=1),
        (3, 6, 5),
    )


def test_a_resize_that_is_no_mixture_of_pixels_is_refused_by_its_setting(tmp_path):
    constants = {"roi": np.array([0, 0, 0, 0, 1, 1, 2, 2], np.float32), "s": np.array([1, 3, 4, 4], np.int64)}
    path = resized(
        tmp_path / "net.onnx", 13, ["x", "roi", "", "s"], constants, (4, 4), mode="linear",
        coordinate_transformation_mode="tf_crop_and_resize",
    )  # fmt: skip
    with pytest.raises(
        UserError, match="Resize with `coordinate_transformation_mode` tf_crop_and_resize cannot be"
    ):
        network(path)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_an_old_upsample_is_right(tmp_path, mode):
    nodes = [
        helper.make_node("Upsample", ["x", "s"], ["r"], mode=mode),
        helper.make_node("Flatten", ["r"], ["y"]),
    ]
    path = saved(
        tmp_path / "net.onnx", nodes, ["N", 1, 4, 4], {"s": np.array([1, 1, 2, 3], np.float32)}, 9, version=4
    )
    agrees(path, (1, 4, 4))


@pytest.mark.parametrize(("kind", "said"), [("UINT8", "uint8"), ("FLOAT16", "float16"), ("DOUBLE", "double")])
def test_an_input_of_other_numbers_than_float32_is_refused(tmp_path, kind, said):
    nodes = [
        helper.make_node("Cast", ["x"], ["c"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["c"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]
    path = saved(tmp_path / "net.onnx", nodes, ["N", 1, 4, 4], {"w": drawn(16, 10)})
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.DataType.Value(kind)
    onnx.save(model, path)
    with pytest.raises(UserError, match=f"its input is {said}, .* export it with an input of float32"):
        network(path)


def test_an_empty_list_of_axes_that_means_nothing_is_done_is_an_identity(tmp_path):
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["m"], noop_with_empty_axes=1),
        helper.make_node("Flatten", ["m"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]
    agrees(saved(tmp_path / "net.onnx", nodes, ["N", 1, 4, 4], {"w": drawn(16, 10)}, 18), (1, 4, 4))


@pytest.mark.parametrize("count", [2, 3])
def test_a_split_into_a_number_of_parts_is_right(tmp_path, count):
    parts = [f"p{number}" for number in range(count)]
    nodes = [
        helper.make_node("Split", ["x"], parts, axis=1, num_outputs=count),
        helper.make_node("Concat", parts[::-1], ["c"], axis=1),
        helper.make_node("Flatten", ["c"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]
    agrees(saved(tmp_path / "net.onnx", nodes, ["N", 3, 4, 4], {"w": drawn(48, 10)}, 18), (3, 4, 4))


@pytest.mark.parametrize(("name", "opset"), [("Mish", 18), ("Gelu", 20), ("HardSwish", 14)])
def test_an_operator_defined_by_others_is_taken_by_its_definition(tmp_path, name, opset):
    nodes = [
        helper.make_node("Flatten", ["x"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["h"]),
        helper.make_node(name, ["h"], ["y"]),
    ]
    agrees(saved(tmp_path / "net.onnx", nodes, ["N", 1, 4, 4], {"w": drawn(16, 10)}, opset), (1, 4, 4))


def test_a_final_sigmoid_of_any_network_is_refused_and_one_within_is_not(tmp_path, monkeypatch):
    (tmp_path / "nets_ending.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self, last):\n"
        "        super().__init__()\n"
        "        self.dense, self.last = torch.nn.Linear(16, 10), last\n"
        "    def forward(self, pixels):\n"
        "        logits = self.dense(torch.sigmoid(pixels.flatten(1)))\n"
        "        return torch.sigmoid(logits)[:, 1:] if self.last else logits\n"
        "INPUT = {'crop': [4, 4], 'mean': [0.0], 'std': [1.0]}\n"
        "def last():\n"
        "    return Net(True), {'input': INPUT}\n"
        "def within():\n"
        "    return Net(False), {'input': INPUT}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    made = importlib.import_module("nets_ending")
    images = torch.rand(2, 1, 4, 4)
    assert ends_in_sigmoid(made.Net(True), images)
    assert not ends_in_sigmoid(made.Net(False), images)
    for last in (True, False):
        path = tmp_path / f"{last}.pt2"
        torch.export.save(torch.export.export(made.Net(last).eval(), (images,)), path)
        assert ends_in_sigmoid(torch.export.load(path).module(), images) == last
    sys.modules.pop("nets_ending")


def test_a_model_that_ends_in_a_sigmoid_is_refused_before_any_work():
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 10), nn.Sigmoid())

    class Info:
        name, input_shape, num_classes = "mine", (1, 4, 4), 10

    class Model:
        info, module = Info, net

    with pytest.raises(LogitsError, match=r"mine returns probabilities.* remove the final sigmoid"):
        probe(Model, "cpu")
