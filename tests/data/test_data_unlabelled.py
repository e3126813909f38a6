"""Pictures that nobody has labelled: found, read, and refused where labels are needed."""

import numpy as np
import pytest
from PIL import Image

from assay.common.errors import UserError
from assay.data.dataset import open_dataset
from assay.data.layouts.base import UNLABELLED
from assay.data.manifest import load_manifest

MANIFEST = """schema: 1
name: found
title: Found
label_space: digits
num_classes: 10
licence: mine
source: an attic
get: look there
channels: 1
location: {folder: found}
layout: {type: unlabelled}
files: unlisted
"""


@pytest.fixture
def manifest(tmp_path):
    (tmp_path / "found" / "inside").mkdir(parents=True)
    for name in ("b.png", "a.png", "inside/c.png"):
        Image.fromarray(np.full((8, 8), 7, dtype=np.uint8)).save(tmp_path / "found" / name)
    (tmp_path / "found" / "notes.txt").write_text("words")
    (tmp_path / "found.yaml").write_text(MANIFEST)
    return load_manifest(str(tmp_path / "found.yaml"))


def test_they_are_the_folder_s_own_pictures(manifest):
    data = open_dataset(manifest, unlabelled=True)
    assert [(sample.unit_id, sample.label) for sample in data.samples] == [
        ("a.png", UNLABELLED), ("b.png", UNLABELLED)
    ]  # fmt: skip
    assert data.image(data.samples[0]).shape == (8, 8, 1)
    assert sum(data.facts.left_out.values()) >= 1
    assert len(data.part(1)) == 1


def test_whoever_needs_labels_is_told(manifest):
    with pytest.raises(UserError, match="data set found: its pictures have no labels"):
        open_dataset(manifest)


def test_no_other_layout_may_give_a_label_outside(tmp_path):
    np.savez(tmp_path / "x.npz", images=np.zeros((1, 8, 8), np.uint8), labels=np.array([UNLABELLED]))
    text = MANIFEST.replace("{type: unlabelled}", "{type: npz, file: x.npz}").replace("{folder: found}", "{}")
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(UserError, match="lies outside"):
        open_dataset(load_manifest(str(tmp_path / "x.yaml")))
