"""The models that transfer attacks are made on: part of what decides the answer, beside the images."""

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from assay.common.canonical import canonical_sha256
from assay.models.foreign import NamePolicy, require_trusted
from assay.tasks.adversarial.spec import AdversarialSpec

if TYPE_CHECKING:
    from assay.data.dataset import Dataset
    from assay.models.loaded import LoadedModel


@lru_cache(maxsize=2)
def source_model(name: str, device: str) -> "LoadedModel":
    """The model that a transfer attack is made on; :func:`with_sources` has looked at its name before.

    Raises:
        UserError: unknown model or missing weights.
    """
    from assay.models.zoo import load_model

    return load_model(name, device=device)


def source_names(spec: AdversarialSpec) -> list[str]:
    """The sources that the spec names."""
    return sorted({attack.transfer_from for attack in spec.attacks if attack.transfer_from})


def with_sources(spec: AdversarialSpec, data: "Dataset", trust: NamePolicy) -> "Dataset":
    """The data, whose hash covers the sources' weights and preprocessing too where there are any.

    The sources are read anew, for their weights may have changed since.

    Raises:
        UserError: as :func:`source_model`; a source's name is not followed.
    """
    names = source_names(spec)
    for name in names:
        require_trusted(name, "transfer_from", trust, "--trust")
    if not names:
        return data
    source_model.cache_clear()
    cards = {name: source_model(name, "cpu").info for name in names}
    identity = {name: card.identity() for name, card in cards.items()}
    return replace(data, sha256=canonical_sha256({"images": data.sha256, "transfer_from": identity}))
