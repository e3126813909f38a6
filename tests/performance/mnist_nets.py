"""The MNIST test pictures and three networks of Munakata et al., trained for a moment, for tests of speed."""

import gzip
import os
from functools import cache
from pathlib import Path

import numpy as np
import torch

import small_training as nets
from assay.tasks.verification.network import read_network

MNIST = Path(os.environ.get("ASSAY_SHARED", Path(__file__).parents[2].parent / "shared")) / "data" / "mnist"
PLANE = ["brightness:0:0.5", "patch:0:0.5:10:10:4x4"]
NETWORKS = {"fnn-200": "mnist_fnn_200", "fnn-800": "mnist_fnn_800", "cnn-2028": "mnist_cnn_2028"}


def read(name, offset):
    """The numbers of one of MNIST's files behind its header."""
    return np.frombuffer(gzip.decompress((MNIST / name).read_bytes()), np.uint8, offset=offset).copy()


@cache
def pictures():
    """The test pictures, (N, 1, 28, 28) float64."""
    return torch.from_numpy(read("t10k-images-idx3-ubyte.gz", 16)).reshape(-1, 1, 28, 28).double() / 255


@cache
def module(name):
    """One of the three networks, trained by the recipe for two epochs, in float64."""
    pixels = torch.from_numpy(read("train-images-idx3-ubyte.gz", 16)).reshape(-1, 1, 28, 28) / 255
    labels = torch.from_numpy(read("train-labels-idx1-ubyte.gz", 8)).long()
    return nets.train(nets.small_net(NETWORKS[name]), pixels, labels, epochs=2).double()


def network_of(name):
    """The same as the exact verifier reads it."""
    return read_network(module(name), (1, 28, 28))
