"""Whether what a request needs is here, without loading or hashing anything."""

from pathlib import Path

from assay.runner.jobs import JobRequest
from assay.tasks.families import family, load_spec


def why_unavailable(request: JobRequest) -> str | None:
    """Why the request's model or data set is not here, or None; data in a folder of the user's own are taken as here.

    Raises:
        UserError: no such model, task or data set.
    """
    from assay.models.zoo import registry

    entry = registry().find(request.model)
    missing = entry.available() if request.weights is None else None
    return f"{request.model}: {missing}" if missing else _data_missing(request)


def _data_missing(request: JobRequest) -> str | None:
    from assay.data.dataset import is_available
    from assay.data.manifest import load_manifest

    loaded = load_spec(request.task, request.switches, request.settings)
    roots = [Path(root) for root in request.data_roots]
    own = family(loaded.spec.family).data_sets
    if request.data is not None:
        return None
    if own is not None:
        return own.available(own.load(loaded.spec.data), roots) if loaded.spec.data in own.names() else None
    return is_available(load_manifest(loaded.spec.data, loaded.folder), roots)
