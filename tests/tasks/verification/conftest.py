"""Networks and images that the verification tests share."""

import pytest
import torch
from torch import nn

import small_training as nets
from assay.tasks.verification.network import read_network


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """The arrays here are small: more threads only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def digits():
    """Held-out digits, `(450, 1, 8, 8)` float64."""
    return nets.digits_split()[1][0].double()


@pytest.fixture(scope="session")
def digits_module():
    return nets.load_digits_fnn().double()


@pytest.fixture(scope="session")
def digits_network(digits_module):
    return read_network(digits_module, (1, 8, 8))


@pytest.fixture(scope="session")
def digits_cnn():
    """A small convolutional network with max and average pooling, trained on the digits for a few epochs."""
    module = nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 6, 2),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(6, 12),
        nn.ReLU(),
        nn.Linear(12, 10),
    )
    return nets.train(module, *nets.digits_split()[0], epochs=3).double()
