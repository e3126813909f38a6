"""Where the shipped specs and manifests lie: in the checkout while developing, inside the package once installed."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
_SHIPPED = _PACKAGE / "_shipped"


def shipped_folder(name: str) -> Path:
    """The folder of shipped files called ``name`` (``benchmarks``, ``data_manifests`` or ``leaderboard``).

    Raises:
        FileNotFoundError: if neither the installed package nor a checkout around it holds the folder.
    """
    for candidate in (_SHIPPED / name, _PACKAGE.parents[1] / name):
        if candidate.is_dir():
            return candidate
    raise FileNotFoundError(f"the folder {name!r} is missing from this installation of assay; reinstall it")


def cache_folder() -> Path:
    """The folder for remembered file hashes and downloads; ``ASSAY_CACHE`` overrides the platform's own."""
    import os

    import platformdirs

    return Path(os.environ.get("ASSAY_CACHE") or platformdirs.user_cache_dir("assay"))
