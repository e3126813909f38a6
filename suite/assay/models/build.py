"""A network and its card put together."""

from collections.abc import Sequence

from torch import nn

from assay.models.fingerprint import fingerprint
from assay.models.info import Card, ModelInfo
from assay.models.loaded import LoadedModel, normalised
from assay.models.piecewise import is_piecewise_linear
from assay.models.structure import structure_sha256


def assemble(net: nn.Module, card: Card, weights_sha256: str, code: Sequence[str] = ()) -> LoadedModel:
    """``net`` behind its normalisation, with its full card.

    Args:
        net: normalised input (N, C, H, W) to logits (N, classes).
        card: what is known of it.
        weights_sha256: of its weight file or state dict.
        code: modules of Python beside the network's own whose text decides what it does, such as its factory's.
    """
    preprocessing = card.preprocessing
    module = normalised(net.eval().requires_grad_(False), preprocessing)
    input_shape = (len(preprocessing.mean), *preprocessing.crop)
    info = ModelInfo(
        name=card.name,
        source=card.source,
        licence=card.licence,
        weights_sha256=weights_sha256,
        architecture=card.architecture,
        label_space=card.label_space,
        num_classes=card.num_classes,
        input_shape=input_shape,
        preprocessing=preprocessing,
        piecewise_linear=is_piecewise_linear(net),
        structure_sha256=structure_sha256(module, code),
        fingerprint=fingerprint(module, input_shape),
        classes=card.classes,
    )
    return LoadedModel(info, module)
