"""Records of proofs that a stop does not lose before their chunk is stored."""

import json
from collections.abc import Callable
from typing import Any

import torch

from assay.common.savepoints import Savepoints
from assay.tasks.base import Record


def kept_record(savepoints: Savepoints, unit_id: str, make: Callable[[], Record]) -> Record:
    """The unit's record: the kept one, or what ``make`` gives."""
    found = savepoints.step(f"record {unit_id}", lambda: _as_tree(make()))
    files = {name: content.numpy().tobytes() for name, content in found["files"].items()}
    return Record(unit_id, json.loads(found["values"]), found["error"], files)


def _as_tree(record: Record) -> dict[str, Any]:
    return {
        "values": json.dumps(dict(record.values)),
        "error": record.error,
        "files": {
            name: torch.frombuffer(bytearray(content), dtype=torch.uint8)
            for name, content in record.files.items()
        },
    }
