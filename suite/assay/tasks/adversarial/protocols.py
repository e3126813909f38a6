"""Lists of attacks that others have agreed on, by name. Without torch."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

Protocol = Literal["autoattack"]
Version = Literal["standard", "plus", "rand"]

_DRAWS = 20
_TARGETS = 9

_APGD_CE = {"name": "apgd_ce", "method": "apgd", "steps": 100}
_APGD_DLR = {"name": "apgd_dlr", "method": "apgd", "steps": 100, "loss": "dlr"}
_APGD_T = {"method": "apgd_t", "steps": 100, "restarts": _TARGETS, "loss": "dlr"}
_FAB = {"method": "fab", "steps": 100, "restarts": 5, "loss": "margin"}
_FAB_T = {"method": "fab_t", "steps": 100, "restarts": _TARGETS, "loss": "margin"}
_SQUARE = {"method": "square", "steps": 5000, "loss": "margin"}

AUTOATTACK: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "standard": (_APGD_CE, _APGD_T, _FAB_T, _SQUARE),
    "plus": ({**_APGD_CE, "restarts": 5}, {**_APGD_DLR, "restarts": 5}, _FAB, _SQUARE, _APGD_T, _FAB_T),
    "rand": ({**_APGD_CE, "draws": _DRAWS}, {**_APGD_DLR, "draws": _DRAWS}),
}
"""AutoAttack's versions (Croce and Hein 2020): its attacks in its authors' order, with their budgets.

Restarts of the targeted attacks are target classes, one start each. ``rand`` is for networks that are random at test
time: each gradient is the mean over 20 passes.
"""


def version_unless_given(fields: Mapping[str, Any]) -> Version | None:
    """The version of a spec that names none; ``fields`` are those before it."""
    return "standard" if fields.get("protocol") else None
