"""Downloads files whose addresses a manifest carries; each is verified before it gets its name."""

import logging
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlparse

from assay.common.errors import UserError
from assay.data.files import stored_path
from assay.data.hashes import content_sha256, is_packed
from assay.data.manifest import DataManifest


def fetch(manifest: DataManifest, root: Path) -> Path:
    """Downloads what is not there yet into ``root``'s folder for this data set.

    Args:
        manifest: one whose ``urls`` name all its files; an address that ends in .gz may serve a packed file.
        root: becomes a data root (``--data-root``).

    Returns:
        The folder with the files.

    Raises:
        UserError: the manifest has no addresses, one does not answer, what it serves has another hash, or the
            folder cannot be written.
    """
    if manifest.files == "unlisted" or set(manifest.urls) != set(manifest.files):
        raise UserError(f"data set {manifest.name} cannot be downloaded by itself; {manifest.how_to_get}")
    folder = root / manifest.location.folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, sha256 in sorted(manifest.files.items()):
            if stored_path(folder, name) is None:
                _fetch_file(manifest.urls[name], folder, name, sha256)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error}); choose another folder") from error
    return folder


def _fetch_file(url: str, folder: Path, name: str, sha256: str) -> None:
    packed = urlparse(url).path.endswith(".gz") and not name.endswith(".gz")
    final = folder / (f"{name}.gz" if packed else name)
    final.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder, prefix=".fetch-") as temporary:
        path = _download(url, Path(temporary), final.name)
        found = content_sha256(path, is_packed(path, name))
        if found != sha256:
            raise UserError(
                f"{url}: serves another file: its SHA-256 is {found}, expected {sha256}; tell its publisher"
            )
        path.replace(final)


def _download(url: str, folder: Path, name: str) -> Path:
    import pooch  # type: ignore[import-untyped]

    # Pooch logs the hash of every file whose hash it is not told; ours is that of the unpacked content.
    pooch.get_logger().setLevel(logging.WARNING)
    try:
        return Path(pooch.retrieve(url, known_hash=None, fname=name, path=folder))
    except OSError as error:  # every error of a connection is one
        reason = " ".join(str(error).split())
        raise UserError(
            f"{url}: cannot be downloaded ({reason}); check the network, or get the file by hand"
        ) from error
