"""A network and its card put together."""

from torch import nn

from assay.models.info import Card, ModelInfo
from assay.models.loaded import LoadedModel, normalised
from assay.models.piecewise import is_piecewise_linear


def assemble(net: nn.Module, card: Card, weights_sha256: str) -> LoadedModel:
    """``net`` behind its normalisation, with its full card.

    Args:
        net: normalised input (N, C, H, W) to logits (N, classes).
        card: what is known of it.
        weights_sha256: of its weight file or state dict.
    """
    preprocessing = card.preprocessing
    net.eval()
    info = ModelInfo(
        name=card.name,
        source=card.source,
        licence=card.licence,
        weights_sha256=weights_sha256,
        architecture=card.architecture,
        label_space=card.label_space,
        num_classes=card.num_classes,
        input_shape=(len(preprocessing.mean), *preprocessing.crop),
        preprocessing=preprocessing,
        piecewise_linear=is_piecewise_linear(net),
    )
    return LoadedModel(info, normalised(net, preprocessing))
