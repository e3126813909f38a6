"""The registry of models: single entries and families of names (no torch)."""

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from assay.common.errors import UserError
from assay.models.info import UNSTATED, Card

if TYPE_CHECKING:
    from assay.models.loaded import LoadedModel

# Where a name leads: to the built-in zoo, to a file, or to somebody's own code.
LeadsTo = Literal["zoo", "file", "code"]
ZOO: LeadsTo = "zoo"
FILE: LeadsTo = "file"
CODE: LeadsTo = "code"


@dataclass(frozen=True)
class ZooEntry:
    """One model, or one pattern of names, as ``assay list models`` shows it.

    Attributes:
        name: what a user types.
        title: one line.
        source: who made the weights.
        licence: as its authors state it.
        label_space: the meaning of the logits' indices.
        load: from a user's weight file (or None for the published weights) to the model, on the CPU.
        missing: why the model cannot be loaded offline now, in words; None if it can.
    """

    name: str
    title: str
    source: str
    licence: str
    label_space: str
    load: Callable[[Path | None], "LoadedModel"]
    missing: Callable[[], str | None]

    def available(self) -> str | None:
        """None if the model can be loaded now without a network, else the reason in words."""
        return self.missing()


def entry_of(
    card: Card, title: str, load: Callable[[Path | None], "LoadedModel"], missing: Callable[[], str | None]
) -> ZooEntry:
    """The registry's row for a model whose card is known."""
    return ZooEntry(card.name, title, card.source, card.licence, card.label_space, load, missing)


def pattern_row(pattern: str, title: str, source: str, missing: str | None = None) -> ZooEntry:
    """A row that shows a pattern of names; loading the pattern itself is a user's mistake."""

    def refuse(weights: Path | None) -> "LoadedModel":
        del weights
        raise UserError(f"{pattern!r} is a pattern; put a real name in its place")

    return ZooEntry(pattern, title, source, "as stated by each", UNSTATED, refuse, lambda: missing)


@dataclass(frozen=True)
class Family:
    """Many models behind one pattern of names, such as ``timm/NAME``.

    Attributes:
        resolve: the entry of a name, or None if the name is not of this pattern at all; a name of the pattern
            that does not exist raises UserError.
        listed: the entries worth a row in a list.
        names: every exact name, for suggestions.
        leads_to: what its names lead to; the default is code, which only a user's own command line may name.
        claims: whether the name alone shows that it is of this pattern; needed where ``resolve`` opens a file.
        path_after: what stands before a path in its names, such as ``onnx:``; "" where its names hold no path.
    """

    resolve: Callable[[str], ZooEntry | None]
    listed: Callable[[], Iterable[ZooEntry]]
    names: Callable[[], Iterable[str]]
    leads_to: LeadsTo = CODE
    claims: Callable[[str], bool] | None = None
    path_after: str = ""


@dataclass
class Registry:
    """Names to models; filled once by the modules of ``assay.models.entries``."""

    entries: dict[str, ZooEntry] = field(default_factory=dict)
    families: list[Family] = field(default_factory=list)

    def add(self, entry: ZooEntry) -> None:
        """Adds a single model.

        Raises:
            ValueError: if the name is taken.
        """
        if entry.name in self.entries:
            raise ValueError(f"two models are called {entry.name!r}; rename one")
        self.entries[entry.name] = entry

    def add_family(self, family: Family) -> None:
        """Adds a pattern of names; single models come before patterns, earlier patterns before later ones."""
        self.families.append(family)

    def find(self, name: str) -> ZooEntry:
        """The entry called ``name``.

        Raises:
            UserError: no such model; names the nearest ones.
        """
        return self._found(name)[0]

    def leads_to(self, name: str) -> LeadsTo:
        """What ``name`` leads to; nothing is opened or run.

        Raises:
            UserError: no such model; names the nearest ones.
        """
        for family in self.families:
            if name not in self.entries and family.claims is not None and family.claims(name):
                return family.leads_to
        return self._found(name)[1]

    def path_prefix(self, name: str) -> str:
        """What stands before the path that ``name`` holds; "" where it holds none."""
        prefixes = (family.path_after for family in self.families)
        return next((prefix for prefix in prefixes if prefix and name.startswith(prefix)), "")

    def _found(self, name: str) -> tuple[ZooEntry, LeadsTo]:
        if name in self.entries:
            return self.entries[name], ZOO
        for family in self.families:
            entry = family.resolve(name)
            if entry is not None:
                return entry, family.leads_to
        known = [*self.entries, *(known for family in self.families for known in family.names())]
        raise unknown_name(name, known)

    def listed(self) -> list[ZooEntry]:
        """Every single model, then every family's rows.

        Raises:
            ValueError: if two rows have one name.
        """
        rows = [*self.entries.values(), *(row for family in self.families for row in family.listed())]
        names = [row.name for row in rows]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two models are called {twice[0]!r}; rename one")
        return rows


def unknown_name(name: str, known: Iterable[str], kind: str = "model") -> UserError:
    """The complaint about an unknown name, with the nearest known ones."""
    nearest = difflib.get_close_matches(name, sorted(set(known)), n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(nearest)}?" if nearest else "see `assay list models`"
    return UserError(f"unknown {kind} {name!r}; {hint}")
