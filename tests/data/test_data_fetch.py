import functools
import gzip
import hashlib
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from manifest_documents import make_manifest

from assay.common.errors import UserError
from assay.data.fetch import fetch
from assay.data.manifest import DataManifest, load_manifest

RAW, PACKED = b"raw content", b"packed content"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        """Says nothing."""


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """A server on this machine that serves ``tmp_path/served``."""
    served = tmp_path / "served"
    served.mkdir()
    (served / "a.bin").write_bytes(RAW)
    (served / "b.bin.gz").write_bytes(gzip.compress(PACKED))
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(served)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def two_files(address: str, **hashes: str) -> DataManifest:
    files = {
        "a.bin": hashlib.sha256(RAW).hexdigest(),
        "sub/b.bin": hashlib.sha256(PACKED).hexdigest(),
    } | hashes
    return make_manifest(
        layout={"type": "cifar-binary", "batches": ["a.bin", "sub/b.bin"], "label_bytes": 1},
        location={"folder": "mine"},
        files=files,
        urls={"a.bin": f"{address}/a.bin", "sub/b.bin": f"{address}/b.bin.gz"},
    )


def test_files_come_verified_and_a_packed_one_stays_packed(tmp_path: Path, address: str) -> None:
    folder = fetch(two_files(address), tmp_path / "root")
    assert folder == tmp_path / "root" / "mine"
    assert (folder / "a.bin").read_bytes() == RAW
    assert gzip.decompress((folder / "sub" / "b.bin.gz").read_bytes()) == PACKED
    assert sorted(path.name for path in folder.iterdir()) == ["a.bin", "sub"]


def test_what_is_there_already_is_not_asked_for_again(tmp_path: Path, address: str) -> None:
    fetch(two_files(address), tmp_path)
    (tmp_path / "served" / "a.bin").unlink()
    (tmp_path / "served" / "b.bin.gz").unlink()
    fetch(two_files(address), tmp_path)


def test_another_file_than_expected_is_not_kept(tmp_path: Path, address: str) -> None:
    with pytest.raises(UserError, match=rf"a\.bin: serves another file.*expected {'0' * 64}"):
        fetch(two_files(address, **{"a.bin": "0" * 64}), tmp_path / "root")
    assert list((tmp_path / "root").iterdir()) == []


def test_an_address_that_does_not_answer_is_one_clear_sentence(tmp_path: Path, address: str) -> None:
    (tmp_path / "served" / "a.bin").unlink()
    with pytest.raises(UserError, match=r"a\.bin: cannot be downloaded .*404.*try again later"):
        fetch(two_files(address), tmp_path / "root")
    # The discard port: nothing listens there.
    with pytest.raises(UserError) as caught:
        fetch(two_files("http://127.0.0.1:9"), tmp_path / "root")
    assert str(caught.value) == (
        "http://127.0.0.1:9/a.bin: cannot be downloaded (no connection; check the network, or get the file by hand)"
    )
    assert list((tmp_path / "root").iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, address: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file/mine: cannot be written"):
        fetch(two_files(address), tmp_path / "file")


def test_a_manifest_without_addresses_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"imagenet-val cannot be downloaded by itself; Register"):
        fetch(load_manifest("imagenet-val"), tmp_path)
