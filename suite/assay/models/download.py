"""Published checkpoints: found, or fetched if allowed, and compared with the hash in their name."""

import re
import urllib.error
from pathlib import Path

import torch

from assay.common.errors import UserError
from assay.models.places import downloads_allowed, find_weights, weight_folders
from assay.models.weights import file_sha256

_HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.")


def hub_folder() -> Path:
    """Torch hub's folder of checkpoints."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def published_checkpoint(name: str, url: str) -> Path:
    """The checkpoint of the model ``name`` that is published at ``url``, from this machine or fetched.

    Nothing is downloaded unless ``ASSAY_DOWNLOAD=1``. The SHA-256 must begin with the hash in the file's name.

    Raises:
        UserError: not here and not to be fetched, unreachable, or another hash.
    """
    file = url.rsplit("/", 1)[-1]
    path = find_weights(file, hub_folder())
    if path is None and downloads_allowed():
        path = _fetch(name, url, hub_folder() / file)
    if path is None:
        raise UserError(
            f"{name}: {not_here(file)}; put it there, let it be fetched from {url} with ASSAY_DOWNLOAD=1, "
            "or give your own checkpoint with --weights FILE (make: WEIGHTS=FILE)"
        )
    prefix = _prefix(file)
    if not file_sha256(path).startswith(prefix):
        raise UserError(
            f"{path}: its SHA-256 does not begin with {prefix}; delete it and get it again from {url}"
        )
    return path


def not_here(file: str) -> str:
    """Says that a weight file was not found, and which places were searched."""
    folders = ", ".join(str(folder) for folder in [*weight_folders(), hub_folder()])
    return f"the weights {file} are in none of {folders}"


def _prefix(file: str) -> str:
    match = _HASH_IN_NAME.search(file)
    if match is None:
        raise UserError(f"{file}: has no hash in its name to be checked against; give it as --weights")
    return match.group(1)


def _fetch(name: str, url: str, target: Path) -> Path:
    prefix = _prefix(target.name)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(target), hash_prefix=prefix)
    except (urllib.error.URLError, OSError, RuntimeError) as error:
        raise UserError(
            f"{name}: fetching {url} failed ({error}); put the file into {target.parent} by hand, "
            "or give your own checkpoint with --weights FILE"
        ) from error
    return target
