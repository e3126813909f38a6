"""Weights in a network: which names and shapes fit it, and what a hash depends on."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn
from torch.optim.swa_utils import AveragedModel

from assay.common.errors import UserError
from assay.models.weights import (
    file_sha256,
    files_sha256,
    fitted,
    load_strictly,
    load_weights,
    state_dict_sha256,
    weight_files_read,
)

PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.", "backbone.")


def linear(seed: int = 0) -> nn.Linear:
    torch.manual_seed(seed)
    return nn.Linear(3, 2)


class Around(nn.Module):
    """A network that keeps another under a name that is also a trainer's prefix."""

    def __init__(self) -> None:
        super().__init__()
        self.model = linear()
        self.bias = nn.Parameter(torch.zeros(1))


@given(st.lists(st.sampled_from(PREFIXES), max_size=4))
def test_any_chain_of_prefixes_comes_off(chain: list[str]) -> None:
    state = linear().state_dict()
    named = {"".join(chain) + name: tensor for name, tensor in state.items()}
    assert fitted(linear(1), named).keys() == state.keys()


@given(st.lists(st.sampled_from(PREFIXES), max_size=3))
def test_a_prefix_that_is_the_networks_own_stays(chain: list[str]) -> None:
    state = Around().state_dict()
    named = {"".join(chain) + name: tensor for name, tensor in state.items()}
    assert fitted(Around(), named).keys() == state.keys()


def test_a_prefix_of_some_names_only_stays_and_is_refused() -> None:
    state = {"module.weight": torch.zeros(2, 3), "bias": torch.zeros(2)}
    assert fitted(linear(), state).keys() == state.keys()
    with pytest.raises(UserError, match=r"missing: weight; unexpected: module\.weight"):
        load_strictly(linear(), fitted(linear(), state), "net.pth")


def test_an_averaged_model_is_read_as_the_model_that_it_averages() -> None:
    averaged = AveragedModel(linear())
    assert fitted(linear(1), averaged.state_dict()).keys() == linear().state_dict().keys()


def test_published_names_are_renamed_behind_their_prefixes(tmp_path: Path) -> None:
    state = {f"module.{name}_old": tensor for name, tensor in linear().state_dict().items()}
    torch.save(state, tmp_path / "net.pth")
    net = linear(1)
    load_weights(
        net, tmp_path / "net.pth", renamed=lambda old: {k.removesuffix("_old"): v for k, v in old.items()}
    )
    assert torch.equal(net.weight, linear().weight)


def test_a_file_of_one_state_dict_has_the_files_hash_and_no_note(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    torch.save({"net": linear().state_dict(), "acc": 71.3, "stats": {"mean": torch.zeros(3)}}, path)
    taken = load_weights(linear(1), path)
    assert (taken.sha256, taken.notes) == (file_sha256(path), ())


def test_of_several_that_fit_the_choice_is_noted_and_hashed(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    torch.save({"state_dict_ema": linear(1).state_dict(), "state_dict": linear(0).state_dict()}, path)
    net = linear(2)
    plain, averaged, again = (load_weights(net, path, key) for key in (None, "state_dict_ema", "state_dict"))
    assert torch.equal(net.weight, linear(0).weight)
    assert plain == again
    assert plain.sha256 != averaged.sha256
    assert "weights taken from state_dict (the file has state_dict_ema too" in plain.notes[0]
    assert "weights taken from state_dict_ema (the file has state_dict too" in averaged.notes[0]


def test_what_does_not_fit_the_network_is_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "gan.pth"
    torch.save({"model": nn.Linear(7, 7).state_dict(), "classifier": linear(0).state_dict()}, path)
    net = linear(1)
    assert load_weights(net, path).notes == ()
    assert torch.equal(net.weight, linear(0).weight)


def test_shards_are_loaded_together_and_hashed_together(tmp_path: Path) -> None:
    index = write_shards(tmp_path)
    shards = [tmp_path / "one.safetensors", tmp_path / "two.safetensors"]
    net = linear(1)
    with weight_files_read() as files:
        taken = load_weights(net, index)
    assert set(files) == {index, *shards}
    assert torch.equal(net.bias, linear().bias)
    assert taken.sha256 == files_sha256(shards)
    save_file({"bias": linear().bias.data + 1}, shards[1])
    assert load_weights(net, index).sha256 != taken.sha256


def write_shards(folder: Path) -> Path:
    """Two shards of a linear layer and their index."""
    state = linear().state_dict()
    save_file({"weight": state["weight"]}, folder / "one.safetensors")
    save_file({"bias": state["bias"]}, folder / "two.safetensors")
    index = folder / "model.safetensors.index.json"
    index.write_text('{"weight_map": {"weight": "one.safetensors", "bias": "two.safetensors"}}')
    return index


def test_a_head_of_other_classes_is_told(tmp_path: Path) -> None:
    body = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 10))
    with pytest.raises(UserError, match="of 7 classes: write a model card with `num_classes: 7`"):
        load_strictly(body, nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 7)).state_dict(), "net.pth")
    with pytest.raises(UserError, match="choose the model that they were trained for"):
        load_strictly(body, nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 10)).state_dict(), "net.pth")


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
