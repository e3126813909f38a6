"""ONNX files: any batch size, the answers of ONNX's own evaluator, and clear refusals."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from torch import Tensor

from assay.common.errors import UserError
from assay.models.zoo import load_model


def saved(path: Path, nodes: list[onnx.NodeProto], shape: list[int], constants: dict[str, np.ndarray]) -> str:
    """Writes a graph from ``x`` of ``shape`` to ``y`` and returns its model name."""
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [shape[0], 2])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return f"onnx:{path}"


def weight(rows: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(rows, 2)).astype(np.float32)


def test_mnistfc_has_its_published_error_and_the_reference_evaluators_logits(
    shared_data: Path, mnist_test: tuple[np.ndarray, Tensor]
) -> None:
    path = shared_data / "nets" / "mnist-net_256x2.onnx"
    model = load_model(f"onnx:{path}")
    images, labels = mnist_test
    pixels = torch.stack([model.prepare(image) for image in images])
    logits = model.module(pixels)
    assert int((logits.argmax(dim=1) != labels).sum()) == 192
    evaluator = ReferenceEvaluator(str(path))
    for index in range(20):
        (expected,) = evaluator.run(None, {"0": pixels[index].reshape(1, 784, 1).numpy()})
        np.testing.assert_allclose(logits[index : index + 1], expected, atol=1e-4)
    assert model.info.piecewise_linear
    assert model.info.name == "onnx:mnist-net_256x2.onnx"


def test_a_batch_size_inside_a_reshape_is_freed(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Reshape", ["x", "shape"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["y"]),
    ]
    constants = {"shape": np.array([1, 12]), "w": weight(12)}
    model = load_model(saved(tmp_path / "net.onnx", nodes, [1, 3, 2, 2], constants))
    pixels = torch.rand(5, 3, 2, 2)
    expected = pixels.reshape(5, 12).numpy() @ constants["w"]
    np.testing.assert_allclose(model.module(pixels), expected, atol=1e-5)
    assert model.info.input_shape == (3, 2, 2)


def test_an_unsupported_operator_is_named(tmp_path: Path) -> None:
    nodes = [helper.make_node("Det", ["x"], ["y"])]
    with pytest.raises(UserError, match="the ONNX operator Det cannot be converted"):
        load_model(saved(tmp_path / "net.onnx", nodes, [1, 1, 2, 2], {}))


def test_a_graph_that_mixes_the_images_of_a_batch_is_refused(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[0], keepdims=1),
        helper.make_node("Sub", ["x", "mean"], ["centred"]),
        helper.make_node("Flatten", ["centred"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["y"]),
    ]
    with pytest.raises(UserError, match="does not answer a batch as it does its images alone"):
        load_model(saved(tmp_path / "net.onnx", nodes, [2, 1, 2, 2], {"w": weight(4)}))


def test_an_input_that_is_no_image_is_refused(tmp_path: Path) -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    with pytest.raises(UserError, match=r"\(7,\) is no image"):
        load_model(saved(tmp_path / "net.onnx", nodes, [1, 7], {"w": weight(7)}))


@pytest.mark.parametrize("content", [b"", b"not a graph at all"])
def test_a_file_that_is_no_onnx_is_said(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "net.onnx").write_bytes(content)
    with pytest.raises(UserError, match="is not a valid ONNX file"):
        load_model(f"onnx:{tmp_path / 'net.onnx'}")


def test_a_missing_file_and_weights_beside_a_file_are_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no such file"):
        load_model("onnx:nowhere.onnx")
    with pytest.raises(UserError, match="leave out --weights"):
        load_model("onnx:nowhere.onnx", weights=tmp_path / "net.pth")


def test_a_pointer_or_a_page_in_place_of_a_file_is_called_so(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 49\n")
    with pytest.raises(UserError, match="is a Git LFS pointer, not the file that it stands for"):
        load_model(f"onnx:{path}")
    path.write_text("<!DOCTYPE html><title>404</title>")
    with pytest.raises(UserError, match="is an HTML page"):
        load_model(f"onnx:{path}")
