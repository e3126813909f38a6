"""Finds a data set's files: the places that have them all."""

import importlib.util
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from assay.common.errors import UserError
from assay.common.resources import cache_folder
from assay.data.files import DataFiles, stored_path
from assay.data.manifest import DataManifest

ROOTS_VARIABLE = "ASSAY_DATA"


def fetched_root() -> Path:
    """The data root where `assay fetch` puts data sets when no other is named; it is always looked in."""
    return cache_folder() / "data"


def search_places(manifest: DataManifest, roots: Sequence[Path]) -> list[Path]:
    """The folders to look in, in order and once each.

    The given roots come first, then those in ``ASSAY_DATA``, then where `assay fetch` puts data, then the package that
    ships the data, then the manifest's own folder. In each, the manifest's ``location.folder`` is tried before the
    folder itself.
    """
    variable = os.environ.get(ROOTS_VARIABLE, "")
    searched = [*roots, *(Path(part) for part in variable.split(os.pathsep) if part)]
    if fetched_root().is_dir():
        searched.append(fetched_root())
    inside = manifest.location.folder
    places = [place for root in searched for place in (root / inside, root)]
    package = package_folder(manifest.location.package)
    if package is not None:
        places.append(package / inside)
    if manifest.folder is not None:
        places += [manifest.folder / inside, manifest.folder]
    return list(dict.fromkeys(place.expanduser() for place in places))


def package_folder(package: str | None) -> Path | None:
    """The folder of an installed package, found without importing it; None if it is not installed."""
    if package is None:
        return None
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return None
    locations = spec.submodule_search_locations if spec is not None else None
    return Path(next(iter(locations))) if locations else None


def locate(manifest: DataManifest, roots: Sequence[Path]) -> DataFiles:
    """The files of ``manifest`` in the first place that has them all.

    Raises:
        UserError: as :func:`located`.
    """
    return next(located(manifest, roots))


def located(manifest: DataManifest, roots: Sequence[Path]) -> Iterator[DataFiles]:
    """The files of ``manifest`` in every place that has them all, by name alone; at least one.

    Raises:
        UserError: no place has them; names the missing file, the places that were searched, and how to get it.
    """
    places, found = search_places(manifest, roots), False
    lacking: list[list[str]] = []
    for place in places:
        try:
            names = _names_in(manifest, place)
            missing = [name for name in names if stored_path(place, name) is None]
        except OSError as error:
            raise UserError(
                f"{place}: cannot be searched ({error.strerror}); check its permissions"
            ) from error
        if names and not missing:
            found = True
            yield DataFiles(place, names)
        elif missing:
            lacking.append(missing)
    if not found:
        raise UserError(_complaint(manifest, places, min(lacking, key=len, default=[])))


def _names_in(manifest: DataManifest, place: Path) -> tuple[str, ...]:
    if manifest.files == "unlisted":
        return manifest.layout.discover(place) or tuple(sorted(manifest.layout.required()))
    return tuple(sorted(manifest.files))


def _complaint(manifest: DataManifest, places: Sequence[Path], missing: Sequence[str]) -> str:
    if not missing:
        what = f"no file that fits the layout `{manifest.layout.type}` was found"
    elif len(missing) == 1:
        what = f"the file {missing[0]} is missing"
    else:
        what = f"the file {missing[0]} and {len(missing) - 1} more are missing"
    looked = (
        ", ".join(str(place) for place in places) or f"no folder (give --data-root or set {ROOTS_VARIABLE})"
    )
    package = manifest.location.package
    absent = f" (package {package} is not installed)" if package and package_folder(package) is None else ""
    return f"data set {manifest.name}: {what}; looked in {looked}{absent}; to get it: {manifest.how_to_get}"
