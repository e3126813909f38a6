"""Networks trained for a reproduction: each in a folder of its own, made once, found again by the hash of its recipe."""

import json
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cached_property
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.canonical import canonical_sha256
from assay.errors import UserError
from assay.papers.spec import SmallNet
from assay.runner.files import write_atomically

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 1  # of a trained net's folder; raised whenever the same recipe would give another net


@dataclass(frozen=True)
class Net:
    """One network to train: a recipe and a seed, and the folder that it lies in once it is there."""

    name: str
    recipe: SmallNet
    seed: int
    folder: Path
    data_roots: tuple[str, ...]

    @cached_property
    def sha256(self) -> str:
        """Hash of what decides the weights, but for the data, which the recipe names."""
        recipe = self.recipe.model_dump(mode="json", exclude={"seeds"})
        return canonical_sha256({"format": FORMAT, "recipe": recipe, "seed": self.seed})

    @property
    def title(self) -> str:
        """How the net is called where people read."""
        return f"{self.name}, seed {self.seed}"

    @property
    def weights(self) -> Path:
        """The safetensors file."""
        return self.folder / "weights.safetensors"

    def record(self) -> dict[str, Any] | None:
        """What its training noted (``seconds``, ``test_accuracy``); None where it is not there, or another recipe's."""
        try:
            record = json.loads((self.folder / "net.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        there = isinstance(record, dict) and record.get("recipe_sha256") == self.sha256
        return record if there and self.weights.is_file() else None


def missing_data(net: Net) -> str | None:
    """Why the net cannot be trained here, or None."""
    from assay.data.dataset import is_available
    from assay.data.manifest import load_manifest

    if net.recipe.architecture.startswith("digits"):
        return None
    roots = [Path(root) for root in net.data_roots]
    return next(filter(None, (is_available(load_manifest(name), roots) for name in _MNIST)), None)


def train_missing(nets: Sequence[Net], workers: int, say: Any) -> None:
    """Train every net that is not there yet, ``workers`` at a time, each on one thread so that weights repeat.

    Raises:
        UserError: data are missing, or the folder cannot be written.
    """
    todo = [net for net in nets if net.record() is None]
    if len(nets) > len(todo):
        say(f"{len(nets) - len(todo)} of {len(nets)} networks are trained already")
    if not todo:
        return
    with ProcessPoolExecutor(min(workers, len(todo)), mp_context=get_context("spawn")) as pool:
        running = {pool.submit(train, net): net for net in todo}
        try:
            for done in as_completed(running):
                record = done.result()
                say(
                    f"{running[done].title}: trained in {record['seconds']:.1f} s, "
                    f"test accuracy {100 * record['test_accuracy']:.2f} %"
                )
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def train(net: Net) -> dict[str, Any]:
    """Train one small network and store it; its record is written last, so a net is there whole or not at all."""
    import torch
    from safetensors.torch import save

    from assay.models import small_nets

    torch.set_num_threads(1)
    if net.recipe.architecture not in small_nets.ARCHITECTURES:
        known = ", ".join(small_nets.ARCHITECTURES)
        raise UserError(f"{net.name}: unknown architecture {net.recipe.architecture!r}; choose one of {known}")
    (images, labels), held_out = _data(net)
    began = time.monotonic()
    network = small_nets.train(
        small_nets.ARCHITECTURES[net.recipe.architecture](), images, labels, net.recipe.epochs, net.seed
    )
    seconds = time.monotonic() - began
    record = {
        "recipe_sha256": net.sha256,
        "recipe": net.recipe.model_dump(mode="json", exclude={"seeds"}),
        "seed": net.seed,
        "seconds": seconds,
        "test_accuracy": small_nets.accuracy(network, *held_out),
    }
    write_atomically(net.weights, save(network.state_dict()))
    write_atomically(net.folder / "net.json", json.dumps(record, indent=1) + "\n")
    return record


_MNIST = ("mnist-train", "mnist-test")


def _data(net: Net) -> "tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]":
    """Images (N, C, H, W) in [0, 1] and labels, to train on and held out."""
    from assay.models.small_nets import digits_split

    if net.recipe.architecture.startswith("digits"):
        return digits_split()
    train_part, test_part = (_pixels(name, net.data_roots) for name in _MNIST)
    return train_part, test_part


def _pixels(manifest: str, roots: Sequence[str]) -> "tuple[Tensor, Tensor]":
    import numpy as np
    import torch

    from assay.data.dataset import open_dataset
    from assay.data.manifest import load_manifest

    data = open_dataset(load_manifest(manifest), [Path(root) for root in roots])
    pixels = torch.from_numpy(np.stack([data.image(sample) for sample in data.samples]))
    labels = torch.tensor([sample.label for sample in data.samples])
    return pixels.permute(0, 3, 1, 2).float() / 255, labels
