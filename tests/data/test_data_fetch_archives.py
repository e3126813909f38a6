"""Archives that a manifest names: downloaded from a server on this machine, verified, unpacked and moved in."""

import hashlib
import io
import os
import signal
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from filelock import FileLock
from manifest_documents import make_manifest

from assay.common.errors import UserError
from assay.data.dataset import open_dataset
from assay.data.fetch import fetch
from assay.data.manifest import DataManifest, list_manifests, load_manifest

RECORDS = bytes([3, *[7] * 3072, 4, *[9] * 3072])


class Served:
    """What the server serves by path, what it was asked for, and after how many bytes it breaks off."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.ranges: list[str | None] = []
        self.break_after: int | None = None
        self.knows_ranges = True
        self.address = ""


@pytest.fixture
def served() -> Iterator[Served]:
    state = Served()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            data = state.files[self.path.lstrip("/")]
            asked = self.headers.get("Range")
            state.ranges.append(asked)
            start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and state.knows_ranges else 0
            if start >= len(data):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(data) - start))
            self.end_headers()
            self.wfile.write(data[start:][: state.break_after])

        def log_message(self, *arguments: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    state.address = f"http://127.0.0.1:{server.server_port}"
    yield state
    server.shutdown()
    server.server_close()
    thread.join()


def tar_of(**members: bytes) -> bytes:
    return tar_with([(name, data, tarfile.REGTYPE) for name, data in members.items()])


def tar_with(members: list[tuple[str, bytes, bytes]], mode: str = "w:gz") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as tar:  # type: ignore[call-overload]
        for name, data, kind in members:
            member = tarfile.TarInfo(name)
            member.type, member.size = kind, len(data) if kind == tarfile.REGTYPE else 0
            member.linkname = data.decode() if kind != tarfile.REGTYPE else ""
            tar.addfile(member, io.BytesIO(data) if kind == tarfile.REGTYPE else None)
    return stream.getvalue()


def zip_of(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as pack:
        for name, data in members.items():
            pack.writestr(name, data)
    return stream.getvalue()


def document_of(served: Served, name: str, data: bytes, **changes: object) -> dict[str, object]:
    served.files[name] = data
    return {
        "layout": {"type": "cifar-binary", "batches": ["test_batch.bin"], "label_bytes": 1},
        "location": {"folder": "bins"},
        "files": {"test_batch.bin": hashlib.sha256(RECORDS).hexdigest()},
        "archives": [
            {"url": f"{served.address}/{name}", "hash": f"sha256:{hashlib.sha256(data).hexdigest()}"}
        ],
        "num_classes": 10,
        "get": "ask me",
    } | changes


def manifest_of(served: Served, name: str, data: bytes, **changes: object) -> DataManifest:
    return make_manifest(**document_of(served, name, data, **changes))


GOOD = {"bins/test_batch.bin": RECORDS, "bins/readme.html": b"hello"}


@pytest.mark.parametrize(("name", "pack"), [("c.tar.gz", tar_of), ("c.zip", zip_of)])
def test_an_archive_is_unpacked_into_its_place_and_can_be_opened(
    name: str, pack: type, served: Served, tmp_path: Path
) -> None:
    manifest = manifest_of(served, name, pack(**GOOD))
    assert fetch(manifest, tmp_path) == tmp_path / "bins"
    assert [sample.label for sample in open_dataset(manifest, [tmp_path]).samples] == [3, 4]
    assert [path.name for path in tmp_path.iterdir()] == ["bins"]  # no archive, no lock, nothing hidden
    served.files.clear()
    fetch(manifest, tmp_path)  # all is there: nobody is asked


def test_an_archive_may_belong_into_a_folder(served: Served, tmp_path: Path) -> None:
    data = tar_of(**{"./fog/1/n01/a.png": b"x"})
    manifest = manifest_of(
        served,
        "fog.tar.gz",
        data,
        location={"folder": "set"},
        layout={"type": "folder-per-class"},
        num_classes=1,
        files="unlisted",
        archives=[
            {
                "url": f"{served.address}/fog.tar.gz",
                "hash": f"md5:{hashlib.md5(data).hexdigest()}",
                "folder": "set",
            }
        ],
    )
    fetch(manifest, tmp_path)
    assert (tmp_path / "set/fog/1/n01/a.png").read_bytes() == b"x"


def test_another_archive_than_expected_leaves_nothing(served: Served, tmp_path: Path) -> None:
    manifest = manifest_of(served, "c.tar.gz", tar_of(**GOOD))
    served.files["c.tar.gz"] = tar_of(**{"bins/test_batch.bin": b"other"})
    with pytest.raises(UserError, match=r"c\.tar\.gz: serves another file .*hash sha256:"):
        fetch(manifest, tmp_path / "root")
    assert list((tmp_path / "root").iterdir()) == []


def test_an_archive_whose_files_the_manifest_does_not_list_so_is_not_moved_in(
    served: Served, tmp_path: Path
) -> None:
    manifest = manifest_of(served, "c.tar.gz", tar_of(**GOOD), files={"test_batch.bin": "0" * 64})
    with pytest.raises(UserError, match=r"its file test_batch\.bin is not the one"):
        fetch(manifest, tmp_path / "root")
    assert not (tmp_path / "root" / "bins").exists()


OUT = "../out.bin"


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.tar.gz", tar_of(**GOOD, **{OUT: b"x"})),
        ("b.tar", tar_with([("/tmp/out.bin", b"x", tarfile.REGTYPE)], "w")),
        ("c.tar.gz", tar_with([("bins/link", b"../..", tarfile.SYMTYPE)])),
        ("d.tar.gz", tar_with([("bins/hard", b"../../out.bin", tarfile.LNKTYPE)])),
        ("e.tar.gz", tar_with([("bins/pipe", b"", tarfile.FIFOTYPE)])),
        ("f.zip", zip_of(**GOOD, **{OUT: b"x"})),
    ],
    ids=["parent-tar", "absolute", "symlink", "hardlink", "pipe", "parent-zip"],  # gzip's bytes hold the time
)
def test_a_member_that_leads_outside_is_refused_before_anything_is_unpacked(
    name: str, data: bytes, served: Served, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"is no plain file inside the archive's own folder"):
        fetch(manifest_of(served, name, data), tmp_path / "root")
    assert not (tmp_path / "root" / "bins").exists()
    assert not list(tmp_path.rglob("out.bin"))


def test_a_damaged_archive_is_one_sentence(served: Served, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"c\.tar\.gz: cannot be unpacked"):
        fetch(manifest_of(served, "c.tar.gz", b"no archive"), tmp_path / "root")
    assert not (tmp_path / "root" / "bins").exists()


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_a_broken_connection_is_gone_on_with(knows_ranges: bool, served: Served, tmp_path: Path) -> None:
    data = tar_of(**GOOD, **{"bins/noise": os.urandom(500_000)})
    manifest = manifest_of(served, "c.tar.gz", data)
    served.knows_ranges = knows_ranges
    served.break_after = 200_000
    with pytest.raises(UserError, match="the connection broke; the same command goes on"):
        fetch(manifest, tmp_path)
    assert not (tmp_path / "bins").exists()
    served.break_after = None
    fetch(manifest, tmp_path)
    assert served.ranges == [None, f"bytes={200_000 // 65_536 * 65_536}-"]  # whole blocks
    assert (tmp_path / "bins" / "test_batch.bin").read_bytes() == RECORDS
    assert [path.name for path in tmp_path.iterdir()] == ["bins"]


def test_of_several_archives_those_that_are_done_are_not_asked_for_again(
    served: Served, tmp_path: Path
) -> None:
    first, second = tar_of(**GOOD), tar_of(**{"bins/more.bin": RECORDS})
    served.files |= {"a.tar.gz": first, "b.tar.gz": b"not yet"}
    archives = [
        {"url": f"{served.address}/{name}", "hash": f"sha256:{hashlib.sha256(data).hexdigest()}"}
        for name, data in (("a.tar.gz", first), ("b.tar.gz", second))
    ]
    manifest = manifest_of(served, "a.tar.gz", first, archives=archives)
    with pytest.raises(UserError, match=r"b\.tar\.gz: serves another file"):
        fetch(manifest, tmp_path)
    del served.files["a.tar.gz"]
    served.files["b.tar.gz"] = second
    fetch(manifest, tmp_path)
    assert sorted(path.name for path in (tmp_path / "bins").iterdir()) == [
        "more.bin",
        "readme.html",
        "test_batch.bin",
    ]


def test_files_that_were_there_are_not_replaced_and_a_wrong_one_is_named(
    served: Served, tmp_path: Path
) -> None:
    manifest = manifest_of(served, "c.tar.gz", tar_of(**GOOD))
    (tmp_path / "bins").mkdir()
    (tmp_path / "bins/test_batch.bin").write_bytes(b"mine")
    with pytest.raises(UserError, match=r"test_batch\.bin: is not the file .*; remove it, and fetch"):
        fetch(manifest, tmp_path)
    assert (tmp_path / "bins/test_batch.bin").read_bytes() == b"mine"


def test_two_processes_do_not_fetch_into_one_folder(served: Served, tmp_path: Path) -> None:
    manifest = manifest_of(served, "c.tar.gz", tar_of(**GOOD))
    work = tmp_path / f".fetch-{manifest.name}"
    work.mkdir()
    with FileLock(work / "lock"), pytest.raises(UserError, match="is being filled by another"):
        fetch(manifest, tmp_path)


def test_ctrl_c_leaves_nothing_half_written_and_the_next_call_goes_on(served: Served, tmp_path: Path) -> None:
    data = tar_of(**GOOD, **{"bins/noise": os.urandom(500_000)})
    document = document_of(served, "c.tar.gz", data)
    rest = threading.Event()

    manifest = make_manifest(**document)
    (tmp_path / "m.yaml").write_text(
        yaml.safe_dump(manifest.model_dump(mode="json", by_alias=True, exclude_defaults=True))
    )
    slow = _slow_server(data[:200_000], data, rest)
    address = f"http://127.0.0.1:{slow.server_port}"
    text = (tmp_path / "m.yaml").read_text().replace(served.address, address)
    (tmp_path / "m.yaml").write_text(text)
    command = [sys.executable, "-m", "assay.cli", "fetch", "m.yaml", "root"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE)
    work = tmp_path / "root" / f".fetch-{manifest.name}"
    while not any(path.stat().st_size for path in work.glob("*.part")) and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    rest.set()
    slow.shutdown()
    slow.server_close()
    assert process.returncode == 130
    assert b"Traceback" not in said
    assert [path.name for path in (tmp_path / "root").iterdir()] == [work.name]
    fetch(manifest, tmp_path / "root")
    assert served.ranges[0] is not None  # the rest alone
    assert [path.name for path in (tmp_path / "root").iterdir()] == ["bins"]


def _slow_server(begin: bytes, whole: bytes, rest: threading.Event) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(whole)))
            self.end_headers()
            self.wfile.write(begin)
            self.wfile.flush()
            rest.wait()

        def log_message(self, *arguments: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@pytest.mark.parametrize(
    ("archive", "said"),
    [
        ({"url": "https://example.org/a.rar", "hash": f"md5:{'0' * 32}"}, "ends in"),
        ({"url": "file:///a.tar", "hash": f"md5:{'0' * 32}"}, "url"),
        ({"url": "https://example.org/a.tar", "hash": "0" * 64}, "hash"),
        ({"url": "https://example.org/a.tar", "hash": f"md5:{'0' * 32}", "folder": "../x"}, "relative"),
    ],
)
def test_an_archive_that_could_not_be_verified_or_leads_elsewhere_is_no_valid_manifest(
    archive: dict[str, str], said: str, served: Served
) -> None:
    with pytest.raises(UserError, match=said):
        manifest_of(served, "c.tar.gz", b"", archives=[archive])


def test_the_shipped_archives_name_the_publishers_own_places() -> None:
    """Each is https, or a host that serves nothing else; each unpacks to where its manifest looks."""
    manifests = [load_manifest(name) for name in list_manifests()]
    archives = {archive.name for manifest in manifests for archive in manifest.archives}
    assert {"cifar-10-binary.tar.gz", "cifar-100-binary.tar.gz", "cifar-10-c.tar", "blur.tar"} <= archives
    assert all(manifest.can_be_fetched for manifest in manifests if manifest.archives)
