"""The rule for names of models in documents, which the document's author chose, not the user (no torch).

A name that the user typed is followed wherever it leads: :func:`assay.models.zoo.load_model`. Only :func:`load_named`
follows a name that was read from a run, a submission, a plan, a spec or a recipe, and no further than its
:class:`NamePolicy`. A function would run somebody's code; a path would open somebody's file.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from assay.common.errors import UserError
from assay.models.registry import CODE, FILE, ZOO
from assay.models.zoo import load_model, named_in, registry

if TYPE_CHECKING:
    from assay.models.loaded import LoadedModel

_MEANS = {FILE: "a file", CODE: "a function or file of somebody's own"}


@dataclass(frozen=True)
class NamePolicy:
    """How far names of models in a document are followed; names of the built-in zoo always are.

    Attributes:
        named: further names, each typed by the user for this document.
        files: whether names that only open a file are, such as ``onnx:FILE`` and ``trained:DIR``.
        code: whether names that run code are; only for documents that ship with Assay.
    """

    named: frozenset[str] = frozenset()
    files: bool = False
    code: bool = False

    def allows(self, name: str) -> bool:
        """Whether a name is followed.

        Raises:
            UserError: there is no such model.
        """
        if name in self.named:
            return True
        leads_to = registry().leads_to(name)
        return leads_to == ZOO or (leads_to == FILE and self.files) or self.code


NOBODY = NamePolicy()
"""For what others sent: runs, submissions, plans."""

SHIPPED = NamePolicy(files=True, code=True)
"""For what is part of the program."""


def own(named: Iterable[str] = ()) -> NamePolicy:
    """For a spec or recipe that the user's own command line names."""
    return NamePolicy(named=frozenset(named), files=True)


def require_trusted(name: str, where: str, trust: NamePolicy = NOBODY, option: str = "--model") -> None:
    """Refuse a name that is not followed.

    Args:
        name: as the document has it.
        where: the document, for messages.
        trust: how far its names are followed.
        option: the option by which the user can name the model.

    Raises:
        UserError: it is not followed, or there is no such model.
    """
    if not trust.allows(name):
        means = _MEANS[registry().leads_to(name)]
        shown = name if len(name) <= 100 and name.isprintable() else f"{name[:100]!r}…"
        raise UserError(
            f"{where}: names the model {shown}, {means} and not of the built-in zoo, which is not followed "
            f"unseen; look at what it is, then name it yourself with {option}"
        )


def load_named(
    name: str,
    where: str,
    trust: NamePolicy = NOBODY,
    *,
    folder: Path | None = None,
    weights: Path | None = None,
    device: str = "cpu",
    option: str = "--model",
) -> "LoadedModel":
    """The model that a document names, where its name is followed.

    Args:
        name: as the document has it.
        where: the document, for complaints.
        trust: how far its names are followed.
        folder: where a relative path in the name starts; None for the working directory.
        weights: a checkpoint that the user named.
        device: ``cpu``, ``cuda`` or ``cuda:1``.
        option: the option by which the user can name the model.

    Raises:
        UserError: as :func:`require_trusted`, and as :func:`assay.models.zoo.load_model`.
    """
    require_trusted(name, where, trust, option)
    return load_model(name if folder is None else named_in(folder, name), weights=weights, device=device)
