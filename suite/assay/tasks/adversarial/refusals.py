"""What is refused before any work starts: a spec that does not fit its data or its model. Torch only on demand."""

from typing import TYPE_CHECKING

from assay.common.errors import UserError
from assay.tasks.adversarial.few_classes import fitted
from assay.tasks.adversarial.sources import source_model, source_names
from assay.tasks.adversarial.spec import AdversarialSpec

if TYPE_CHECKING:
    from assay.data.dataset import Dataset
    from assay.models.info import ModelInfo


def check_targets(data: "Dataset") -> None:
    """Refuse a data set whose target classes are missing, or are the labels.

    Raises:
        UserError: so they are; names the first image.
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
        UserError: an attack or an option that foolbox has not, or settings that it has no equal of.
    """
    attacks = [attack for attack in spec.attacks if attack.backend == "foolbox"]
    if not attacks:
        return
    from assay.attacks.foolbox_backend import check_foolbox_settings, check_named

    for attack in attacks:
        if attack.only_foolbox_has:
            check_named(attack.method, attack.options, spec.norm)
            continue
        settings = attack.settings(spec.radii[-1], spec.norm, spec.top_k)
        check_foolbox_settings(attack.method, settings, targeted=attack.targeted != "no")


def check_classes(spec: AdversarialSpec, classes: int) -> None:
    """Refuse attacks that need more classes than the model has.

    Raises:
        UserError: names the attack or the field.
    """
    if spec.top_k >= classes:
        raise UserError(
            f"top_k: {spec.top_k} of {classes} classes would make every answer correct; choose fewer"
        )
    for attack in fitted(spec, classes).attacks:
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
    """Refuse a source of transfer whose labels or channels are not those of the model that is scored.

    Raises:
        UserError: so it is, or the source cannot be loaded.
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
