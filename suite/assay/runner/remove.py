"""Take results out of a run: what stands behind a name, and what nothing else stands on."""

import shutil
from pathlib import Path

from assay.common.errors import UserError
from assay.runner.assemble import result_path
from assay.runner.provenance import provenance_path
from assay.runner.store import RunFolder


def remove(folder: RunFolder, model: str | None, task: str | None) -> list[tuple[str, str]]:
    """Remove every result of the model, the task, or the model on the task; for the holder of the lock.

    Returns:
        Model and task of each that is gone.

    Raises:
        UserError: there is none.
    """
    entries = folder.index()
    gone = [entry for entry in entries if model in (None, entry["model"]) and task in (None, entry["task"])]
    if not gone:
        there = ", ".join(f"{entry['model']} · {entry['task']}" for entry in entries) or "nothing"
        raise UserError(f"{folder.path}: has no such result; it has {there}")
    kept = [entry for entry in entries if entry not in gone]
    names = [(entry["model"], entry["task"]) for entry in gone]
    folder.forget(names)  # first: what the index does not name is in nobody's report
    standing = {entry["key"] for entry in kept}
    for entry, name in zip(gone, names, strict=True):
        store = folder.job(entry["key"])
        if entry["key"] in standing:
            store.forget_name(name)
        else:
            shutil.rmtree(store.path, ignore_errors=True)
        for path in (result_path(folder.path, *name), provenance_path(folder.path, *name)):
            path.unlink(missing_ok=True)
            _remove_if_empty(path.parent, folder.path)
    return names


def _remove_if_empty(place: Path, top: Path) -> None:
    """Remove a folder that nothing is in, and those above it in ``top`` that it leaves empty."""
    while place != top and place.is_dir() and not any(place.iterdir()):
        place.rmdir()
        place = place.parent
