"""RobustBench's networks as ``robustbench/NAME:THREAT``, from a user's weight file or the folder its loader fills.

Architectures and preprocessing are the Python package's (the extra ``robustbench``); nothing is downloaded. The
networks that it registers in timm may lie in torch hub's cache, where timm keeps them. Where two data sets have a
network of that name, ``robustbench/DATASET/NAME:THREAT`` says which.
"""

from functools import cache, partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from assay.common.errors import UserError
from assay.models import robustbench
from assay.models.info import UNSTATED, Card
from assay.models.places import find_weights
from assay.models.registry import Family, Registry, ZooEntry, pattern_row, unknown_name
from assay.models.robustbench import HOW_TO_INSTALL, Published

if TYPE_CHECKING:
    from assay.models.loaded import LoadedModel

_PREFIX = "robustbench/"
_ITS_FOLDER = Path("models")
"""Where ``robustbench.load_model`` keeps its downloads unless told otherwise: beside the program."""
_SAME_THREAT = {"corruptions_3d": "corruptions"}
_LICENCE = "as its authors state"


def register(registry: Registry) -> None:
    """Adds the pattern ``robustbench/NAME:THREAT``."""
    row = pattern_row(
        "robustbench/NAME:THREAT", "a network of RobustBench's zoo", "RobustBench",
        "needs the extra robustbench, and --weights or RobustBench's folder",
    )  # fmt: skip
    registry.add_family(Family(resolve=_resolve, listed=lambda: [row], names=lambda: []))


def _resolve(asked: str) -> ZooEntry | None:
    if not asked.startswith(_PREFIX):
        return None
    if not robustbench.installed():
        absent = "the package robustbench is not installed"
        return ZooEntry(
            asked, "a network of RobustBench's zoo", "RobustBench", _LICENCE, UNSTATED,
            partial(_refuse, f"{asked}: {absent}; {HOW_TO_INSTALL}"), lambda: absent,
        )  # fmt: skip
    found = _named(asked)
    return ZooEntry(
        name=asked,
        title=f"RobustBench's {found.full_name}",
        source=_source(),
        licence=_LICENCE,
        label_space=found.label_space,
        load=partial(_load, asked, found),
        missing=partial(_missing, found),
    )


def _refuse(complaint: str, weights: Path | None) -> "LoadedModel":
    del weights
    raise UserError(complaint)


@cache
def _published() -> tuple[Published, ...]:
    return tuple(robustbench.published())


def _source() -> str:
    return f"RobustBench {metadata.version(robustbench.PACKAGE)}"


def _named(asked: str) -> Published:
    """The network that a name means.

    Raises:
        UserError: no such network, or networks of several data sets.
    """
    plain, _, threat = asked.removeprefix(_PREFIX).partition(":")
    threat = _SAME_THREAT.get(threat, threat)
    full = f"{plain}:{threat}"
    found = [one for one in _published() if full in (one.full_name, f"{one.name}:{one.threat}")]
    if len(found) > 1:
        choices = " or ".join(f"{_PREFIX}{one.full_name}" for one in found)
        raise UserError(f"{asked}: several data sets have a network of that name; write {choices}")
    if not found:
        known = [name for one in _published() for name in (one.full_name, f"{one.name}:{one.threat}")]
        raise unknown_name(asked, [f"{_PREFIX}{name}" for name in known])
    return found[0]


def _find(found: Published) -> Path | None:
    path = find_weights(str(found.file), _ITS_FOLDER)
    if path is not None or found.timm_file is None:
        return path
    from assay.models.download import hub_folder

    return find_weights(found.timm_file, hub_folder())


def _missing(found: Published) -> str | None:
    return None if _find(found) else f"its weights are not in {_ITS_FOLDER / found.file}"


def _load(asked: str, found: Published, weights: Path | None) -> "LoadedModel":
    from assay.models.build import assemble
    from assay.models.weights import load_weights

    path = weights or _find(found)
    if path is None:
        raise UserError(
            f"{asked}: {_missing(found)}; put the file there that RobustBench names, or give it with --weights FILE"
        )
    net = found.network()
    key = found.inside if weights is None else None
    taken = load_weights(net, path, key, partial(robustbench.fitted, net))
    card = Card(
        name=asked,
        source=_source(),
        licence=_LICENCE,
        architecture=f"{_PREFIX}{found.full_name}",
        label_space=found.label_space,
        num_classes=found.num_classes,
        preprocessing=found.preprocessing(net),
    )
    return assemble(net, (card if weights is None else card.of_user()).noting(*taken.notes), taken.sha256)
