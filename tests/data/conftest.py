import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from manifest_documents import manifest_document

from assay.data.manifest import DataManifest, load_manifest

REPO = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.delenv("ASSAY_DATA", raising=False)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    folder = Path(os.environ.get("ASSAY_SHARED", REPO.parent / "shared")) / "data"
    if not folder.is_dir():
        pytest.skip(f"no shared data at {folder} (ASSAY_SHARED names its parent)")
    return folder


@pytest.fixture
def write_manifest(tmp_path: Path) -> Callable[..., DataManifest]:
    """Writes ``tmp_path/mine.yaml`` and loads it: its data lie beside it."""

    def write(**changes: Any) -> DataManifest:
        path = tmp_path / "mine.yaml"
        path.write_text(yaml.safe_dump(manifest_document(**changes)), encoding="utf-8")
        return load_manifest(str(path))

    return write
