"""Models' cards without loading the models; remembered while the weight files stay the same (no torch)."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.common.canonical import canonical_json
from assay.common.errors import UserError
from assay.common.resources import cache_folder
from assay.data.hashes import HashMemory
from assay.models.card_file import SUFFIXES
from assay.models.places import weight_folders
from assay.runner.environment import version_of
from assay.runner.files import write_atomically
from assay.runner.jobs import JobRequest, model_of

if TYPE_CHECKING:
    from assay.models.info import ModelInfo

# What else a card depends on: the code that builds the network.
_PACKAGES = ("assay", "torch", "torchvision", "timm", "onnx2torch")


class Cards:
    """The cards of this machine's models.

    A card is taken from memory only where every weight file that was read for it still has the same SHA-256. A user's
    own factory or model card depends on more than such files, so it is loaded each time. A memory that cannot be read
    counts as empty; one that cannot be written is lost.
    """

    def __init__(self) -> None:
        self._path = cache_folder() / "model-cards.json"
        self._hashes = HashMemory()
        self._known: dict[str, Any] = _read(self._path)
        self._fresh: dict[tuple[str, str | None], ModelInfo] = {}
        self._versions = {name: version_of(name) for name in _PACKAGES}
        self._learnt: dict[str, Any] = {}
        self._dropped: set[str] = set()

    def of(self, request: JobRequest) -> "ModelInfo":
        """The card of the model that ``request`` names.

        Raises:
            UserError: unknown name, missing or wrong weights.
        """
        name = (request.model, request.weights)
        if name not in self._fresh:
            self._fresh[name] = self._remembered(request) or self._loaded(request)
        return self._fresh[name]

    def remember(self, request: JobRequest, files: Sequence[Path], info: "ModelInfo") -> None:
        """Keep a card for as long as the weight files that it was read with stay the same."""
        hashes = {str(path.resolve()): self._sha256(path) for path in files}
        self._learnt[self._key(request)] = {"files": hashes, "info": info.model_dump(mode="json")}

    def forget(self, request: JobRequest) -> None:
        """Drop a card that turned out wrong."""
        self._fresh.pop((request.model, request.weights), None)
        self._dropped.add(self._key(request))

    def save(self) -> None:
        """Write what was learnt."""
        self._hashes.save()
        if not self._learnt and not self._dropped:
            return
        cards = {key: card for key, card in _read(self._path).items() if key not in self._dropped}
        try:
            write_atomically(self._path, json.dumps(cards | self._learnt))
        except UserError:
            return

    def _key(self, request: JobRequest) -> str:
        folders = [str(folder) for folder in weight_folders()]  # elsewhere a name can mean another file
        return canonical_json([request.model, request.weights, folders, self._versions])

    def _remembered(self, request: JobRequest) -> "ModelInfo | None":
        entry = None if self._key(request) in self._dropped else self._known.get(self._key(request))
        if not _is_remembered(request.model) or not isinstance(entry, dict):
            return None
        from pydantic import ValidationError

        from assay.models.info import ModelInfo

        try:
            files = dict(entry["files"])
            same = all(self._sha256(Path(name)) == known for name, known in files.items())
            return ModelInfo.model_validate_json(json.dumps(entry["info"])) if files and same else None
        except (KeyError, TypeError, ValueError, ValidationError):
            return None

    def _loaded(self, request: JobRequest) -> "ModelInfo":
        from assay.models.weights import weight_files_read

        with weight_files_read() as files:
            info = model_of(request).info
        if files and _is_remembered(request.model):
            self.remember(request, files, info)
        return info

    def _sha256(self, path: Path) -> str:
        return self._hashes.sha256(path, False)


def _is_remembered(model: str) -> bool:
    return ":" not in model and not model.endswith(SUFFIXES)


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}
