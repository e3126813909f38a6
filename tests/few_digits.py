"""The manifest of a few digits that a test writes into `few/few.npz` beside it, as `few.yaml`."""

MANIFEST = """\
schema: 1
name: few.yaml
title: A few digits of 8 x 8 pixels
label_space: digits
num_classes: 10
channels: 1
licence: CC BY 4.0
source: UCI, by way of scikit-learn
get: drawn by the tests
location: {folder: few}
layout: {type: npz, file: few.npz}
files: unlisted
"""
