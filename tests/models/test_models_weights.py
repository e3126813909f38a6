"""Weight files: what is read, what is refused, and what a hash depends on."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from assay.errors import UserError
from assay.models.weights import load_strictly, read_state_dict, state_dict_sha256


class RunsCode:
    """Asks for a function call when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("echo this must not run",)


def linear(seed: int = 0) -> nn.Linear:
    torch.manual_seed(seed)
    return nn.Linear(3, 2)


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(bool((first[key] == second[key]).all()) for key in first)


@pytest.mark.parametrize(
    "wrap", [lambda s: s, lambda s: {"state_dict": s, "epoch": 3}, lambda s: {"model": s}]
)
@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_checkpoint_is_unwrapped(tmp_path: Path, wrap: Callable[[object], object], prefix: str) -> None:
    state = linear().state_dict()
    torch.save(wrap({f"{prefix}{key}": value for key, value in state.items()}), tmp_path / "net.pth")
    assert same(dict(read_state_dict(tmp_path / "net.pth")), state)


def test_safetensors_and_pth_give_the_same_tensors(tmp_path: Path) -> None:
    save_file(linear().state_dict(), tmp_path / "net.safetensors")
    assert same(dict(read_state_dict(tmp_path / "net.safetensors")), linear().state_dict())


@pytest.mark.parametrize("save", ["zip", "legacy", "pickle"])
def test_a_pickle_that_wants_code_is_refused_and_does_not_run(
    tmp_path: Path, save: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "evil.pth"
    if save == "pickle":
        path.write_bytes(pickle.dumps(RunsCode()))
    else:
        torch.save(RunsCode(), path, _use_new_zipfile_serialization=save == "zip")
    with pytest.raises(UserError, match="wants to run code"):
        read_state_dict(path)
    assert "must not run" not in capfd.readouterr().out


@pytest.mark.parametrize(
    "content", [b"", b"# a text", b"<html>404</html>", b"PK\x03\x04broken", bytes(range(256))]
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_that_is_no_checkpoint_is_said(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"net{suffix}"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"net\.\w+: is not a (checkpoint|safetensors file)"):
        read_state_dict(path)


def test_a_truncated_checkpoint_is_said(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    torch.save(linear().state_dict(), path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UserError, match="is not a checkpoint"):
        read_state_dict(path)


@pytest.mark.parametrize("content", [torch.zeros(3), [1, 2], {}, {"epoch": 3}, {1: torch.zeros(1)}])
def test_a_checkpoint_without_a_state_dict_is_said(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "net.pth")
    with pytest.raises(UserError, match="not a state dict"):
        read_state_dict(tmp_path / "net.pth")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_by_name(tmp_path: Path, value: float) -> None:
    state = linear().state_dict()
    state["bias"][1] = value
    torch.save(state, tmp_path / "net.pth")
    with pytest.raises(UserError, match="'bias' holds NaN or infinite"):
        read_state_dict(tmp_path / "net.pth")


def test_another_architecture_is_refused_with_the_first_keys_that_differ() -> None:
    state = {"weight": torch.zeros(2, 4), "scale": torch.zeros(1)}
    with pytest.raises(UserError) as refusal:
        load_strictly(linear(), state, "net.pth")
    for part in ("net.pth", "missing: bias", "unexpected: scale", "weight (2, 4) instead of (2, 3)"):
        assert part in str(refusal.value)


def test_batch_norm_weights_from_before_the_batch_counter_load() -> None:
    net = nn.Sequential(nn.BatchNorm1d(2))
    load_strictly(
        net, {key: value for key, value in net.state_dict().items() if "tracked" not in key}, "old.pth"
    )


def test_the_hash_of_a_state_dict_ignores_order_and_sees_every_part() -> None:
    state = linear().state_dict()
    reference = state_dict_sha256(state)
    assert state_dict_sha256(dict(reversed(state.items()))) == reference
    different = [
        {**state, "bias": state["bias"] + 1},
        {**state, "bias": state["bias"].double()},
        {**state, "weight": state["weight"].reshape(3, 2)},
        {"weight": state["weight"], "offset": state["bias"]},
    ]
    assert len({reference, *(state_dict_sha256(other) for other in different)}) == len(different) + 1


@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=8))
def test_equal_tensors_have_equal_hashes_whatever_their_memory(values: list[float]) -> None:
    tensor = torch.tensor(values)
    strided = torch.stack([tensor, tensor], dim=1)[:, 0]
    assert state_dict_sha256({"a": tensor}) == state_dict_sha256({"a": strided})


def test_scalars_are_hashed() -> None:
    assert state_dict_sha256({"n": torch.tensor(1)}) != state_dict_sha256({"n": torch.tensor(2)})
