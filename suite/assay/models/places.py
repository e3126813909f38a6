"""Where weight files are looked for on this machine (no torch)."""

import os
from pathlib import Path

from assay.common.resources import cache_folder


def weight_folders() -> list[Path]:
    """The folders of ``ASSAY_DATA`` and ``nets`` inside each, then ``weights`` in Assay's cache."""
    roots = [Path(root) for root in os.environ.get("ASSAY_DATA", "").split(os.pathsep) if root]
    return [*(place for root in roots for place in (root, root / "nets")), cache_folder() / "weights"]


def find_weights(file: str, *more: Path) -> Path | None:
    """The first file of that name in :func:`weight_folders`, then in ``more``."""
    candidates = (folder / file for folder in (*weight_folders(), *more))
    return next((path for path in candidates if path.is_file()), None)


def downloads_allowed() -> bool:
    """Whether the user asked for downloads (``ASSAY_DOWNLOAD=1``); nothing is fetched otherwise."""
    return os.environ.get("ASSAY_DOWNLOAD") == "1"
