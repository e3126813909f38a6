"""The small networks that the verification tasks use, and the seeded recipe that trains them."""

from __future__ import annotations

import itertools
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn


def fully_connected(inputs: int, hidden: tuple[int, ...], classes: int = 10) -> nn.Sequential:
    """A ReLU network on flattened images, e.g. `(784, (100, 100))` for 200 neurons."""
    sizes = (inputs, *hidden)
    layers: list[nn.Module] = [nn.Flatten()]
    for read, written in itertools.pairwise(sizes):
        layers += [nn.Linear(read, written), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], classes))


def mnist_fnn_200() -> nn.Sequential:
    """784-100-100-10: 200 ReLUs."""
    return fully_connected(784, (100, 100))


def mnist_fnn_800() -> nn.Sequential:
    """784-200-200-200-200-10: 800 ReLUs."""
    return fully_connected(784, (200, 200, 200, 200))


def mnist_cnn_2028() -> nn.Sequential:
    """Two strided convolutions and a hidden layer on 28 x 28: 8*13*13 + 16*6*6 + 100 = 2,028 ReLUs."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(576, 100),
        nn.ReLU(),
        nn.Linear(100, 10),
    )


def digits_fnn() -> nn.Sequential:
    """64-32-32-10 on scikit-learn's 8 x 8 digits: 64 ReLUs."""
    return fully_connected(64, (32, 32))


DIGITS_TO_TRAIN = 1347
"""The first of scikit-learn's 1,797 digits: the data set digits-train; the others are digits-test."""

DIGITS_WEIGHTS = Path(__file__).parent / "weights" / "digits_fnn.safetensors"


def load_digits_fnn() -> nn.Sequential:
    """The digits network as shipped, made by `train(digits_fnn(), *digits_split()[0], epochs=40)`."""
    network = digits_fnn()
    network.load_state_dict(load_file(DIGITS_WEIGHTS))
    return network.eval()


ARCHITECTURES = {
    "digits_fnn": digits_fnn,
    "mnist_fnn_200": mnist_fnn_200,
    "mnist_fnn_800": mnist_fnn_800,
    "mnist_cnn_2028": mnist_cnn_2028,
}


def digits_split() -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Scikit-learn's digits, `(N, 1, 8, 8)` float32 in [0, 1], with labels: the first 1,347 to train, 450 to test."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = torch.from_numpy(digits.images).float()[:, None] / 16
    labels = torch.from_numpy(digits.target).long()
    ours, held_out = slice(DIGITS_TO_TRAIN), slice(DIGITS_TO_TRAIN, None)
    return (images[ours], labels[ours]), (images[held_out], labels[held_out])


def train(
    network: nn.Sequential, images: Tensor, labels: Tensor, epochs: int, seed: int = 0
) -> nn.Sequential:
    """Train with Adam (1e-3, batches of 128) from fresh weights; everything random comes from `seed`.

    It calculates in float64 on one thread and rounds the result to float32. In float32 the order of sums, which
    differs between thread counts and processors, grows within three epochs to differences of 0.1 in a weight; in
    float64 to some 1e-15, measured between one and two threads and between instruction sets. So one seed gives one
    network: the same bits on one machine, and elsewhere the same but for the last bit of a rare weight.

    Args:
        network: the architecture; its weights are drawn anew.
        images: `(N, C, H, W)` in [0, 1].
        labels: `(N,)` int64.
        epochs: passes over the data.
        seed: of the first weights and the order of the images.

    Returns:
        The same module, trained, float32, in evaluation mode.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        _descend(network, images, labels, epochs, torch.Generator().manual_seed(seed))
    finally:
        torch.set_num_threads(threads)
    return network.float().eval()


def _descend(
    network: nn.Sequential, images: Tensor, labels: Tensor, epochs: int, generator: torch.Generator
) -> None:
    _draw_weights(network.float(), generator)
    optimiser = torch.optim.Adam(network.double().train().parameters(), lr=1e-3)
    for _ in range(epochs):
        for batch in torch.split(torch.randperm(len(images), generator=generator), 128):
            loss = nn.functional.cross_entropy(network(images[batch].double()), labels[batch])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()


def _draw_weights(network: nn.Sequential, generator: torch.Generator) -> None:
    """He-uniform weights and zero biases."""
    for layer in network:
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu", generator=generator)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def accuracy(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Share of images `(N, C, H, W)` whose arg max is the label."""
    with torch.no_grad():
        return float((network(images).argmax(1) == labels).double().mean())
