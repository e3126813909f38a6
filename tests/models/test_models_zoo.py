"""Names: every listed model has one, two of a name are an error, and an unknown one gets the nearest."""

import subprocess
import sys
from pathlib import Path

import pytest

from assay.common.errors import UserError
from assay.models.entries import efficientnet_lite
from assay.models.registry import Registry
from assay.models.zoo import list_models, load_model, named_in


def test_importing_the_zoo_and_finding_an_entry_leaves_torch_alone() -> None:
    code = (
        "import sys; from assay.models.zoo import registry; import assay.models.info; "
        "assert registry().find('efficientnet_lite0').available() is None; assert 'torch' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_listed_names_are_unique_and_every_row_is_filled() -> None:
    rows = list_models()
    assert len({row.name for row in rows}) == len(rows)
    assert {"efficientnet_lite0", "wk_mnist", "resnet50", "timm/NAME", "onnx:FILE"} <= {
        row.name for row in rows
    }
    assert all(row.title and row.source and row.licence and row.label_space for row in rows)


def test_two_entries_of_one_name_are_an_error() -> None:
    registry = Registry()
    efficientnet_lite.register(registry)
    with pytest.raises(ValueError, match="two models are called 'efficientnet_lite0'"):
        efficientnet_lite.register(registry)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("resnet51", "resnet50"),
        ("efficientnet-lite0", "efficientnet_lite0"),
        ("torchvision/resnt18", "torchvision/resnet18"),
        ("timm/resnet18x", "timm/resnet18"),
    ],
)
def test_an_unknown_name_gets_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(UserError, match=rf"unknown model '{name}'; did you mean .*{nearest}"):
        load_model(name)


def test_a_name_like_no_other_is_sent_to_the_list() -> None:
    with pytest.raises(UserError, match="assay list models"):
        load_model("%%%")


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "meta"])
def test_a_device_that_is_not_there_is_said(device: str) -> None:
    with pytest.raises(UserError, match=f"device '{device}'"):
        load_model("efficientnet_lite0", device=device)


def test_weights_that_are_not_there_are_said() -> None:
    with pytest.raises(UserError, match="no such weight file"):
        load_model("efficientnet_lite0", weights=Path("nowhere.pth"))


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("trained:nets/a", "trained:/specs/nets/a"),
        ("onnx:../a.onnx", "onnx:/specs/../a.onnx"),
        ("trained:/abs/a", "trained:/abs/a"),
        ("efficientnet_lite0", "efficientnet_lite0"),
        ("package.module:model", "package.module:model"),
    ],
)
def test_a_path_in_a_name_starts_where_the_file_that_names_it_lies(name: str, meant: str) -> None:
    assert named_in(Path("/specs"), name) == meant
