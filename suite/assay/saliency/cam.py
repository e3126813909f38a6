"""Maps at a layer: Grad-CAM and Grad-CAM++, and each times guided backprop."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from captum import attr
from torch import Tensor, nn
from torch.nn import functional

from assay.common.errors import UserError
from assay.models.layer_maps import LayerReading, reading
from assay.models.layers import default_layer as last_layer
from assay.models.layers import full_name, hooked
from assay.saliency.backprop import guided_backprop, leaf

_MODE = "bilinear"


class LayerCapture(nn.Module):
    """What a layer gives as (N, C, h, w), read where nothing that works in place later can overwrite it."""

    def forward(self, features: Tensor) -> Tensor:
        """The features, in memory of their own."""
        return features.clone()


def tapped(twin: nn.Module, layer: str | None, image: Tensor) -> LayerCapture:
    """Capture what a layer of a twin gives.

    Args:
        twin: from :mod:`assay.saliency.twin`.
        layer: its name; None for :func:`default_layer`.
        image: (1, C, H, W), to see what the layer gives.

    Raises:
        UserError: no such layer; it gives no map; the logits do not depend on it.
    """
    name = full_name(twin, default_layer(twin, image) if layer is None else layer)
    output, slopes = _with_slopes(twin, [name], image).get(name, (None, None))
    read = None if output is None else _read(twin, name, output, image)
    if read is None or read.kind == "vector":
        raise UserError(f"layer '{name}' gives no map in a forward pass; name a convolution or a block")
    if slopes is None:
        raise UserError(f"the logits do not depend on layer '{name}'; name a layer before them")
    if read.prefix and not _reaches(read, slopes):
        raise UserError(
            f"the logits depend on the class token alone after layer '{name}', not on its map; name a layer before it"
        )
    capture = LayerCapture()

    def through_tap(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        changed: Tensor = capture(read.channels_first(output))
        return read.put_back(output, changed)

    twin.get_submodule(name).register_forward_hook(through_tap)
    return capture


def default_layer(network: nn.Module, image: Tensor) -> str:
    """Where the last convolution's map ends, or what a transformer's last block still makes the logits of.

    After a convolution it is the last module to give a map of the same height and width before another convolution
    (such as a convolutional classifier) runs. This is the map after normalisation, activation, concatenation and
    residual sum: the "last convolutional layer" of the papers' own programs.

    Of a transformer it is the last block. Where the logits are made of its class token alone, its map has no gradient.
    Then it is the last module inside that gives a map of the block's width with a gradient (what enters its attention,
    after the normalisation), or else the block before.

    Args:
        network: in eval mode.
        image: (1, C, H, W).

    Raises:
        UserError: the network has neither.
    """
    layer = last_layer(network, image)
    if not isinstance(network.get_submodule(layer), nn.Conv2d):
        return _with_gradient(network, layer, image)
    runs: list[tuple[str, Any]] = []
    names = [name for name, _ in network.named_modules()]
    with torch.no_grad(), hooked(network, names, lambda name, output: runs.append((name, output))):
        network(image)
    modules = dict(network.named_modules())
    start = max(place for place, (name, _) in enumerate(runs) if name == layer)
    found, size = layer, runs[start][1].shape[2:]
    for name, output in runs[start + 1 :]:
        if isinstance(modules[name], nn.Conv2d):
            break
        if isinstance(output, Tensor) and output.ndim == 4 and output.shape[2:] == size:
            found = name
    return found


def _with_gradient(network: nn.Module, block: str, image: Tensor) -> str:
    """The last module up to the end of ``block`` that gives a map like the block's, one that the logits depend on."""
    names = [name for name, _ in network.named_modules() if name]
    seen = _with_slopes(network, names, image)
    like = seen[block][0].shape
    found = block
    for name, (output, slopes) in seen.items():  # in the order of their runs
        if slopes is not None and output.shape == like:
            found = name if _reaches(_read(network, name, output, image), slopes) else found
        if name == block:
            break
    return found


def _read(network: nn.Module, name: str, output: Any, image: Tensor) -> LayerReading:
    return reading(network, name, output, tuple(image.shape))


def _reaches(read: LayerReading, slopes: Tensor) -> bool:
    """Whether any place of a layer's map moves the logits."""
    return bool(read.channels_first(slopes).any())


def _with_slopes(
    network: nn.Module, layers: Sequence[str], image: Tensor
) -> dict[str, tuple[Any, Tensor | None]]:
    """What each layer that runs gives, in the order of their last runs, and the gradient of the logits' sum."""
    seen: dict[str, Any] = {}

    def note(name: str, output: Any) -> None:
        seen.pop(name, None)
        seen[name] = output

    with torch.enable_grad(), hooked(network, layers, note):
        logits = network(leaf(image))
    tensors = {
        name: output for name, output in seen.items() if isinstance(output, Tensor) and output.requires_grad
    }
    slopes = torch.autograd.grad(logits.sum(), list(tensors.values()), allow_unused=True) if tensors else ()
    found = dict(zip(tensors, slopes, strict=True))
    return {name: (output, found.get(name)) for name, output in seen.items()}


def grad_cam(network: nn.Module, capture: LayerCapture, images: Tensor, target: Tensor) -> Tensor:
    """Grad-CAM (Selvaraju et al. 2017, equations 1 and 2), interpolated to the images: (N, H, W), not negative."""
    coarse = attr.LayerGradCam(network, capture).attribute(
        leaf(images), target, attribute_to_layer_input=True, relu_attributions=True
    )
    return _upsampled(coarse.detach(), images)


def grad_cam_pp(network: nn.Module, capture: LayerCapture, images: Tensor, target: Tensor) -> Tensor:
    """Grad-CAM++ (Chattopadhay et al. 2018), interpolated to the images: (N, H, W), not negative."""
    seen: list[Tensor] = []
    handle = capture.register_forward_pre_hook(lambda _tap, inputs: seen.append(inputs[0]))
    try:
        logits = network(leaf(images))
    finally:
        handle.remove()
    features = seen[-1]
    (slopes,) = torch.autograd.grad(logits.gather(1, target[:, None]).sum(), features)
    coarse = weighed_map(features.detach(), slopes)
    return _upsampled(coarse[:, None], images)


def weighed_map(features: Tensor, slopes: Tensor) -> Tensor:
    """Grad-CAM++'s map of a layer, up to the factor exp(score) that all of an image's pixels share.

    With Y = exp(S), A the features and g = dS/dA, equation 19 reads
    alpha = g^2 / (2 g^2 + sum_ab(A_ab) g^3), equation 6 w = sum_ij alpha_ij relu(dY/dA_ij), and equation 7
    L = relu(sum_k w_k A_k). Where the gradient is zero alpha is zero.

    Args:
        features: (N, K, h, w), the layer's maps A.
        slopes: (N, K, h, w), the score's gradient g.

    Returns:
        (N, h, w), not negative.
    """
    squared = slopes.square()
    denominator = 2 * squared + features.sum((2, 3), keepdim=True) * squared * slopes
    alpha = torch.where(denominator == 0, 0, squared / denominator)
    weights = (alpha * slopes.relu()).sum((2, 3), keepdim=True)
    return (weights * features).sum(1).relu()


def guided_grad_cam(network: nn.Module, capture: LayerCapture, images: Tensor, target: Tensor) -> Tensor:
    """Guided backprop times Grad-CAM: (N, C, H, W); the network is a guidable twin."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Setting backward hooks on ReLU")
        attribution: Tensor = attr.GuidedGradCam(network, capture).attribute(
            leaf(images), target, interpolate_mode=_MODE, attribute_to_layer_input=True
        )
    return attribution.detach()


def guided_grad_cam_pp(network: nn.Module, capture: LayerCapture, images: Tensor, target: Tensor) -> Tensor:
    """Guided backprop times Grad-CAM++: (N, C, H, W); the network is a guidable twin."""
    return guided_backprop(network, images, target) * grad_cam_pp(network, capture, images, target)[:, None]


def _upsampled(coarse: Tensor, images: Tensor) -> Tensor:
    """(N, 1, h, w) to (N, H, W)."""
    return functional.interpolate(coarse, tuple(images.shape[2:]), mode=_MODE)[:, 0]
