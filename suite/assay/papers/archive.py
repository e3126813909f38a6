"""Figures from an archive of the authors' own results, computed once and kept."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from assay.data.hashes import content_sha256
from assay.papers.spec.measurements import RegionsMeasurement
from assay.runner.files import write_atomically
from assay.tasks.base import Task

FORMAT = 1  # of what is kept; raised whenever the same archive would give other figures
Figures = Mapping[str, Mapping[str, float]]
"""Figures by ``network:quantity:method``, then by shape; missing regions are left out."""


def shape_values(
    task: Task[Any, Any], archive: Path, kept: Path, wanted: RegionsMeasurement
) -> Mapping[str, float]:
    """One figure per shape.

    Args:
        task: the family that reads the archive.
        archive: the authors' file.
        kept: where the figures of all networks are kept between runs.
        wanted: which figure of which network.

    Raises:
        UserError: a file of another form.
        KeyError: a network that the archive does not hold.
    """
    return figures_of(task, archive, kept)[f"{wanted.network}:{wanted.quantity}:{wanted.method}"]


def figures_of(task: Task[Any, Any], archive: Path, kept: Path) -> Figures:
    """All figures of the archive, computed unless ``kept`` holds those of the same file."""
    sha256 = content_sha256(archive, packed=False)
    try:
        document = json.loads(kept.read_text(encoding="utf-8"))
        if (document["format"], document["sha256"]) == (FORMAT, sha256):
            figures: Figures = document["figures"]
            return figures
    except (OSError, ValueError, KeyError, TypeError):
        pass
    figures = task.archive(archive)
    document = {"format": FORMAT, "sha256": sha256, "figures": figures}
    write_atomically(kept, json.dumps(document, indent=1) + "\n")
    return figures
