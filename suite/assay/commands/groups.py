"""The verbs in the groups that ``assay --help`` shows them in."""

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import typer
from typer.core import TyperGroup

from assay.commands import (
    accuracy,
    adversarial,
    attacking,
    board,
    catalogue,
    device,
    doctor,
    exporting,
    making,
    papers,
    ranking,
    results,
    running,
    saliency,
    srvr,
    srvr_maps,
    studying,
    training,
    verification,
)  # fmt: skip

GROUPS: Mapping[str, Sequence[ModuleType]] = {
    "Run and read": (running, results, ranking, studying, exporting),
    "What there is": (catalogue, making),
    "One network": (accuracy, doctor, training),
    "This machine": (device,),
    "One picture, shape or image set": (attacking, saliency, adversarial, verification, srvr, srvr_maps),
    "Papers": (papers,),
    "The leaderboard": (board,),
}


def _verbs(module: ModuleType) -> list[str]:
    """The names of a module's verbs."""
    return [each.name or each.callback.__name__.rstrip("_") for each in module.app.registered_commands]


class VerbsInGroups(TyperGroup):
    """A command line whose help shows its verbs in groups, each with its whole sentence."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write one section per group; a verb of no group would be missing, which a test looks for."""
        for title, modules in GROUPS.items():
            rows = [
                (name, " ".join((self.commands[name].help or "").split()))
                for module in modules
                for name in _verbs(module)
            ]
            with formatter.section(title):
                formatter.write_dl(rows)


def print_version(asked: bool) -> None:
    """Print the version and end, where ``--version`` is given."""
    if asked:
        from assay.common.version import VERSION

        print(f"assay {VERSION}")
        raise typer.Exit
