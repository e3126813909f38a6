"""The archive that ``torch.export.save`` writes (``.pt2``), read as data: JSON and raw numbers.

``torch.export.load`` itself runs what a file says: it unpickles weights and constants without ``weights_only``, loads
compiled libraries, and takes operators from anywhere in torch (``torch.os.system`` is one). So that code is not used.
"""

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from assay.common.errors import UserError
from assay.models.file_kinds import refuse_page

SCHEMA_MAJOR = 8
"""The version of the JSON that is read here."""
DTYPES: Mapping[int, torch.dtype] = {
    1: torch.uint8, 2: torch.int8, 3: torch.int16, 4: torch.int32, 5: torch.int64, 6: torch.float16,
    7: torch.float32, 8: torch.float64, 12: torch.bool, 13: torch.bfloat16,
}  # fmt: skip
"""The archive's numbers for types."""

_GRAPH = "models/model.json"
_TENSORS = {"data/weights/": "model_weights_config.json", "data/constants/": "model_constants_config.json"}
_EXPORT_AGAIN = "export it again with torch.export.save, by PyTorch 2.14"


@dataclass(frozen=True)
class ProgramArchive:
    """An exported program.

    Attributes:
        program: the JSON of its graph.
        tensors: its weights, buffers and constants by name.
    """

    program: Mapping[str, Any]
    tensors: Mapping[str, Tensor]


def read_archive(path: Path) -> ProgramArchive:
    """The content of a ``.pt2`` file; nothing in it is executed or unpickled.

    Raises:
        UserError: it is missing, no such archive, of another schema, or holds pickled tensors, objects or compiled
            code, which only run what the file says.
    """
    if not path.is_file():
        raise UserError(f"{path}: there is no such file; check the path")
    refuse_page(path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = _members(archive)
            if _GRAPH not in members:
                raise UserError(f"{path}: is no exported program ({_GRAPH} is missing); {_EXPORT_AGAIN}")
            _refuse_unsafe(members, path)
            program = json.loads(archive.read(members[_GRAPH]))
            _check_schema(program, path)
            tensors: dict[str, Tensor] = {}
            for folder, config in _TENSORS.items():
                tensors |= _tensors(archive, members, folder, config, path)
    except UserError:
        raise
    except (
        zipfile.BadZipFile,
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RuntimeError,
    ) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{path}: cannot be read as an exported program ({reason}); {_EXPORT_AGAIN}"
        ) from error
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise UserError(f"{path}: the tensor {name!r} holds NaN or infinite values; use sound weights")
    return ProgramArchive(program, tensors)


def _members(archive: zipfile.ZipFile) -> dict[str, str]:
    """Names without the archive's one top folder, to names in the archive."""
    return {name.partition("/")[2]: name for name in archive.namelist()}


def _refuse_unsafe(members: Mapping[str, str], path: Path) -> None:
    compiled = [name for name in members if name.startswith("data/aotinductor/")]
    if compiled:
        raise UserError(
            f"{path}: holds compiled code ({compiled[0]}), which is never run; save the exported program alone"
        )


def _check_schema(program: Mapping[str, Any], path: Path) -> None:
    found = program["schema_version"]["major"]
    if found != SCHEMA_MAJOR:
        raise UserError(f"{path}: is of schema {found}, and {SCHEMA_MAJOR} can be read; {_EXPORT_AGAIN}")


def _tensors(
    archive: zipfile.ZipFile, members: Mapping[str, str], folder: str, config: str, path: Path
) -> dict[str, Tensor]:
    listed = json.loads(archive.read(members[folder + config]))["config"]
    found: dict[str, Tensor] = {}
    for name, payload in listed.items():
        if payload["use_pickle"] or payload["tensor_meta"] is None:
            raise UserError(
                f"{path}: {name!r} is pickled, which could run code when it is read; export the network with plain "
                "tensors on the CPU"
            )
        found[name] = _tensor(archive.read(members[folder + payload["path_name"]]), payload["tensor_meta"])
    return found


def _tensor(content: bytes, meta: Mapping[str, Any]) -> Tensor:
    """A tensor of its storage's bytes; a view that leaves the storage is a RuntimeError."""
    sizes, strides = ([_integer(each) for each in meta[name]] for name in ("sizes", "strides"))
    dtype = DTYPES[meta["dtype"]]
    if not content:
        if prod(sizes):
            raise ValueError("a tensor has no bytes")
        return torch.zeros(sizes, dtype=dtype)
    storage = torch.frombuffer(bytearray(content), dtype=dtype)
    return storage.as_strided(sizes, strides, _integer(meta["storage_offset"])).clone()


def _integer(size: Mapping[str, Any]) -> int:
    value = size["as_int"]
    if not isinstance(value, int) or value < 0:
        raise ValueError(f"a size is {value!r}")
    return value
