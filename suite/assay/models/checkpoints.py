"""Reads weight files as state dicts and runs none of their code: safetensors, its shards, PyTorch checkpoints."""

import json
import pickle
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from assay.common.errors import UserError
from assay.models.file_kinds import refuse_foreign

StateDict = Mapping[str, Tensor]

INDEX_SUFFIX = ".index.json"
_SAFETENSORS = ".safetensors"
_LIKELIEST = ("state_dict", "model", "model_state_dict", "net", "network", "weights")
"""Keys under which the weights lie where several dictionaries of a file could be them."""
_DEEPEST = 2
_REFUSALS = ("GLOBAL", "Trying to call", "Can only")  # as PyTorch's safe reader begins them
_SAVE_ALONE = "save the state dict alone: torch.save(model.state_dict(), 'weights.pth')"


@dataclass(frozen=True)
class Checkpoint:
    """The state dict that was taken from a weight file.

    Attributes:
        state: tensors by name.
        key: under which it lies in the file, dots between the keys of nested dictionaries; None for the whole file.
        others: keys of what could have been taken as well.
        files: every file that the tensors lie in.
    """

    state: StateDict
    key: str | None
    others: tuple[str, ...]
    files: tuple[Path, ...]

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know of the choice, a sentence each."""
        if not self.others:
            return ()
        others = " and ".join(self.others)
        return (f"weights taken from {self.key} (the file has {others} too; a card's `weights.key` chooses)",)


def read_checkpoint(
    path: Path, key: str | None = None, fits: Callable[[StateDict], bool] = lambda _: True
) -> Checkpoint:
    """The state dict in a weight file.

    One dictionary inside is taken out. If several fit, the usual name wins (``state_dict``, not ``state_dict_ema``).

    Args:
        path: ``.safetensors``, the index of several (``model.safetensors.index.json``), or a PyTorch checkpoint, which
            is read with ``weights_only``.
        key: which of several state dicts in the file.
        fits: whether a state dict fits the network.

    Raises:
        UserError: the file is missing, is no checkpoint, or would run code; it holds no state dict, none under ``key``,
            or several without a usual name; or a tensor is NaN or infinite.
    """
    if path.is_dir():
        raise UserError(f"{path}: is a folder; give the weight file inside it")
    if not path.is_file():
        raise UserError(f"{path}: there is no such weight file; check the path given as --weights")
    content, files = _sharded(path) if path.name.endswith(INDEX_SUFFIX) else (_content(path), (path,))
    states = _states(content)
    if not states:
        raise UserError(f"{path}: {_why_none(content)}")
    fitting = [name for name, state in states.items() if fits(state)]
    chosen = _under_key(states, key, path) if key else _likeliest(fitting or list(states), path)
    others = tuple(name for name in fitting if name != chosen) if chosen in fitting else ()
    _refuse_not_finite(states[chosen], path)
    return Checkpoint(states[chosen], chosen or None, others, files)


def _under_key(states: Mapping[str, StateDict], key: str, path: Path) -> str:
    """The full key of the state dict at a key, or of the only one inside it."""
    under = [name for name in states if name == key or name.startswith(f"{key}.")]
    if len(under) == 1:
        return under[0]
    held = " and ".join(under or filter(None, states)) or "one that has no key"
    raise UserError(
        f"{path}: holds {'several state dicts' if under else 'no state dict'} under the key {key!r}, but {held}; "
        "correct `weights.key`"
    )


def _likeliest(names: list[str], path: Path) -> str:
    if len(names) == 1:
        return names[0]
    usual = [name for known in _LIKELIEST for name in names if name.split(".")[0] == known]
    if not usual:
        raise UserError(
            f"{path}: holds several state dicts, {' and '.join(names)}; say which in a model card, "
            f"`weights: {{file: {path.name}, key: {names[0]}}}`"
        )
    return usual[0]


def _refuse_not_finite(state: StateDict, path: Path) -> None:
    for name, tensor in state.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise UserError(f"{path}: the tensor {name!r} holds NaN or infinite values; use sound weights")


def _states(content: object, place: tuple[str, ...] = ()) -> dict[str, StateDict]:
    """Every state dict in what a file holds, by its keys with dots between them; "" for the whole of it."""
    if not isinstance(content, dict):
        return {}
    if _is_state_dict(content):
        return {".".join(place): content}  # the object itself: PyTorch keeps version notes on it
    if len(place) == _DEEPEST:
        return {}
    found: dict[str, StateDict] = {}
    for key, value in content.items():
        if isinstance(key, str):
            found |= _states(value, (*place, key))
    return found


def _is_state_dict(content: Mapping[Any, Any]) -> bool:
    return bool(content) and all(_is_entry(key, value) for key, value in content.items())


def _is_entry(key: object, value: object) -> bool:
    return isinstance(key, str) and isinstance(value, Tensor)


def _why_none(content: object) -> str:
    """Why what a file holds is no state dict."""
    values = list(content.values()) if isinstance(content, dict) else []
    mixed = next((each for each in (content, *values) if _has_tensors(each)), content)
    unread = next((each.kind for each in (content, *values) if isinstance(each, _Unread)), None)
    if unread is not None and mixed is content and not _has_tensors(content):
        return f"holds a {unread}, which would run code when it is read; that is refused; {_SAVE_ALONE}"
    if isinstance(mixed, dict) and mixed:
        key, value = next((key, value) for key, value in mixed.items() if not _is_entry(key, value))
        kind = value.kind if isinstance(value, _Unread) else type(value).__name__
        return f"is not a state dict ({key!r} is a {kind}, not a tensor); save model.state_dict()"
    return f"holds a {type(content).__name__}, not a state dict; save model.state_dict()"


def _has_tensors(content: object) -> bool:
    return isinstance(content, dict) and any(isinstance(value, Tensor) for value in content.values())


def _sharded(path: Path) -> tuple[dict[str, Tensor], tuple[Path, ...]]:
    """The tensors of all shards that an index lists, and the shards."""
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))["weight_map"]
        names = sorted(set(listed.values()))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(
            f"{path}: is no index of shards (a `weight_map` from tensor to file is missing); get it again"
        ) from error
    state: dict[str, Tensor] = {}
    for name in names:
        if not isinstance(name, str) or Path(name).name != name:
            raise UserError(
                f"{path}: names the shard {name!r}, which is no file beside it; correct the index"
            )
        shard = path.parent / name
        if not shard.is_file():
            raise UserError(f"{path}: its shard {name} is missing; put it beside the index")
        held = _content(shard)
        expected = {tensor for tensor, file in listed.items() if file == name}
        if not isinstance(held, dict) or held.keys() != expected:
            raise UserError(
                f"{shard}: does not hold the tensors that {path.name} lists for it; get both again"
            )
        state |= held
    return state, tuple(path.parent / name for name in names)


def _content(path: Path) -> Any:
    """What a file holds: tensors by name, or whatever was pickled."""
    refuse_foreign(path)
    if path.suffix == _SAFETENSORS or _is_safetensors(path):
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise UserError(
                f"{path}: is not a safetensors file ({error}); get it again, or name it .pth"
            ) from error
    return _pickled(path)


def _is_safetensors(path: Path) -> bool:
    """Whether a file begins like a safetensors file: with the length of its header, then the header in JSON."""
    with path.open("rb") as stream:
        head = stream.read(9)
    return len(head) == 9 and head[8:] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size


def _pickled(path: Path) -> Any:
    try:
        with (
            warnings.catch_warnings(action="ignore"),  # what they warn of is raised below
            torch.serialization.safe_globals([(_stand_in(name), name) for name in _unknown_classes(path)]),
        ):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if any(words in str(error) for words in _REFUSALS) or _is_plain_pickle(path):
            raise UserError(
                f"{path}: this checkpoint would run code when it is read, which is refused; {_SAVE_ALONE}"
            ) from error
        raise _not_a_checkpoint(path) from error
    except (
        RuntimeError,
        EOFError,
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        IndexError,
    ) as error:
        raise _not_a_checkpoint(path) from error


class _Unread:
    """Stands in a checkpoint for an object that only its own class could make: nothing of it is read or run."""

    kind = ""

    def __init__(self, *_: object) -> None:
        """Takes whatever the class would take."""

    def __setstate__(self, _: object) -> None:
        """Takes whatever the object would be filled with."""


class _UnreadDict:
    """Makes a plain dictionary in place of a dictionary of an unknown class."""

    def __new__(cls, *_: object) -> Any:
        return OrderedDict()


def _stand_in(name: str) -> type:
    """What stands for the class or function of that name, such as a trainer's options or a score of NumPy's."""
    base = _UnreadDict if name.lower().endswith("dict") else _Unread
    return type(base.__name__, (base,), {"kind": name})


def _unknown_classes(path: Path) -> list[str]:
    """What a checkpoint names that PyTorch's safe reader does not know."""
    try:
        return torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError):
        return []  # the reader itself says what is wrong


def _is_plain_pickle(path: Path) -> bool:
    """Whether the file begins as ``pickle.dump`` writes it, which PyTorch's safe reader does not follow."""
    with path.open("rb") as stream:
        return stream.read(1) == pickle.PROTO


def _not_a_checkpoint(path: Path) -> UserError:
    return UserError(
        f"{path}: is not a checkpoint that PyTorch can read; give a state dict saved as .safetensors or .pth"
    )
