"""Networks whose maps can be worked out by hand, for the tests of this folder."""

import torch
from torch import Tensor, nn


class Linear(nn.Module):
    """Logit k is <weight[k], x>: its gradient is weight[k] everywhere."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1) @ self.weight.flatten(1).T


def small_conv(dtype: torch.dtype = torch.float32, *, inplace: bool = False, seed: int = 0) -> nn.Sequential:
    """Two convolutions and a head on (3, 8, 8), five classes, weights drawn from the seed."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=inplace),
        nn.Conv2d(4, 6, 3, padding=1, stride=2),
        nn.ReLU(inplace=inplace),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(6 * 16, 5),
    ).to(dtype)
