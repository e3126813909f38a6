"""Gets a data set from the addresses in its manifest; all is verified before any of it gets its name."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlparse

from filelock import FileLock, Timeout

from assay.common.errors import UserError
from assay.data.archive import Archive, unpack
from assay.data.dataset import verified_hashes
from assay.data.download import Advance, download
from assay.data.files import stored_path
from assay.data.hashes import content_sha256, is_packed
from assay.data.manifest import DataManifest
from assay.data.places import locate


def fetch(manifest: DataManifest, root: Path, advance: Advance | None = None) -> Path:
    """Download what is not there yet into ``root``'s folder for this data set.

    Downloads and unpacked archives lie in a hidden folder of ``root`` until they are verified, and are then renamed
    into their place. What an interrupted call has downloaded is kept there, and the next one goes on with it.

    Args:
        manifest: one with archives, or whose ``urls`` name all its files; an address that ends in .gz may serve a
            packed file.
        root: becomes a data root (``--data-root``).
        advance: told how far each download is.

    Returns:
        The folder with the files.

    Raises:
        UserError: the manifest has no addresses; one does not answer, or serves another hash or no archive; an existing
            file differs; or the folder cannot be written.
    """
    if not manifest.can_be_fetched:
        raise UserError(f"data set {manifest.name} cannot be downloaded by itself; {manifest.how_to_get}")
    root = root.expanduser()
    folder, work = root / manifest.location.folder, root / f".fetch-{manifest.name.partition('~')[0]}"
    try:
        if work.exists() or not _is_there(manifest, root):
            with _working_in(work):
                _fetch_files(manifest, folder, work, advance)
                for archive in manifest.archives:
                    _fetch_archive(manifest, archive, root, work, advance)
            shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be written ({error.strerror or error}); choose another folder"
        ) from error
    _require_right(manifest, root)
    return folder


def _is_there(manifest: DataManifest, root: Path) -> bool:
    try:
        return locate(manifest, [root]).folder.is_relative_to(root)
    except UserError:
        return False


def _require_right(manifest: DataManifest, root: Path) -> None:
    files = locate(manifest, [root])
    try:
        verified_hashes(manifest, files)
    except UserError as error:
        text = str(error).partition("; to get the right one")[0]
        raise UserError(f"{text}; remove it, and fetch the data set again") from error


@contextmanager
def _working_in(work: Path) -> Iterator[None]:
    """A folder for downloads that one process at a time uses; what can be gone on with stays in it."""
    work.mkdir(parents=True, exist_ok=True)
    lock = FileLock(work / "lock", timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise UserError(f"{work}: is being filled by another `assay fetch`; wait until it ends") from error
    try:
        shutil.rmtree(work / "unpacked", ignore_errors=True)  # of a process that was killed
        yield
    finally:
        shutil.rmtree(work / "unpacked", ignore_errors=True)
        lock.release()
        if not any(path.stat().st_size for path in work.iterdir()):
            shutil.rmtree(work, ignore_errors=True)


def _fetch_files(manifest: DataManifest, folder: Path, work: Path, advance: Advance | None) -> None:
    """Each file that has an address of its own."""
    listed = manifest.files if isinstance(manifest.files, dict) else {}
    for name, url in sorted(manifest.urls.items()):
        if stored_path(folder, name) is not None:
            continue
        packed = urlparse(url).path.endswith(".gz") and not name.endswith(".gz")
        final = folder / (f"{name}.gz" if packed else name)
        path = download(url, work / final.name, None, advance)
        found = content_sha256(path, is_packed(path, name))
        if found != listed[name]:
            path.unlink()
            raise UserError(
                f"{url}: serves another file: its SHA-256 is {found}, expected {listed[name]}; tell its publisher"
            )
        final.parent.mkdir(parents=True, exist_ok=True)
        path.replace(final)


def _fetch_archive(
    manifest: DataManifest, archive: Archive, root: Path, work: Path, advance: Advance | None
) -> None:
    """Download, verify, unpack and move in one archive; a mark says that it is done, for large sets of several."""
    done = work / f"{archive.name}.done"
    if done.exists():
        return
    path = download(archive.url, work / archive.name, archive.hash, advance)
    unpacked = work / "unpacked"
    unpack(path, unpacked / archive.folder)
    _require_listed(manifest, archive, unpacked)
    _move_in(unpacked, root)
    done.write_text("moved in\n")
    path.unlink()


def _require_listed(manifest: DataManifest, archive: Archive, unpacked: Path) -> None:
    """Refuse an archive with other files than the manifest lists, before any is moved in."""
    listed = manifest.files if isinstance(manifest.files, dict) else {}
    for name, sha256 in listed.items():
        path = unpacked / manifest.location.folder / name
        if path.is_file() and content_sha256(path, packed=False) != sha256:
            raise UserError(
                f"{archive.url}: its file {name} is not the one that data set {manifest.name} lists; correct the "
                "manifest"
            )


def _move_in(source: Path, target: Path) -> None:
    """Rename what is in ``source`` into ``target``, whole folders where they are new; nothing there is replaced."""
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.iterdir()):
        goal = target / path.name
        if path.is_dir() and goal.is_dir():
            _move_in(path, goal)
        elif not goal.exists():
            path.rename(goal)
