"""A proof about one picture, as a call."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.api.arguments import texts
from assay.common.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from assay.models.in_memory import Said
    from assay.models.loaded import LoadedModel
    from assay.tasks.verification.verify import Verification


def verify(
    model: "str | Path | nn.Module",
    image: "Tensor | np.ndarray[Any, Any] | str | Path",
    perturbation: str | Sequence[str],
    *,
    delta: float = 3.0,
    labels: str = "all",
    timeout_s: float = 600.0,
    preprocessing: "Said" = None,
) -> "Verification":
    """Prove for which changes of one image label and attention are kept.

    Args:
        model: a network of linear layers, ReLUs and pooling, as a name, a card or a module in memory (see
            :func:`assay.evaluate`).
        image: (C, H, W) in [0, 1] of the network's own size, or a picture's file.
        perturbation: such as ``brightness:0:0.3``, or several that change together.
        delta: threshold of the attention inconsistency.
        labels: ``predicted`` or ``all``: whose maps count.
        timeout_s: seconds; then the answer is what is proved so far.
        preprocessing: of a module in memory.

    Raises:
        UserError: a perturbation that cannot be read, a network that cannot be verified, an image that does not fit.
    """
    from assay.models.in_memory import as_model
    from assay.tasks.base import NotApplicableError
    from assay.tasks.verification.evaluate import exact_network, question, spec_of_one
    from assay.tasks.verification.verify import verify as verify_image

    combination = tuple(texts("perturbation", perturbation))
    spec = spec_of_one(combination, delta, labels, timeout_s)
    loaded = as_model(model, preprocessing)
    try:
        network = exact_network(loaded)
    except NotApplicableError as error:
        raise UserError(
            f"{loaded.info.name}: {error}; choose a network of linear layers and ReLUs, or look for the worst, "
            "without a proof, by `assay verify --verifier search`"
        ) from error
    return verify_image(network, _prepared(image, loaded), question(spec, combination, spec.seed))


def _prepared(image: "Tensor | np.ndarray[Any, Any] | str | Path", model: "LoadedModel") -> "Tensor":
    """(C, H, W) float64 of the network's size."""
    from assay.models.given import picture

    if isinstance(image, str | Path):
        return model.read(Path(image)).double()
    return picture(image, model)
