"""Weight files: what is read, what is refused and what it is called; nothing in them is run."""

import argparse
import gzip
import io
import json
import os
import pickle
import tarfile
import warnings
import zipfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from assay.common.errors import UserError
from assay.models.checkpoints import read_checkpoint


class RunsCode:
    """Asks for a function call when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("echo this must not run",)


def leave(path: Path) -> None:
    """A function that is in no list of dangerous ones."""
    path.touch()


class Leaves:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., None], tuple[Path]]:
        return leave, (self.path,)


class OptionDict(dict):
    """A trainer's own kind of dictionary."""


def linear(seed: int = 0) -> nn.Linear:
    torch.manual_seed(seed)
    return nn.Linear(3, 2)


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(bool((first[key] == second[key]).all()) for key in first)


@pytest.mark.parametrize(
    ("wrap", "key"),
    [
        (lambda state: state, None),
        (lambda state: {"state_dict": state, "epoch": 3}, "state_dict"),
        (lambda state: {"model": state}, "model"),
        (lambda state: {"net": state, "acc": 71.3, "epoch": 90}, "net"),
        (lambda state: {"weights": state}, "weights"),
        (lambda state: {"my_own_word": state, "opt": {"state": {0: {"step": torch.ones(1)}}}}, "my_own_word"),
        (lambda state: {"checkpoint": {"model": state, "iter": 1}}, "checkpoint.model"),
    ],
)
def test_the_one_state_dict_in_a_file_is_taken(
    tmp_path: Path, wrap: Callable[[object], object], key: str | None
) -> None:
    torch.save(wrap(linear().state_dict()), tmp_path / "net.pth")
    found = read_checkpoint(tmp_path / "net.pth")
    assert same(dict(found.state), linear().state_dict())
    assert (found.key, found.notes) == (key, ())


def test_of_several_the_usual_name_is_taken_and_the_key_chooses(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    torch.save({"model_ema": linear(1).state_dict(), "model": linear(0).state_dict()}, path)
    assert same(dict(read_checkpoint(path).state), linear(0).state_dict())
    assert same(dict(read_checkpoint(path, "model_ema").state), linear(1).state_dict())
    with pytest.raises(UserError, match="no state dict under the key 'ema', but model_ema and model"):
        read_checkpoint(path, "ema")


def test_several_without_a_usual_name_are_refused_and_the_key_chooses(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    torch.save({"teacher": linear(1).state_dict(), "student": linear(0).state_dict()}, path)
    with pytest.raises(UserError, match="several state dicts, teacher and student; say which"):
        read_checkpoint(path)
    assert same(dict(read_checkpoint(path, "student").state), linear(0).state_dict())


@pytest.mark.parametrize("name", ["net.safetensors", "net.pth"])
def test_a_safetensors_file_is_known_by_its_content_too(tmp_path: Path, name: str) -> None:
    save_file(linear().state_dict(), tmp_path / name)
    assert same(dict(read_checkpoint(tmp_path / name).state), linear().state_dict())


def test_a_lightning_checkpoint_is_read_whatever_its_options_are(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    torch.save(
        {
            "state_dict": {f"model.{key}": value for key, value in linear().state_dict().items()},
            "pytorch-lightning_version": "2.5",
            "hyper_parameters": {
                "args": argparse.Namespace(lr=0.1, out=Path("runs")),
                "options": OptionDict(width=3),
                "schedule": defaultdict(list, {"a": [1]}),
                "optimizer": torch.optim.SGD,
                "accuracy": np.float64(0.7),
                "mean": np.zeros(3),
            },
            "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(0.7)}},
        },
        path,
    )
    assert read_checkpoint(path).state.keys() == {"model.weight", "model.bias"}


@pytest.mark.parametrize("save", ["zip", "legacy", "pickle"])
def test_a_pickle_that_wants_code_is_refused_and_does_not_run(
    tmp_path: Path, save: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "evil.pth"
    if save == "pickle":
        path.write_bytes(pickle.dumps(RunsCode()))
    else:
        torch.save(RunsCode(), path, _use_new_zipfile_serialization=save == "zip")
    with pytest.raises(UserError, match="would run code"):
        read_checkpoint(path)
    assert "must not run" not in capfd.readouterr().out


def test_an_unknown_object_beside_the_weights_is_passed_over_and_does_not_run(tmp_path: Path) -> None:
    path, trace = tmp_path / "net.pth", tmp_path / "trace"
    torch.save({"model": linear().state_dict(), "args": Leaves(trace)}, path)
    assert same(dict(read_checkpoint(path).state), linear().state_dict())
    assert not trace.exists()


def test_an_object_made_by_what_another_returns_is_refused(tmp_path: Path) -> None:
    class Chained(Leaves):
        def __reduce__(self) -> tuple[Callable[..., None], tuple[Path]]:
            return Path.touch, (self.path,)  # pickled as a call of what getattr returns

    torch.save({"model": linear().state_dict(), "args": Chained(tmp_path / "trace")}, tmp_path / "net.pth")
    with pytest.raises(UserError, match="would run code"):
        read_checkpoint(tmp_path / "net.pth")
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("wrap", [lambda net: net, lambda net: {"model": net, "epoch": 3}])
def test_a_pickled_network_is_refused_by_the_name_of_its_class(
    tmp_path: Path, wrap: Callable[[object], object]
) -> None:
    torch.save(wrap(linear()), tmp_path / "net.pth")
    with pytest.raises(UserError, match=r"holds a torch\.nn\.modules\.linear\.Linear, which would run code"):
        read_checkpoint(tmp_path / "net.pth")


def torch_script(path: Path) -> None:
    class Net(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + 1

    with warnings.catch_warnings(
        action="ignore"
    ):  # PyTorch means to leave TorchScript behind; users have files of it
        torch.jit.save(torch.jit.trace(Net(), torch.zeros(1)), path)


def exported(path: Path) -> None:
    torch.export.save(torch.export.export(linear(), (torch.zeros(2, 3),)), path)


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("best/net.pth", b"...")
        archive.writestr("best/log.txt", "...")


def tarred(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo("net.pth"), io.BytesIO())


FOREIGN = {
    "a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 49\n",
    "an HTML page": b"\n<!DOCTYPE html><title>404</title>",
    "an HTML page, such": b"<html>404</html>",
    "an XML page": b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>",
    "a text that begins with '# é text'": "# é  text".encode(),
    "an empty file": b"",
    "a gzip archive": gzip.compress(b"weights"),
    "an HDF5 file": b"\x89HDF\r\n\x1a\n....",
    "a TorchScript file": torch_script,
    "an exported program": exported,
    "a zip archive of best/net.pth, best/log.txt": zipped,
    "a tar archive": tarred,
}


@pytest.mark.parametrize("what", FOREIGN)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_what_is_no_weight_file_is_called_what_it_is(tmp_path: Path, what: str, suffix: str) -> None:
    path, content = tmp_path / f"net{suffix}", FOREIGN[what]
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        content(path)
    with pytest.raises(UserError) as refusal:
        read_checkpoint(path)
    assert str(refusal.value).startswith(f"{path}: is {what}")


@pytest.mark.parametrize("content", [b"PK\x03\x04broken", bytes(range(256)), b"\x80\x02broken"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_that_is_no_checkpoint_is_said(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"net{suffix}"
    path.write_bytes(content)
    with pytest.raises(
        UserError, match=r"net\.\w+: (is not a (checkpoint|safetensors file)|this checkpoint wants)"
    ):
        read_checkpoint(path)


@pytest.mark.parametrize("save", [torch.save, save_file])
def test_a_truncated_file_is_said(tmp_path: Path, save: Callable[..., None]) -> None:
    path = tmp_path / "net.pth"
    save(linear().state_dict(), path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match=r"is not a (checkpoint|safetensors file)"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (torch.zeros(3), "holds a Tensor, not a state dict"),
        ([1, 2], "holds a list, not a state dict"),
        ({}, "holds a dict, not a state dict"),
        ({"epoch": 3}, r"is not a state dict \('epoch' is a int, not a tensor\)"),
        ({1: torch.zeros(1)}, "is not a state dict"),
        ({"state_dict": {"w": torch.zeros(1), "epoch": 3}}, r"is not a state dict \('epoch' is a int"),
    ],
)
def test_a_checkpoint_without_a_state_dict_is_said(tmp_path: Path, content: object, complaint: str) -> None:
    torch.save(content, tmp_path / "net.pth")
    with pytest.raises(UserError, match=complaint):
        read_checkpoint(tmp_path / "net.pth")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_by_name(tmp_path: Path, value: float) -> None:
    state = linear().state_dict()
    state["bias"][1] = value
    torch.save(state, tmp_path / "net.pth")
    with pytest.raises(UserError, match="'bias' holds NaN or infinite"):
        read_checkpoint(tmp_path / "net.pth")


def test_a_missing_file_and_a_folder_are_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no such weight file"):
        read_checkpoint(tmp_path / "net.pth")
    with pytest.raises(UserError, match="is a folder; give the weight file inside it"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("index", "complaint"),
    [
        ("{}", "is no index of shards"),
        ("[1]", "is no index of shards"),
        ("not json", "is no index of shards"),
        ({"weight": "../one.safetensors", "bias": "two.safetensors"}, "no file beside it"),
        ({"weight": 3}, "is no index of shards|no file beside it"),
        ({"weight": "three.safetensors"}, r"its shard three\.safetensors is missing"),
        ({"bias": "one.safetensors"}, r"one\.safetensors: does not hold the tensors"),
        ({"weight": "one.safetensors", "bias": "one.safetensors"}, "does not hold the tensors"),
    ],
)
def test_a_wrong_index_of_shards_is_said(tmp_path: Path, index: object, complaint: str) -> None:
    save_file({"weight": torch.zeros(2, 3)}, tmp_path / "one.safetensors")
    save_file({"bias": torch.zeros(2)}, tmp_path / "two.safetensors")
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(index if isinstance(index, str) else json.dumps({"weight_map": index}))
    with pytest.raises(UserError, match=complaint):
        read_checkpoint(path)
