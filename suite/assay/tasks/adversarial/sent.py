"""What a submission says of pictures that its authors sent, and the network and the data that they are held against."""

from collections.abc import Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from assay.common.errors import UserError
from assay.tasks.adversarial.spec import AdversarialSpec, AttackSpec
from assay.tasks.base import Record, ReferenceNetwork, SentRecords
from assay.tasks.shared.images import open_images

if TYPE_CHECKING:
    from assay.data.dataset import Dataset
    from assay.models.loaded import LoadedModel


# What has to be the same of a network for it to be the submission's.
_SAME = ("weights_sha256", "structure_sha256", "architecture", "label_space", "num_classes", "preprocessing")


def stated(record: Record, attack: AttackSpec, eps: Fraction) -> Mapping[str, Any]:
    """What a record says of an attack at a radius."""
    outcome: Mapping[str, Any] = record.values["attacks"][attack.series][str(eps)]
    return outcome


def claims_to_stand(record: Record, attack: AttackSpec, eps: Fraction) -> bool:
    """Whether a record says that the image is right at first, and under the attack."""
    return bool(record.values["clean_correct"]) and bool(stated(record, attack, eps)["correct"])


def own_network(network: ReferenceNetwork) -> "LoadedModel":
    """The network, on the CPU, found to be the one that the submission states.

    Raises:
        UserError: other weights, architecture, labels or preprocessing.
    """
    from assay.models.foreign import NamePolicy, load_named

    # The name is the maintainer's own: whoever made the request looked at it.
    trust = NamePolicy(named=frozenset([network.name]))
    model = load_named(network.name, "the submission", trust, weights=network.weights)
    card = model.info.model_dump(mode="json")
    for field in _SAME:
        if card[field] != network.card[field]:
            raise UserError(
                f"model {network.name}: `{field}` is {card[field]}, in the submission {network.card[field]}; give the "
                "submission's own network with --model and --weights"
            )
    return model


def own_pictures(sent: SentRecords[AdversarialSpec]) -> "Dataset":
    """The data set, with the hash that the task demands; its samples are the records' units.

    Raises:
        UserError: it is not here, or has other units.
    """
    data = open_images(sent.data)
    if [sample.unit_id for sample in data.samples] != [record.unit_id for record in sent.records]:
        raise UserError(f"data set {data.manifest.name}: has other images than the submission's units")
    return data
