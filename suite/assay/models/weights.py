"""Weights: hashed, and put strictly into a network."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from assay.common.errors import UserError
from assay.models.checkpoints import StateDict, read_checkpoint

_PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.", "backbone.")
"""Prefixes that DataParallel, torch.compile and classes around a network put before every tensor's name."""
_AVERAGED = "n_averaged"
"""The counter that PyTorch's AveragedModel saves beside its ``module.``."""
_SHOWN_KEYS = 3

_witness: ContextVar[list[Path] | None] = ContextVar("weight_files", default=None)


@contextmanager
def weight_files_read() -> Iterator[list[Path]]:
    """The weight files that are hashed while the block runs: what a model's card depends on."""
    files: list[Path] = []
    token = _witness.set(files)
    try:
        yield files
    finally:
        _witness.reset(token)


def _note(path: Path) -> None:
    """A file that a model's card depends on."""
    seen = _witness.get()
    if seen is not None and path not in seen:
        seen.append(path)


def file_sha256(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    _note(path)
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def files_sha256(paths: Sequence[Path]) -> str:
    """SHA-256 (hex) of a network's weight files: one file's own, or the hash of all their names and hashes."""
    if len(paths) == 1:
        return file_sha256(paths[0])
    hashes = sorted((path.name, file_sha256(path)) for path in paths)
    return hashlib.sha256("".join(f"{name}\0{each}\0" for name, each in hashes).encode()).hexdigest()


def state_dict_sha256(state: StateDict) -> str:
    """SHA-256 (hex) over sorted names, dtypes, shapes and little-endian bytes: equal tensors, equal hash."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().clone(memory_format=torch.contiguous_format)
        digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class TakenWeights:
    """What was put into a network.

    Attributes:
        sha256: of the file, or of all files that hold the tensors; of the state dict that was taken, where the file has
            several that fit.
        notes: what a reader must know of the choice, a sentence each.
    """

    sha256: str
    notes: tuple[str, ...]


def load_weights(
    net: nn.Module,
    path: Path,
    key: str | None = None,
    renamed: Callable[[StateDict], StateDict] | None = None,
) -> TakenWeights:
    """Puts the weights of a file into ``net``.

    Args:
        net: with fresh weights.
        path: as :func:`assay.models.checkpoints.read_checkpoint` reads it.
        key: which of several state dicts in the file.
        renamed: from published names of tensors to those of ``net``.

    Raises:
        UserError: the file cannot be read, or is for another architecture.
    """
    found = read_checkpoint(path, key, lambda state: not _complaints(net, fitted(net, state, renamed)))
    load_strictly(net, fitted(net, found.state, renamed), str(path))
    _note(path)
    sha256 = files_sha256(found.files)
    return TakenWeights(state_dict_sha256(found.state) if found.others else sha256, found.notes)


def fitted(
    net: nn.Module, state: StateDict, renamed: Callable[[StateDict], StateDict] | None = None
) -> StateDict:
    """``state`` without the prefixes that trainers put before every name, where the names then are those of ``net``.

    Args:
        net: whose names are wanted.
        state: as saved: ``module._orig_mod.conv1.weight``.
        renamed: from published names to those of ``net``, applied without the prefixes.
    """
    known = net.state_dict().keys()
    candidates = (renamed(bare) if renamed else bare for bare in _without_prefixes(state))
    return max(candidates, key=lambda names: len(known & names.keys()))  # of equals the first


def _without_prefixes(state: StateDict) -> Iterator[StateDict]:
    """The state itself, then without the first prefix of all its names, the first two, and so on."""
    if _AVERAGED in state and all(name == _AVERAGED or name.startswith("module.") for name in state):
        state = {name: tensor for name, tensor in state.items() if name != _AVERAGED}
    yield state
    while (prefix := _common_prefix(state)) is not None:
        state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
        yield state


def _common_prefix(state: StateDict) -> str | None:
    return next((each for each in _PREFIXES if state and all(name.startswith(each) for name in state)), None)


def load_strictly(net: nn.Module, state: StateDict, where: str) -> None:
    """Puts ``state`` into ``net``; both must have the same tensors.

    Raises:
        UserError: ``where`` is for another architecture; names the first tensors that differ.
    """
    complaints = _complaints(net, state)
    if complaints:
        classes = _classes_of_head(net, state)
        remedy = (
            f"they are of {classes} classes: write a model card with `num_classes: {classes}`"
            if classes
            else "choose the model that they were trained for"
        )
        raise UserError(
            f"{where}: these weights are of another architecture than {type(net).__name__} "
            f"({'; '.join(complaints)}); {remedy}"
        )
    try:
        net.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise UserError(f"{where}: {' '.join(str(error).split())}") from error


def _complaints(net: nn.Module, state: StateDict) -> list[str]:
    """Why ``state`` does not fit ``net``, with the names of the first tensors; empty where it fits."""
    expected = net.state_dict()
    missing = [key for key in expected if key not in state and not key.endswith(".num_batches_tracked")]
    unexpected = [key for key in state if key not in expected]
    reshaped = [
        f"{key} {tuple(state[key].shape)} instead of {tuple(expected[key].shape)}"
        for key in _reshaped(expected, state)
    ]
    found = (("missing", missing), ("unexpected", unexpected), ("of another shape", reshaped))
    return [f"{kind}: {_first(keys)}" for kind, keys in found if keys]


def _reshaped(expected: StateDict, state: StateDict) -> list[str]:
    return [key for key in expected if key in state and state[key].shape != expected[key].shape]


def _classes_of_head(net: nn.Module, state: StateDict) -> int | None:
    """The number of classes of a head that was trained anew, where nothing else differs; else None."""
    expected = net.state_dict()
    reshaped = _reshaped(expected, state)
    if (
        state.keys() - expected.keys()
        or expected.keys() - state.keys()
        or not all(state[key].ndim and state[key].shape[1:] == expected[key].shape[1:] for key in reshaped)
    ):
        return None
    counts = {(expected[key].shape[0], state[key].shape[0]) for key in reshaped}
    return int(counts.pop()[1]) if len(counts) == 1 else None


def _first(keys: list[str]) -> str:
    more = f" and {len(keys) - _SHOWN_KEYS} more" if len(keys) > _SHOWN_KEYS else ""
    return ", ".join(keys[:_SHOWN_KEYS]) + more
