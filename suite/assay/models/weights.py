"""Weight files: read without running anybody's code, hashed, and loaded strictly."""

import hashlib
import pickle
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from assay.errors import UserError

StateDict = Mapping[str, Tensor]

_WRAPPERS = ("state_dict", "model")
_PARALLEL_PREFIX = "module."
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


def file_sha256(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    seen = _witness.get()
    if seen is not None:
        seen.append(path)
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def files_sha256(paths: Sequence[Path]) -> str:
    """SHA-256 (hex) of all files that a network's weights lie in: one file's own, or that of their names and hashes."""
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


def read_state_dict(path: Path, key: str | None = None) -> StateDict:
    """The tensors of a ``.safetensors`` file or a PyTorch checkpoint (``weights_only``), by name.

    A dictionary under ``state_dict`` or ``model`` is unwrapped, and a ``module.`` before every name removed.

    Args:
        path: the file.
        key: of the checkpoint, under which the weights lie where it has that key.

    Raises:
        UserError: the file is missing, no checkpoint, wants to run code, or holds NaN or infinite weights.
    """
    if not path.is_file():
        raise UserError(f"{path}: there is no such weight file; check the path given as --weights")
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    if key is not None and isinstance(content, dict) and isinstance(content.get(key), dict):
        content = content[key]
    state = _unwrapped(content, path)
    for name, tensor in state.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise UserError(f"{path}: the tensor {name!r} holds NaN or infinite values; use sound weights")
    return state


def load_strictly(net: nn.Module, state: StateDict, where: str) -> None:
    """Puts ``state`` into ``net``; each tensor of either must have its like in the other.

    Raises:
        UserError: ``where`` is for another architecture; names the first tensors that differ.
    """
    expected = net.state_dict()
    missing = [key for key in expected if key not in state and not key.endswith(".num_batches_tracked")]
    unexpected = [key for key in state if key not in expected]
    reshaped = [
        f"{key} {tuple(state[key].shape)} instead of {tuple(expected[key].shape)}"
        for key in expected
        if key in state and state[key].shape != expected[key].shape
    ]
    found = (("missing", missing), ("unexpected", unexpected), ("of another shape", reshaped))
    complaints = [f"{kind}: {_first(keys)}" for kind, keys in found if keys]
    if complaints:
        raise UserError(
            f"{where}: these weights are of another architecture than {type(net).__name__} "
            f"({'; '.join(complaints)}); choose the model that they were trained for"
        )
    try:
        net.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise UserError(f"{where}: {' '.join(str(error).split())}") from error


def _first(keys: list[str]) -> str:
    more = f" and {len(keys) - _SHOWN_KEYS} more" if len(keys) > _SHOWN_KEYS else ""
    return ", ".join(keys[:_SHOWN_KEYS]) + more


def _read_safetensors(path: Path) -> object:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{path}: is not a safetensors file ({error}); save it again or name it .pth"
        ) from error


def _read_pickle(path: Path) -> object:
    try:
        with warnings.catch_warnings(action="ignore"):  # what they announce is raised and said below
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "GLOBAL" in str(error) or _is_plain_pickle(path):
            raise UserError(
                f"{path}: this checkpoint wants to run code when it is read, which is refused; "
                "save the state dict alone: torch.save(model.state_dict(), 'weights.pth')"
            ) from error
        raise _not_a_checkpoint(path) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError, IndexError) as error:
        raise _not_a_checkpoint(path) from error


def _is_plain_pickle(path: Path) -> bool:
    """Whether the file begins as ``pickle.dump`` writes it, which PyTorch's safe reader does not follow."""
    with path.open("rb") as stream:
        return stream.read(1) == pickle.PROTO


def _not_a_checkpoint(path: Path) -> UserError:
    return UserError(
        f"{path}: is not a checkpoint that PyTorch can read; give a state dict saved as .safetensors or .pth"
    )


def _unwrapped(content: object, path: Path) -> StateDict:
    """The state dict itself; kept as the same object where possible, for PyTorch's version notes on it."""
    if isinstance(content, dict):
        for wrapper in _WRAPPERS:
            if isinstance(content.get(wrapper), dict):
                return _unwrapped(content[wrapper], path)
    if not isinstance(content, dict) or not content:
        raise UserError(
            f"{path}: holds a {type(content).__name__}, not a state dict; save model.state_dict()"
        )
    strangers = [
        key for key, value in content.items() if not (isinstance(key, str) and isinstance(value, Tensor))
    ]
    if strangers:
        raise UserError(
            f"{path}: is not a state dict ({strangers[0]!r} is a {type(content[strangers[0]]).__name__}, "
            "not a tensor); save model.state_dict()"
        )
    if all(key.startswith(_PARALLEL_PREFIX) for key in content):
        return {key.removeprefix(_PARALLEL_PREFIX): value for key, value in content.items()}
    return content
