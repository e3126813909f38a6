"""What the training methods do to images: functions of tensors and of a generator of random numbers.

Images are (N, C, H, W) in [0, 1]; eps is a radius in the same units; ``chance`` is a generator on the images' device.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from assay.common.balls import BALLS


def climb(
    loss: Callable[[Tensor], Tensor],
    start: Tensor,
    images: Tensor,
    eps: float,
    step_size: float,
    steps: int,
) -> Tensor:
    """The last iterate of x <- P(x + step_size * sign(gradient)), P the projection to the ball and to [0, 1].

    The same steps as :func:`assay.attacks.run.run_attack` takes with ``early_stop=False`` (a test holds them equal),
    from any start, up any loss, and without the pass that would judge the last iterate.

    Args:
        loss: images to (N,) losses, row by row.
        start: (N, C, H, W), where to begin.
        images: centres of the balls.
        eps: radius.
        step_size: of each pixel.
        steps: how many.
    """
    ball = BALLS["linf"]
    radius = torch.full((len(images),), eps, dtype=torch.float64, device=images.device)
    adversarial = start.detach().clone()
    for _ in range(steps):
        points = adversarial.detach().requires_grad_()
        (slope,) = torch.autograd.grad(loss(points).sum(), points)
        step = ball.direction_(slope.clone()).mul_(step_size)
        adversarial = ball.project_(points.detach() + step, images, radius)
    return adversarial


def uniform_noise(images: Tensor, eps: float, chance: torch.Generator) -> Tensor:
    """Images plus one uniform number of [-eps, eps] per pixel, clipped to [0, 1]."""
    noise = torch.empty_like(images).uniform_(-eps, eps, generator=chance)
    return noise.add_(images).clamp_(0, 1)


def nudged(images: Tensor, eps: float, chance: torch.Generator) -> Tensor:
    """Images plus 0.001 times one standard normal number per pixel, in the ball (TRADES' start, Zhang et al. 2019)."""
    noise = torch.empty_like(images).normal_(0, 0.001, generator=chance)
    return noise.clamp_(-eps, eps).add_(images).clamp_(0, 1)


def salient_perturbation(
    images: Tensor, salient: Tensor, noise_share: float, chance: torch.Generator
) -> Tensor:
    """Delta of Mangla et al.: z with probability ``noise_share`` (their alpha^t), else minus the saliency's sign.

    Each pixel of each channel has its own z and its own coin; the text does not say whether a coin is shared.

    Args:
        images: only their shape and type count.
        salient: (N, H, W) or (N, C, H, W), +1 and -1, or 0 where no saliency is known: there it is always z.
        noise_share: in [0, 1].
        chance: where the signs and the coins come from.

    Returns:
        (N, C, H, W) of +1 and -1.
    """
    signs = torch.empty_like(images).bernoulli_(0.5, generator=chance).mul_(2).sub_(1)
    coins = torch.empty_like(images).uniform_(generator=chance)
    return blended(signs, salient, coins < noise_share)


def blended(signs: Tensor, salient: Tensor, from_noise: Tensor) -> Tensor:
    """``signs`` where ``from_noise``, minus ``salient`` elsewhere.

    Args:
        signs: (N, C, H, W).
        salient: (N, H, W), the same for all channels, or (N, C, H, W).
        from_noise: (N, C, H, W) bool; a saliency of 0 counts as True.
    """
    maps = salient[:, None] if salient.dim() == 3 else salient
    return torch.where(from_noise | (maps == 0), signs, -maps.to(signs.dtype))


def perturbed(images: Tensor, delta: Tensor, eps: float) -> Tensor:
    """clip(x + eps * delta) to [0, 1]."""
    return (images + eps * delta).clamp(0, 1)


def signs_of(maps: Tensor, threshold: str) -> Tensor:
    """Saliency maps as +1 (above the threshold of their image) and -1, int8.

    Args:
        maps: (N, ...).
        threshold: ``zero``, or the ``mean`` or ``median`` of each map.
    """
    flat = maps.flatten(1)
    if threshold == "zero":
        level = torch.zeros_like(flat[:, :1])
    elif threshold == "mean":
        level = flat.mean(dim=1, keepdim=True)
    else:
        level = flat.median(dim=1, keepdim=True).values
    above = (flat > level).reshape(maps.shape)
    return above.to(torch.int8).mul_(2).sub_(1)


def masked(images: Tensor, gradient: Tensor, share: float, chance: torch.Generator) -> Tensor:
    """x~: in each image the ``share`` of pixels of the lowest gradient magnitude replaced by random values.

    A pixel's magnitude is the sum of |gradient| over its channels, and a pixel is replaced in all its channels
    ("related pixels are masked"). Ties are broken arbitrarily, so that exactly the share is replaced. The values are
    uniform between the lowest and the highest value of the image itself (all its channels).

    Args:
        images: (N, C, H, W).
        gradient: (N, C, H, W).
        share: in [0, 1]; floor(share * H * W) pixels are replaced.
        chance: where the values come from.
    """
    magnitude = gradient.abs().sum(dim=1).flatten(1)
    count = int(share * magnitude.shape[1])
    lowest = magnitude.topk(count, dim=1, largest=False, sorted=False).indices
    replaced = torch.zeros_like(magnitude, dtype=torch.bool).scatter_(1, lowest, True)
    low, high = images.flatten(1).aminmax(dim=1)
    draws = torch.empty_like(images).uniform_(generator=chance)
    values = draws.mul_((high - low).view(-1, 1, 1, 1)).add_(low.view(-1, 1, 1, 1))
    return torch.where(replaced.view(-1, 1, *images.shape[2:]), values, images)
