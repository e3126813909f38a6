"""ONNX as exporters write it: answers are those of onnxruntime, whatever the opset, the layout and the batch."""

import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from torch import Tensor, nn

from assay.attacks.relu_graph import chain_of
from assay.common.errors import UserError
from assay.models.onnx_graph import network
from assay.models.onnx_model import read
from assay.models.piecewise import is_piecewise_linear
from assay.models.weights import files_sha256
from assay.models.zoo import load_model

EXACT = 1e-4


class SmallCnn(nn.Module):
    """A convolutional network of digits whose normalisation is in its forward."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.dense = nn.Linear(128, 10)

    def forward(self, pixels: Tensor) -> Tensor:
        maps = torch.relu(self.norm(self.conv((pixels - 0.3) / 0.35)))
        logits: Tensor = self.dense(maps.flatten(1))
        return logits


@pytest.fixture(scope="module")
def cnn() -> SmallCnn:
    """Trained on the first 1,000 digits."""
    torch.manual_seed(0)
    images, labels = load_digits(return_X_y=True)
    pixels = torch.tensor(images[:1000] / 16, dtype=torch.float32).view(-1, 1, 8, 8)
    net, wanted = SmallCnn(), torch.tensor(labels[:1000])
    optimiser = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(60):
        optimiser.zero_grad()
        nn.functional.cross_entropy(net(pixels), wanted).backward()
        optimiser.step()
    assert (net.eval()(pixels).argmax(1) == wanted).float().mean() > 0.95
    return net


FIXED, FREE = (4, 1, 8, 8), None


def exported(net: nn.Module, path: Path, opset: int | None, free: bool) -> Path:
    """``net`` by PyTorch's default export where ``opset`` is None, else by its older exporter."""
    images = torch.zeros(4, 1, 8, 8)
    with warnings.catch_warnings(action="ignore"):
        if opset is None:
            shapes = ({0: torch.export.Dim("batch")},) if free else None
            torch.onnx.export(net, (images,), path, dynamic_shapes=shapes, verbose=False)
        else:
            free_names = {"x": {0: "batch"}, "y": {0: "batch"}} if free else None
            torch.onnx.export(
                net, (images,), path, dynamo=False, opset_version=opset, input_names=["x"], output_names=["y"],
                dynamic_axes=free_names,
            )  # fmt: skip
    return path


def by_onnxruntime(path: Path, images: Tensor) -> np.ndarray:
    """What onnxruntime answers, in groups where the file fixes its batch."""
    session = onnxruntime.InferenceSession(str(path))
    given = session.get_inputs()[0]
    group = given.shape[0] if isinstance(given.shape[0], int) else len(images)
    rows = [
        session.run(None, {given.name: part.numpy().reshape(len(part), *given.shape[1:])})[0]
        for part in images.contiguous().split(group)
    ]
    return np.concatenate(rows)


@pytest.mark.parametrize("free", [False, True])
@pytest.mark.parametrize("opset", [None, 11, 13, 17])
def test_every_export_of_one_network_loads_and_answers_alike(tmp_path, cnn, opset, free):
    path = exported(cnn, tmp_path / "net.onnx", opset, free)
    found = network(path)
    images = torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    logits = found.module(images)
    np.testing.assert_allclose(logits.detach(), by_onnxruntime(path, images), atol=EXACT)
    np.testing.assert_allclose(logits.detach(), cnn(images).detach(), atol=EXACT)
    assert torch.allclose(found.module(images[:1]), logits[:1], atol=EXACT)
    assert is_piecewise_linear(found.module)
    assert chain_of(found.module, images).shapes[0] == (1, 8, 8)  # a chain: it can be certified


def test_a_network_with_external_data_is_hashed_with_them(tmp_path, cnn):
    path = exported(cnn, tmp_path / "net.onnx", None, free=True)
    data = tmp_path / "net.onnx.data"
    assert network(path).files == (path, data)
    before = load_model(f"onnx:{path}").info
    data.write_bytes(np.frombuffer(data.read_bytes(), np.float32)[::-1].tobytes())
    after = load_model(f"onnx:{path}").info
    assert before.weights_sha256 != after.weights_sha256 == files_sha256([path, data])
    data.unlink()
    with pytest.raises(UserError, match=r"its weights lie in net\.onnx\.data, which is not beside it"):
        read(path)


def test_external_data_outside_the_folder_are_refused(tmp_path, cnn):
    path = exported(cnn, tmp_path / "net.onnx", None, free=True)
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            entry.value = "../net.onnx.data" if entry.key == "location" else entry.value
    path.write_bytes(model.SerializeToString())
    with pytest.raises(UserError, match="leave its folder"):
        read(path)


def saved(path, nodes, shape, constants, opset=13, outputs=("y",), version=8):
    """A graph from ``x`` of ``shape`` to its outputs, as a file."""
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["M", "K"]) for name in outputs],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=version)
    if version < 4:  # where constants are inputs too
        inputs = [helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in tensors]
        model.graph.input.extend(inputs)
    path.write_bytes(model.SerializeToString())
    return path


def drawn(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def agrees(path, shape, layout="nchw"):
    """The network of a file answers as onnxruntime does on random pictures."""
    found = network(path)
    assert (found.shape, found.layout) == (shape, layout)
    images = torch.rand(4, *shape, generator=torch.Generator().manual_seed(1))
    own = images.permute(0, 2, 3, 1) if layout == "nhwc" else images
    np.testing.assert_allclose(found.module(images).detach(), by_onnxruntime(path, own), atol=EXACT)
    return found


def classifier(path, opset, version):
    """A graph of the operators whose old versions differ most."""
    broadcast, at_test = ({"broadcast": 1}, {"is_test": 1}) if opset < 7 else ({}, {})
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["c"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c", "s", "b", "m", "v"], ["n"], **at_test),
        helper.make_node("Relu", ["n"], ["r"]),
        helper.make_node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "w", "bias"], ["y"], **broadcast),
    ]
    constants = {
        "k": drawn(4, 3, 3, 3), "s": drawn(4), "b": drawn(4), "m": drawn(4), "v": drawn(4) ** 2 + 1,
        "w": drawn(64, 10), "bias": drawn(10),
    }  # fmt: skip
    return saved(path, nodes, ["N", 3, 8, 8], constants, opset, version=version)


@pytest.mark.parametrize(("opset", "version"), [(7, 3), (8, 3), (9, 4), (10, 5), (21, 10), (24, 11)])
def test_old_and_new_opsets_answer_as_onnxruntime_does(tmp_path, opset, version):
    agrees(classifier(tmp_path / "net.onnx", opset, version), (3, 8, 8))


def test_opset_6_which_onnxruntime_no_longer_reads_answers_as_the_same_graph_in_opset_9(tmp_path):
    images = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    expected = by_onnxruntime(classifier(tmp_path / "nine.onnx", 9, 4), images)
    found = network(classifier(tmp_path / "six.onnx", 6, 3))
    np.testing.assert_allclose(found.module(images).detach(), expected, atol=EXACT)


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("count", [0, 1])
@pytest.mark.parametrize("size", [7, 8])
def test_automatic_padding_is_that_of_onnxruntime(tmp_path, mode, stride, count, size):
    settings = {"auto_pad": mode, "strides": [stride, stride]}
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["c"], kernel_shape=[4, 3], **settings),
        helper.make_node("MaxPool", ["c"], ["m"], kernel_shape=[2, 2], auto_pad=mode, strides=[1, 1]),
        helper.make_node(
            "AveragePool",
            ["m"],
            ["a"],
            kernel_shape=[2, 2],
            auto_pad=mode,
            strides=[1, 1],
            count_include_pad=count,
        ),
        helper.make_node("GlobalAveragePool", ["a"], ["g"]),
        helper.make_node("Flatten", ["g"], ["y"]),
    ]
    if mode == "VALID" and size == 7 and stride == 3:
        pytest.skip("nothing is left of a map so small")
    path = saved(tmp_path / "net.onnx", nodes, ["N", 3, size + 2, size + 2], {"k": drawn(4, 3, 4, 3)})
    agrees(path, (3, size + 2, size + 2))


@pytest.mark.parametrize("target", [[4, 64], [4, -1], [-1, 64], [0, -1]])
@pytest.mark.parametrize("as_node", [False, True])
@pytest.mark.parametrize(("opset", "allow"), [(13, {}), (14, {"allowzero": 1})])
def test_a_batch_inside_a_reshape_is_freed(tmp_path, target, as_node, opset, allow):
    if allow and 0 in target:
        pytest.skip("with allowzero a 0 is no copy")
    shape = np.array(target, dtype=np.int64)
    nodes = [
        helper.make_node("Reshape", ["x", "shape"], ["f"], **allow),
        helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]
    if as_node:
        nodes.insert(
            0, helper.make_node("Constant", [], ["shape"], value=numpy_helper.from_array(shape, "v"))
        )
    constants = {"w": drawn(64, 10)} | ({} if as_node else {"shape": shape})
    found = agrees(saved(tmp_path / "net.onnx", nodes, [4, 1, 8, 8], constants, opset), (1, 8, 8))
    assert found.module(torch.rand(7, 1, 8, 8)).shape == (7, 10)


def test_a_batch_that_cannot_be_freed_is_filled_up(tmp_path):
    nodes = [
        helper.make_node("Flatten", ["x"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["h"]),
        helper.make_node("Expand", ["zero", "shape"], ["e"]),
        helper.make_node("Concat", ["h", "e"], ["y"], axis=1),
    ]
    constants = {"w": drawn(64, 9), "zero": drawn(1, 1), "shape": np.array([4, 1], dtype=np.int64)}
    found = agrees(saved(tmp_path / "net.onnx", nodes, [4, 1, 8, 8], constants), (1, 8, 8))
    assert found.module(torch.rand(7, 1, 8, 8)).shape == (7, 10)


def tf_like(tmp_path, shape, turn=True):
    """A graph as TensorFlow's converter writes it: channels last outside, channels first within."""
    nodes = [helper.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2])] if turn else []
    nodes += [
        helper.make_node("Conv", ["t" if turn else "x", "k"], ["c"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Transpose", ["r"], ["last"], perm=[0, 2, 3, 1]),
        helper.make_node("Reshape", ["last", "shape"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["h"]),
        helper.make_node("Add", ["h", "b"], ["y"]),
    ]
    constants = {
        "k": drawn(4, 3, 3, 3), "shape": np.array([-1, 4 * 6 * 5], dtype=np.int64), "w": drawn(4 * 6 * 5, 10),
        "b": drawn(10),
    }  # fmt: skip
    return saved(tmp_path / "net.onnx", nodes, shape, constants)


def test_channels_last_is_seen_by_the_shape_and_read_as_a_plain_chain(tmp_path):
    found = agrees(tf_like(tmp_path, ["N", 6, 5, 3]), (3, 6, 5), "nhwc")
    assert chain_of(found.module, torch.rand(1, 3, 6, 5)).shapes[-1] == (10,)
    assert is_piecewise_linear(found.module)


def test_a_layout_that_contradicts_the_shape_is_refused(tmp_path):
    path = tf_like(tmp_path, ["N", 6, 5, 3])
    with pytest.raises(UserError, match="`layout` nchw contradicts"):
        network(path, layout="nchw")
    assert network(path, layout="nhwc").layout == "nhwc"


def test_a_shape_that_leaves_the_layout_open_needs_the_card(tmp_path):
    nodes = [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("MatMul", ["f", "w"], ["y"])]
    path = saved(tmp_path / "net.onnx", nodes, ["N", 3, 8, 3], {"w": drawn(72, 10)})
    with pytest.raises(
        UserError, match="may be channels first or last; say `layout: nchw` or `layout: nhwc`"
    ):
        network(path)
    first, last = (network(path, layout=layout) for layout in ("nchw", "nhwc"))
    assert (first.shape, last.shape) == ((3, 8, 3), (3, 3, 8))
    images = torch.rand(2, 3, 3, 8)
    expected = by_onnxruntime(path, images.permute(0, 2, 3, 1))
    np.testing.assert_allclose(last.module(images).detach(), expected, atol=EXACT)


ARITHMETIC = {
    "x - c": [helper.make_node("Sub", ["x", "c"], ["n"])],
    "c - x": [helper.make_node("Sub", ["c", "x"], ["n"])],
    "x / c": [helper.make_node("Div", ["x", "c"], ["n"])],
    "x * c": [helper.make_node("Mul", ["x", "c"], ["n"])],
    "c * x": [helper.make_node("Mul", ["c", "x"], ["n"])],
    "c + x": [helper.make_node("Add", ["c", "x"], ["n"])],
}


@pytest.mark.parametrize("how", ARITHMETIC)
@pytest.mark.parametrize("shape", [(), (1,), (3, 1, 1), (1, 3, 1, 1)])
def test_arithmetic_with_a_constant_a_channel_is_a_layer_of_a_chain(tmp_path, how, shape):
    nodes = [
        *ARITHMETIC[how],
        helper.make_node("Flatten", ["n"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]
    constants = {"c": np.float32(-0.7) if shape == () else drawn(*shape) - 3, "w": drawn(48, 10)}
    found = agrees(saved(tmp_path / "net.onnx", nodes, ["N", 3, 4, 4], constants), (3, 4, 4))
    assert chain_of(found.module, torch.rand(1, 3, 4, 4)).is_affine


def test_arithmetic_with_a_constant_a_pixel_stays_what_it_is(tmp_path):
    nodes = [
        *ARITHMETIC["x - c"],
        helper.make_node("Flatten", ["n"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]
    agrees(
        saved(tmp_path / "net.onnx", nodes, ["N", 3, 4, 4], {"c": drawn(3, 4, 4), "w": drawn(48, 10)}),
        (3, 4, 4),
    )


def two_outputs(tmp_path):
    nodes = [
        helper.make_node("Flatten", ["x"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["y"]),
        helper.make_node("MatMul", ["f", "v"], ["other"]),
    ]
    constants = {"w": drawn(16, 10), "v": drawn(16, 3)}
    return saved(tmp_path / "net.onnx", nodes, ["N", 1, 4, 4], constants, outputs=("other", "y"))


def test_of_several_outputs_the_card_chooses(tmp_path):
    path = two_outputs(tmp_path)
    with pytest.raises(
        UserError, match=r"has 2 outputs \(0: other .*, 1: y .*\); choose the logits in a card"
    ):
        network(path)
    assert network(path, output="y").num_classes == network(path, output=1).num_classes == 10
    assert network(path, output=0).num_classes == 3
    for wrong in (2, "z"):
        with pytest.raises(UserError, match=f"there is no output {wrong!r}; the graph has 0: other"):
            network(path, output=wrong)


@pytest.mark.parametrize("last", ["Softmax", "Sigmoid"])
def test_a_graph_that_ends_in_probabilities_is_refused(tmp_path, last):
    nodes = [
        helper.make_node("Flatten", ["x"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["h"]),
        helper.make_node(last, ["h"], ["p"]),
        helper.make_node("Identity", ["p"], ["y"]),
    ]
    with pytest.raises(UserError, match=f"ends in a {last} and returns probabilities"):
        network(saved(tmp_path / "net.onnx", nodes, ["N", 1, 4, 4], {"w": drawn(16, 10)}))


def pooled(tmp_path, opset=20, **settings):
    """A graph that averages over pixels with gaps."""
    nodes = [
        helper.make_node("AveragePool", ["x"], ["a"], dilations=[2, 3], **settings),
        helper.make_node("Flatten", ["a"], ["y"]),
    ]
    return saved(tmp_path / "net.onnx", nodes, ["N", 3, 9, 11], {}, opset=opset, version=10)


@pytest.mark.parametrize("count", [0, 1])
@pytest.mark.parametrize("pads", [[0, 0, 0, 0], [1, 0, 1, 1]])
@pytest.mark.parametrize("strides", [[1, 1], [2, 3]])
def test_an_average_over_pixels_with_gaps_is_that_of_onnxruntime(tmp_path, count, pads, strides):
    path = pooled(tmp_path, kernel_shape=[2, 3], pads=pads, strides=strides, count_include_pad=count)
    found = agrees(path, (3, 9, 11))
    assert (count == 0 and any(pads)) or is_piecewise_linear(found.module)


def test_an_average_with_gaps_that_cannot_be_told_is_refused_by_its_setting(tmp_path):
    with pytest.raises(
        UserError, match=r"AveragePool with `dilations` \[2, 3\] .* `ceil_mode` cannot be conv"
    ):
        network(pooled(tmp_path, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1))


ZOO = (
    "Convnet_avgpool", "Convnet_maxpool", "cifar10_large", "cifar10_medium", "cifar10_small", "cifar_base_kw",
    "cifar_wide_kw", "ffnnSIGMOID__Point_6x200", "mnist-net_256x6", "mnist_relu_9_200", "mobilenet_v1_0.5_160",
    "mobilenet_v1_0.75_192", "mobilenet_v2_1.0_224", "resnet_2b",
)  # fmt: skip


@pytest.mark.parametrize("name", ZOO)
def test_published_networks_answer_as_onnxruntime_does(shared_data, name):
    path = shared_data.parent / "zoo" / f"{name}.onnx"
    found = network(path)
    images = torch.rand(2, *found.shape, generator=torch.Generator().manual_seed(2))
    own = images.permute(0, 2, 3, 1) if found.layout == "nhwc" else images
    np.testing.assert_allclose(found.module(images).detach(), by_onnxruntime(path, own), atol=EXACT)
    assert is_piecewise_linear(found.module) == (name != "ffnnSIGMOID__Point_6x200")
