"""Small networks for tests: the shipped one on digits, any chain of layers trained for a moment, and the pictures.

:func:`train` is a plain loop that shares no code with the suite's trainer. The recipes ``munakata/*`` ask for the same
training, so each checks the other.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from assay import models
from assay.models.architectures import build

TO_TRAIN = 1347
DIGITS_WEIGHTS = Path(models.__file__).parent / "weights" / "digits_fnn.safetensors"
_SHAPES = {"digits": (1, 8, 8), "mnist": (1, 28, 28)}
SMALL_NETS = ("mnist_fnn_200", "mnist_fnn_800", "mnist_cnn_2028")


def small_net(name: str) -> nn.Module:
    """``digits_fnn``, ``mnist_fnn_200``, …, with fresh weights."""
    return build(name.replace("_", "-"), _SHAPES[name.split("_")[0]], 10)


def load_digits_fnn() -> nn.Module:
    """The digits network as shipped."""
    network = small_net("digits_fnn")
    network.load_state_dict(load_file(DIGITS_WEIGHTS))
    return network.eval()


def digits_split() -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Scikit-learn's digits, (N, 1, 8, 8) float32 in [0, 1], with labels: the first 1,347 to train, 450 to test."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = torch.from_numpy(digits.images).float()[:, None] / 16
    labels = torch.from_numpy(digits.target).long()
    return (images[:TO_TRAIN], labels[:TO_TRAIN]), (images[TO_TRAIN:], labels[TO_TRAIN:])


def train(network: nn.Module, images: Tensor, labels: Tensor, epochs: int, seed: int = 0) -> nn.Module:
    """Adam (1e-3, batches of 128) in float64 on one thread, from He-uniform weights; float32 in the end.

    Everything random comes from one generator that ``seed`` begins.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        _descend(network, images, labels, epochs, torch.Generator().manual_seed(seed))
    finally:
        torch.set_num_threads(threads)
    return network.float().eval()


def _descend(
    network: nn.Module, images: Tensor, labels: Tensor, epochs: int, generator: torch.Generator
) -> None:
    for layer in network.float().children():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu", generator=generator)
            nn.init.zeros_(layer.bias)
    optimiser = torch.optim.Adam(network.double().train().parameters(), lr=1e-3)
    for _ in range(epochs):
        for batch in torch.split(torch.randperm(len(images), generator=generator), 128):
            loss = nn.functional.cross_entropy(network(images[batch].double()), labels[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()


def accuracy(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Share of images (N, C, H, W) whose arg max is the label."""
    with torch.no_grad():
        return float((network(images).argmax(1) == labels).double().mean())
