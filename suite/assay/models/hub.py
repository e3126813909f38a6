"""Files of Hugging Face's repositories: those in its cache, or fetched if allowed (no torch)."""

from dataclasses import dataclass
from pathlib import Path

from assay.common.errors import UserError
from assay.models.places import downloads_allowed

WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class Repository:
    """One repository.

    Attributes:
        name: ``owner/name``.
        revision: a branch, tag or commit; None for the main branch.
    """

    name: str
    revision: str | None = None

    def cached(self, *files: str) -> Path | None:
        """The first of ``files`` that is in Hugging Face's cache."""
        from huggingface_hub import try_to_load_from_cache

        found = (try_to_load_from_cache(self.name, file, None, self.revision) for file in files)
        return next((Path(path) for path in found if isinstance(path, str)), None)

    def absent(self, *files: str) -> str:
        """Says that none of ``files`` is in the cache."""
        what = f"the weights of {self.name} are" if files == WEIGHT_FILES else f"{files[0]} of {self.name} is"
        return f"{what} not in Hugging Face's cache"

    def file(self, model: str, instead: str, *files: str) -> Path:
        """The first of ``files`` in the cache, else the first of all, fetched if ``ASSAY_DOWNLOAD=1``.

        Args:
            model: the name that the user typed, for messages.
            instead: what else the user can do, as an imperative.
            files: names in the repository.

        Raises:
            UserError: not in the cache, and downloads are not allowed or fail.
        """
        cached = self.cached(*files)
        if cached is not None:
            return cached
        if not downloads_allowed():
            raise UserError(
                f"{model}: {self.absent(*files)}; {instead}, or let {files[0]} be fetched with ASSAY_DOWNLOAD=1"
            )
        from huggingface_hub import hf_hub_download

        try:
            return Path(hf_hub_download(self.name, files[0], revision=self.revision))
        except (OSError, ValueError) as error:
            raise UserError(
                f"{model}: fetching {files[0]} of {self.name} failed ({' '.join(str(error).split())}); {instead}"
            ) from error
