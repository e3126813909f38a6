"""Torchvision's and timm's models: their weights where they are, and what is said where they are not."""

import functools
import hashlib
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision import models

from assay.common.errors import UserError
from assay.models.download import published_checkpoint
from assay.models.zoo import load_model, registry


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A web server on this machine: its address and the folder that it serves."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}", folder
        running.shutdown()


def served_checkpoint(folder: Path) -> str:
    """Puts a file there whose name carries its hash, as torchvision's do, and returns the name."""
    content = b"some weights"
    name = f"net-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    (folder / name).write_bytes(content)
    return name


def test_a_checkpoint_is_fetched_once_when_allowed(
    no_weights: Path, server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, folder = server
    name = served_checkpoint(folder)
    monkeypatch.setenv("ASSAY_DOWNLOAD", "1")
    path = published_checkpoint("net", f"{address}/{name}")
    assert path == no_weights / name
    (folder / name).unlink()
    assert published_checkpoint("net", f"{address}/{name}").read_bytes() == b"some weights"


def test_nothing_is_fetched_without_leave(no_weights: Path, server: tuple[str, Path]) -> None:
    address, folder = server
    name = served_checkpoint(folder)
    with pytest.raises(UserError, match=f"{name} are in none of .*ASSAY_DOWNLOAD=1"):
        published_checkpoint("net", f"{address}/{name}")
    assert not no_weights.exists()


def test_a_download_with_another_hash_is_refused_and_not_kept(
    no_weights: Path, server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, folder = server
    name = served_checkpoint(folder)
    (folder / name).write_bytes(b"other weights")
    monkeypatch.setenv("ASSAY_DOWNLOAD", "1")
    with pytest.raises(UserError, match="invalid hash value"):
        published_checkpoint("net", f"{address}/{name}")
    assert list(no_weights.iterdir()) == []


def test_a_file_that_is_not_on_the_server_is_said(
    no_weights: Path, server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSAY_DOWNLOAD", "1")
    with pytest.raises(UserError, match=r"fetching .*net-01234567.pth failed .*404"):
        published_checkpoint("net", f"{server[0]}/net-01234567.pth")


def test_resnet50_without_weights_says_what_goes_where(no_weights: Path) -> None:
    reason = registry().find("resnet50").available()
    with pytest.raises(UserError) as refusal:
        load_model("resnet50")
    for part in ("resnet50-11ad3fa6.pth", str(no_weights), "ASSAY_DOWNLOAD=1", "--weights", "WEIGHTS="):
        assert part in str(refusal.value)
    assert reason is not None
    assert "resnet50-11ad3fa6.pth" in reason


def test_a_damaged_cached_checkpoint_is_refused(no_weights: Path) -> None:
    no_weights.mkdir(parents=True)
    (no_weights / "resnet50-11ad3fa6.pth").write_bytes(b"half of it")
    with pytest.raises(UserError, match="SHA-256 does not begin with 11ad3fa6"):
        load_model("resnet50")


@pytest.mark.parametrize("name", ["resnet18", "torchvision/resnet18"])
def test_a_users_checkpoint_answers_as_torchvisions_own_network(tmp_path: Path, name: str) -> None:
    net = models.resnet18().eval()
    torch.save({"state_dict": net.state_dict()}, tmp_path / "mine.pth")
    model = load_model(name, weights=tmp_path / "mine.pth")
    pixels = torch.rand(2, 3, 224, 224)
    mean, std = torch.tensor(model.info.preprocessing.mean), torch.tensor(model.info.preprocessing.std)
    expected = net((pixels - mean.view(3, 1, 1)) / std.view(3, 1, 1))
    assert torch.allclose(model.module(pixels), expected, atol=1e-5)
    assert model.info.name == "resnet18"
    assert model.info.source == "the user's weights"
    assert model.info.piecewise_linear


def test_the_published_densenets_old_names_are_understood(tmp_path: Path) -> None:
    state = models.densenet121().state_dict()
    old = {
        key.replace("norm1.", "norm.1.").replace("conv2.", "conv.2.") if "denselayer" in key else key: value
        for key, value in state.items()
    }
    assert old.keys() != state.keys()
    torch.save(old, tmp_path / "old.pth")
    assert load_model("densenet121", weights=tmp_path / "old.pth").info.num_classes == 1000


def test_googlenet_keeps_the_input_transform_that_its_weights_were_trained_with(tmp_path: Path) -> None:
    net = models.googlenet(aux_logits=True, init_weights=False)
    torch.save(net.state_dict(), tmp_path / "net.pth")
    wrapped = load_model("googlenet", weights=tmp_path / "net.pth").module
    assert isinstance(wrapped.net, nn.Module)
    assert wrapped.net.transform_input is True


def test_another_architectures_checkpoint_is_refused_by_its_keys(tmp_path: Path) -> None:
    torch.save(models.resnet18().state_dict(), tmp_path / "resnet18.pth")
    for name in ("resnet50", "vgg11", "efficientnet_lite0", "timm/resnet50", "wk_mnist"):
        with pytest.raises(
            UserError, match=r"another architecture than .*(missing|unexpected|another shape): "
        ):
            load_model(name, weights=tmp_path / "resnet18.pth")


def test_timm_without_weights_says_what_is_missing(no_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)
    with pytest.raises(
        UserError, match=r"timm/resnet18.a1_in1k are not in .*--weights FILE.*ASSAY_DOWNLOAD=1"
    ):
        load_model("timm/resnet18")


def test_timm_takes_a_users_safetensors(tmp_path: Path) -> None:
    net = timm.create_model("test_resnet").eval()
    save_file(net.state_dict(), tmp_path / "mine.safetensors")
    model = load_model("timm/test_resnet", weights=tmp_path / "mine.safetensors")
    pixels = torch.rand(2, *model.info.input_shape)
    mean, std = torch.tensor(model.info.preprocessing.mean), torch.tensor(model.info.preprocessing.std)
    assert torch.allclose(
        model.module(pixels), net((pixels - mean.view(3, 1, 1)) / std.view(3, 1, 1)), atol=1e-5
    )


@pytest.mark.parametrize("intact", [True, False])
def test_timms_cached_weights_are_compared_with_the_hash_of_their_name(
    tmp_path: Path, intact: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_file(timm.create_model("test_resnet").state_dict(), tmp_path / "content")
    sha256 = hashlib.sha256((tmp_path / "content").read_bytes()).hexdigest()
    blob = (tmp_path / "content").rename(tmp_path / (sha256 if intact else "0" * 64))
    link = tmp_path / "model.safetensors"
    link.symlink_to(blob)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: str(link))
    if intact:
        assert load_model("timm/test_resnet").info.weights_sha256 == sha256
    else:
        with pytest.raises(UserError, match="SHA-256 is not the one under which it is cached"):
            load_model("timm/test_resnet")
