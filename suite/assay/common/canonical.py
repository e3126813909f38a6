"""Canonical JSON and its hash: how Assay decides that two documents are the same."""

import hashlib
import json
from typing import Any


def canonical_json(document: Any) -> str:
    """``document`` as JSON with sorted keys and no spaces; NaN and infinities are refused with ValueError."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def canonical_sha256(document: Any) -> str:
    """SHA-256 (hex) of :func:`canonical_json`, UTF-8 encoded."""
    return hashlib.sha256(canonical_json(document).encode()).hexdigest()
