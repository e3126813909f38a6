"""Manifests made in memory, for the tests of this folder."""

from typing import Any

from assay.common.validation import validate
from assay.data.manifest import DataManifest


def manifest_document(**changes: Any) -> dict[str, Any]:
    """A valid document with ``changes``: image files whose names hold their labels, of three classes."""
    document: dict[str, Any] = {
        "schema": 1,
        "name": "mine",
        "title": "Mine",
        "label_space": "mine",
        "num_classes": 3,
        "licence": "CC0",
        "source": "made by a test",
        "get": "make it again",
        "layout": {"type": "labelled-names", "pattern": r"p\d+_(?P<label>\d+)\.png"},
        "files": "unlisted",
    }
    return document | changes


def make_manifest(**changes: Any) -> DataManifest:
    """The manifest of that document."""
    return validate(DataManifest, manifest_document(**changes), "mine.yaml")
