"""Exported programs: PyTorch's own answers, in any batch; what could run code is refused and does not run."""

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, nn

from assay.common.errors import UserError
from assay.models.program_file import read_program
from assay.models.zoo import load_model

BATCH = ({0: torch.export.Dim.DYNAMIC},)


class Branching(nn.Module):
    """Two ways that join, a split, a reshape by the batch's size, and constants."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2))
        self.head = nn.Linear(4 * 16, 5)

    def forward(self, pixels: Tensor) -> Tensor:
        one, other = self.net(pixels).split(4, dim=1)
        joined = nn.functional.gelu(one, approximate="tanh") + torch.tensor([0.25]) * other
        return self.head(joined.reshape(joined.shape[0], -1))


def exported(net: nn.Module, path: Path, dynamic: bool = True, example: Tensor | None = None) -> Path:
    example = torch.rand(2, 3, 8, 8) if example is None else example
    program = torch.export.export(net, (example,), dynamic_shapes=BATCH if dynamic else None)
    torch.export.save(program, path)
    return path


@pytest.fixture(scope="module")
def net() -> nn.Module:
    torch.manual_seed(0)
    return Branching().eval()


@pytest.mark.parametrize("dynamic", [True, False])
def test_any_batch_is_answered_as_the_network_itself_does(
    net: nn.Module, tmp_path: Path, dynamic: bool
) -> None:
    program = read_program(exported(net, tmp_path / "net.pt2", dynamic))
    pixels = torch.rand(5, 3, 8, 8, requires_grad=True)
    assert program.shape == (3, 8, 8)
    torch.testing.assert_close(program.module(pixels), net(pixels))
    (mine,) = torch.autograd.grad(program.module(pixels).sum(), pixels)
    (theirs,) = torch.autograd.grad(net(pixels).sum(), pixels)
    torch.testing.assert_close(mine, theirs)


def test_a_card_brings_a_program_in(net: nn.Module, tmp_path: Path) -> None:
    exported(net, tmp_path / "net.pt2")
    (tmp_path / "card.yaml").write_text(
        yaml.safe_dump(
            {"schema": 1, "name": "p", "network": {"program": "net.pt2"}, "input": {"std": [0.5] * 3}}
        )
    )
    model = load_model(str(tmp_path / "card.yaml"))
    pixels = torch.rand(3, 3, 8, 8)
    torch.testing.assert_close(model.module(pixels), net(pixels / 0.5))
    assert (model.info.input_shape, model.info.num_classes, model.info.architecture) == (
        (3, 8, 8),
        5,
        "torch.export",
    )


class ChannelsLastNet(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, pixels: Tensor) -> Tensor:
        return self.net(pixels.permute(0, 3, 1, 2))


def test_a_program_of_channels_last_is_read_as_such(net: nn.Module, tmp_path: Path) -> None:
    exported(ChannelsLastNet(net).eval(), tmp_path / "net.pt2", example=torch.rand(2, 8, 8, 3))
    document: dict[str, Any] = {"schema": 1, "name": "p", "network": {"program": "net.pt2"}}
    path = tmp_path / "card.yaml"
    path.write_text(yaml.safe_dump(document))
    pixels = torch.rand(3, 3, 8, 8)
    torch.testing.assert_close(load_model(str(path)).module(pixels), net(pixels))
    path.write_text(yaml.safe_dump(document | {"input": {"layout": "nchw"}}))
    with pytest.raises(UserError, match=r"`layout` nchw contradicts the network's input \(N, 8, 8, 3\)"):
        load_model(str(path))


def rewritten(path: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """The archive with its members changed."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def in_graph(change: Callable[[dict[str, Any]], None]) -> Callable[[dict[str, bytes]], None]:
    def changed(members: dict[str, bytes]) -> None:
        document = json.loads(members["net/models/model.json"])
        change(document)
        members["net/models/model.json"] = json.dumps(document).encode()

    return changed


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> Any:
        return (open, (self.path, "w"))


def pickled_weight(ran: Path) -> Callable[[dict[str, bytes]], None]:
    def change(members: dict[str, bytes]) -> None:
        config = json.loads(members["net/data/weights/model_weights_config.json"])
        first = next(iter(config["config"].values()))
        first["use_pickle"] = True
        buffer = io.BytesIO()
        torch.save(Bomb(ran), buffer)
        members[f"net/data/weights/{first['path_name']}"] = buffer.getvalue()
        members["net/data/weights/model_weights_config.json"] = json.dumps(config).encode()

    return change


def compiled_code(members: dict[str, bytes]) -> None:
    members["net/data/aotinductor/model/net.so"] = b"\x7fELF"


def pickled_inputs(ran: Path) -> Callable[[dict[str, bytes]], None]:
    def change(members: dict[str, bytes]) -> None:
        members["net/data/sample_inputs/model.pt"] = pickle.dumps(Bomb(ran))

    return change


def target(name: str, **words: str) -> Callable[[dict[str, bytes]], None]:
    def change(document: dict[str, Any]) -> None:
        node = document["graph_module"]["graph"]["nodes"][0]
        node["target"] = name
        node["inputs"] = [{"name": key, "arg": {"as_string": word}, "kind": 1} for key, word in words.items()]

    return in_graph(change)


@pytest.mark.parametrize(
    ("attack", "complaint"),
    [
        (lambda ran: pickled_weight(ran), r"is pickled, which could run code"),
        (lambda _ran: compiled_code, r"holds compiled code \(data/aotinductor/model/net\.so\)"),
        (
            lambda ran: target("torch.os.mknod", path=str(ran)),
            r"uses 'torch\.os\.mknod', which is no PyTorch",
        ),
        (lambda ran: target("torch.ops.aten.from_file.default", filename=str(ran)), r"from_file"),
        (lambda ran: target("torch.ops.aten.__class__.__mro__", filename=str(ran)), r"is no PyTorch"),
        (lambda _ran: target("_operator.methodcaller"), r"uses '_operator\.methodcaller'"),
    ],
)
def test_what_could_run_code_is_refused_and_does_not_run(
    net: nn.Module, tmp_path: Path, attack: Callable[[Path], Any], complaint: str
) -> None:
    ran = tmp_path / "ran"
    path = rewritten(exported(net, tmp_path / "net.pt2"), attack(ran))
    with pytest.raises(UserError, match=complaint):
        read_program(path)
    assert not ran.exists()


def test_example_inputs_and_guards_are_never_looked_at(net: nn.Module, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    code = f"__import__('pathlib').Path({str(ran)!r}).touch()"

    def guards(document: dict[str, Any]) -> None:
        document["guards_code"] = [code]
        for value in document["graph_module"]["graph"]["tensor_values"].values():
            for size in value["sizes"]:
                if "as_expr" in size:
                    size["as_expr"]["expr_str"] = code

    path = exported(net, tmp_path / "net.pt2")
    pixels = torch.rand(3, 3, 8, 8)
    rewritten(path, pickled_inputs(ran))
    rewritten(path, in_graph(guards))
    torch.testing.assert_close(read_program(path).module(pixels), net(pixels))
    assert not ran.exists()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda members: members.clear(), r"models/model\.json is missing"),
        (in_graph(lambda document: document["schema_version"].update(major=9)), r"is of schema 9"),
        (in_graph(lambda document: document.pop("graph_module")), r"its graph cannot be read \(KeyError"),
        (
            lambda members: members.update({"net/data/weights/weight_0": b"123"}),
            r"cannot be read as an exported",
        ),
        (lambda members: members.update({"net/data/weights/weight_0": b"\0\0\xc0\x7f" * 216}), r"holds NaN"),
    ],
)
def test_a_damaged_program_is_one_sentence(
    net: nn.Module, tmp_path: Path, change: Callable[[dict[str, bytes]], None], complaint: str
) -> None:
    path = rewritten(exported(net, tmp_path / "net.pt2"), change)
    with pytest.raises(UserError, match=complaint):
        read_program(path)


def test_files_of_other_kinds_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no such file"):
        read_program(tmp_path / "none.pt2")
    (tmp_path / "text.pt2").write_text("no archive")
    with pytest.raises(UserError, match="cannot be read as an exported program"):
        read_program(tmp_path / "text.pt2")
    (tmp_path / "pointer.pt2").write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 49\n"
    )
    with pytest.raises(UserError, match="is a Git LFS pointer"):
        read_program(tmp_path / "pointer.pt2")
    torch.save({"weight": torch.zeros(1)}, tmp_path / "weights.pt2")
    with pytest.raises(UserError, match="is no exported program"):
        read_program(tmp_path / "weights.pt2")


def test_a_program_in_training_one_that_counts_and_one_of_two_inputs_are_refused(
    net: nn.Module, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    with pytest.raises(UserError, match=r"pt2: \S*aten\.add_\.Tensor changes a weight or a buffer"):
        read_program(exported(Branching().train(), tmp_path / "train.pt2"))
    with pytest.raises(UserError, match=r"pt2: \S*aten\.dropout\.default is in training mode, as exported"):
        read_program(exported(nn.Sequential(nn.Flatten(), nn.Dropout()).train(), tmp_path / "dropout.pt2"))

    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("seen", torch.zeros(1))

        def forward(self, pixels: Tensor) -> Tensor:
            self.seen += 1
            return pixels.flatten(1) * self.seen

    with pytest.raises(UserError, match=r"aten\.add_\.Tensor changes a weight or a buffer"):
        read_program(exported(Counting(), tmp_path / "counting.pt2"))

    class Two(nn.Module):
        def forward(self, one: Tensor, other: Tensor) -> Tensor:
            return (one + other).flatten(1)

    pair = (torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8))
    torch.export.save(torch.export.export(Two(), pair), tmp_path / "two.pt2")
    with pytest.raises(UserError, match="takes 2 inputs where a classifier has one"):
        read_program(tmp_path / "two.pt2")
