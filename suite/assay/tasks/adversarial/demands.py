"""What a task demands before any work starts: of its data, of the network, and of the networks that attack.

Torch and networks are loaded only on demand.
"""

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from assay.common.canonical import canonical_sha256
from assay.common.errors import UserError
from assay.models.foreign import NamePolicy, require_trusted
from assay.tasks.adversarial.spec import AdversarialSpec
from assay.tasks.shared.passes import images_in_a_pass

if TYPE_CHECKING:
    from assay.data.dataset import Dataset
    from assay.models.info import ModelInfo
    from assay.models.loaded import LoadedModel


def attacked_in_a_pass(input_shape: tuple[int, int, int], device: str) -> int:
    """How many images are attacked in one pass; no part of an answer.

    On a CPU they must fit its cache: 2 of 224 x 224; for 28 x 28, 100 was fastest. Small batches also lose less to
    images that fall early.
    """
    return images_in_a_pass(input_shape, device, cpu_values=2 * 3 * 224 * 224, most_on_cpu=100, most=512)


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
    """The data; their hash also covers the weights and preprocessing of any sources of transfer.

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


def check_targets(data: "Dataset") -> None:
    """Refuse a data set without target classes, or with labels for targets.

    Raises:
        UserError: a target is missing or is the label; names the first such image.
    """
    for sample in data.samples:
        if sample.target is None:
            raise UserError(
                f"data set {data.manifest.name}: has no target classes; use `targeted: least_likely` in the "
                "spec, or a data set with targets such as nips2017-dev300"
            )
        if sample.target == sample.label:
            raise UserError(
                f"data set {data.manifest.name}: the target of image {sample.unit_id} is its own label "
                f"{sample.label}; correct it, or use `targeted: least_likely`"
            )


def check_foreign(spec: AdversarialSpec) -> None:
    """Refuse what foolbox cannot run.

    Raises:
        UserError: an attack, an option or settings that foolbox does not have.
    """
    attacks = [attack for attack in spec.attacks if attack.backend == "foolbox"]
    if not attacks:
        return
    from assay.attacks.foolbox_backend import check_foolbox

    for attack in attacks:
        check_foolbox(attack, spec.norm, spec.top_k)


def check_classes(spec: AdversarialSpec, classes: int) -> None:
    """Refuse attacks that need more classes than the model has.

    Raises:
        UserError: names the attack or the field.
    """
    if spec.top_k >= classes:
        raise UserError(
            f"top_k: {spec.top_k} of {classes} classes would make every answer correct; choose fewer"
        )
    for attack in spec.fitted(classes).attacks:
        needed = 3 if attack.targeted == "no" else 4
        if attack.aims_at_runners_up:
            needed = max(attack.restarts + 1, 4 if attack.loss == "dlr" else 2)
        elif attack.loss != "dlr":
            continue
        if classes < needed:
            raise UserError(
                f"attack {attack.series}: needs at least {needed} classes, this model has {classes}; "
                "choose another loss, or fewer restarts"
            )


def check_sources(spec: AdversarialSpec, model: "ModelInfo") -> None:
    """Refuse a source of transfer with other labels or channels than the scored model.

    Raises:
        UserError: the source does not fit the model, or cannot be loaded.
    """
    from assay.models.info import UNSTATED

    for name in source_names(spec):
        source = source_model(name, "cpu").info
        named = {source.label_space, model.label_space} - {UNSTATED}
        if source.num_classes != model.num_classes or len(named) > 1:
            raise UserError(
                f"transfer_from {name!r}: its labels are {source.label_space} ({source.num_classes}), those "
                f"of {model.name} are {model.label_space} ({model.num_classes}); choose a source of the same"
            )
        if source.input_shape[0] != model.input_shape[0]:
            raise UserError(
                f"transfer_from {name!r}: takes {source.input_shape[0]} channels, {model.name} takes "
                f"{model.input_shape[0]}; choose a source of the same input"
            )
