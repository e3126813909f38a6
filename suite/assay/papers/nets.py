"""Networks trained for a reproduction: each in a folder named by the hash of its recipe, made once and found again."""

import json
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from assay.common.canonical import canonical_sha256
from assay.common.children import ChildLostError, made_by_children
from assay.common.errors import UserError
from assay.papers.spec import RecipeModel, SmallNet, Trained, task_at
from assay.runner.files import write_atomically
from assay.training.recipe import Recipe
from assay.training.recipe_files import load_recipe

if TYPE_CHECKING:
    from torch import Tensor

    from assay.data.dataset import Dataset

FORMAT = 1  # of a small net's folder; raised whenever the same recipe would give another net
SMALL_WEIGHTS = "weights.safetensors"
_MNIST = ("mnist-train", "mnist-test")
_DIGITS = ("digits-train", "digits-test")


@dataclass(frozen=True)
class TrainingRecord:
    """A training's time and accuracy.

    Attributes:
        seconds: of the processor where it was the CPU that trained, since other work on the machine lengthens the
            clock's; of the clock elsewhere. The making of a saliency is among them, by the clock.
        test_accuracy: in [0, 1].
    """

    seconds: float
    test_accuracy: float


@dataclass(frozen=True)
class Net:
    """One network to train.

    Attributes:
        name: the model's, in the paper's file.
        model: its recipe.
        seed: of the training.
        nets: the folder of all networks.
        home: the folder that recipe files start from.
        data_roots: where data are looked for.
        device: what a recipe trains on.
        teacher: whose saliency it follows.
    """

    name: str
    model: Trained
    seed: int
    nets: Path
    home: Path
    data_roots: tuple[str, ...]
    device: str = "cpu"
    teacher: "Net | None" = None

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe with this seed and teacher.

        Raises:
            UserError: no such recipe, or it takes no teacher.
        """
        assert isinstance(self.model, RecipeModel)
        recipe = load_recipe(task_at(self.model.recipe, self.home)).with_seed(self.seed)
        return recipe if self.teacher is None else recipe.with_teacher(self.teacher.request[0])

    @cached_property
    def sha256(self) -> str:
        """Hash of the recipe, the seed and the teacher's recipe; data are checked when they are read."""
        if isinstance(self.model, SmallNet):
            recipe = self.model.model_dump(mode="json", exclude={"seeds"})
            data = {"train": _DIGITS[0]} if _on_digits(self.model) else {}
            return canonical_sha256({"format": FORMAT, "recipe": recipe, "seed": self.seed, **data})
        return canonical_sha256([self.recipe.sha256, self.teacher and self.teacher.sha256])

    @property
    def folder(self) -> Path:
        """Where the network lies once it is trained; another recipe has another folder."""
        return self.nets / f"{self.name}-seed-{self.seed}-{self.sha256[:8]}"

    @property
    def title(self) -> str:
        """The net's name for people."""
        return f"{self.name}, seed {self.seed}"

    @property
    def request(self) -> tuple[str, str | None]:
        """The model's name and weights, as the runner takes them."""
        if isinstance(self.model, SmallNet):
            return self.model.architecture, str(self.folder / SMALL_WEIGHTS)
        return f"trained:{self.folder}", None

    def record(self) -> TrainingRecord | None:
        """What the training noted; None where it is not finished."""
        if isinstance(self.model, SmallNet):
            return _small_record(self.folder)
        from assay.models.trained import CARD_FILE, read_card

        if not (self.folder / CARD_FILE).is_file():
            return None
        card = read_card(self.folder)
        on_cpu = card.made_with["device"] == "cpu"
        steps = card.train_cpu_seconds if on_cpu else card.train_seconds
        return TrainingRecord(steps + card.preparation_seconds, card.accuracy)


def _small_record(folder: Path) -> TrainingRecord | None:
    try:
        found = TrainingRecord(**json.loads((folder / "net.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return found if (folder / SMALL_WEIGHTS).is_file() else None


def missing_data(net: Net) -> list[str]:
    """Why the net cannot be trained here: each missing data set, with how to get it."""
    from assay.data.dataset import is_available
    from assay.data.manifest import load_manifest

    if isinstance(net.model, SmallNet):
        manifests = () if net.model.architecture.startswith("digits") else _MNIST
    else:
        manifests = (net.recipe.data.train.manifest, net.recipe.data.test.manifest)
    roots = [Path(root) for root in net.data_roots]
    reasons = (is_available(load_manifest(name), roots) for name in dict.fromkeys(manifests))
    return [reason for reason in reasons if reason is not None]


def train_missing(nets: Sequence[Net], workers: int, say: Callable[[str], None]) -> None:
    """Train every net that is not there yet, teachers first, ``workers`` at a time.

    Each trains on one thread, so that weights do not depend on ``workers``.

    Raises:
        UserError: data are missing, a loss diverges, or the folder cannot be written.
    """
    todo = [net for net in nets if net.record() is None]
    if len(todo) < len(nets):
        say(f"{len(nets) - len(todo)} of {len(nets)} networks are trained already")
    for wave in ([net for net in todo if net.teacher is None], [net for net in todo if net.teacher]):
        if wave:
            _train_wave(wave, min(workers, len(wave)), say)


def _train_wave(nets: Sequence[Net], workers: int, say: Callable[[str], None]) -> None:
    with closing(_trained(nets, workers)) as trained:
        for count, (net, record) in enumerate(trained, 1):
            say(
                f"{count}/{len(nets)} {net.title}: trained in {record.seconds:.1f} s, "
                f"test accuracy {100 * record.test_accuracy:.2f} %"
            )


def _trained(nets: Sequence[Net], workers: int) -> Generator[tuple[Net, TrainingRecord], None, None]:
    """Each net as soon as it is trained: in this process, or in several."""
    if workers == 1:
        yield from ((net, train(net)) for net in nets)
        return
    try:
        yield from made_by_children(train, nets, workers)
    except ChildLostError as error:
        raise UserError(
            f"{error.item.title}: a training process died ({error}); the same command goes on from what is stored, "
            "with fewer --workers where memory is short"
        ) from error


def train(net: Net) -> TrainingRecord:
    """Train one network, or finish what a killed run began; what is stored is whole or not there.

    Raises:
        UserError: as :func:`train_missing`.
    """
    with one_thread():
        return _train_small(net, net.model) if isinstance(net.model, SmallNet) else _train_recipe(net)


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch on one thread, as networks are trained and timed."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _train_recipe(net: Net) -> TrainingRecord:
    from assay.training.train import Options
    from assay.training.train import train as train_recipe

    options = Options(data_roots=tuple(Path(root) for root in net.data_roots), device=net.device)
    train_recipe(net.recipe, net.folder, options)
    record = net.record()
    assert record is not None
    return record


def _train_small(net: Net, model: SmallNet) -> TrainingRecord:
    from safetensors.torch import save

    from assay.data.contents import content_hashes, write_hashes
    from assay.models import small_nets
    from assay.models.entries.small_nets import small_list

    if model.architecture not in small_nets.ARCHITECTURES:
        known = ", ".join(small_nets.ARCHITECTURES)
        raise UserError(f"{net.name}: unknown architecture {model.architecture!r}; choose one of {known}")
    (images, labels), held_out = _small_data(net, model)
    began = time.process_time()
    network = small_nets.ARCHITECTURES[model.architecture]()
    small_nets.train(network, images, labels, model.epochs, net.seed)
    record = TrainingRecord(time.process_time() - began, small_nets.accuracy(network, *held_out))
    to_train = _opened((_DIGITS if _on_digits(model) else _MNIST)[0], net.data_roots)
    write_hashes(small_list(net.folder / SMALL_WEIGHTS), content_hashes(to_train, to_train.samples))
    write_atomically(net.folder / SMALL_WEIGHTS, save(network.state_dict()))
    write_atomically(
        net.folder / "net.json", json.dumps(record.__dict__) + "\n"
    )  # last: it makes the net whole
    return record


def _small_data(net: Net, model: SmallNet) -> "tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]":
    """Images (N, C, H, W) in [0, 1] and labels, to train on and held out."""
    from assay.models.small_nets import digits_split

    if _on_digits(model):
        return digits_split()
    to_train, held_out = (_pixels(name, net.data_roots) for name in _MNIST)
    return to_train, held_out


def _on_digits(model: SmallNet) -> bool:
    return model.architecture.startswith("digits")


def _opened(manifest: str, roots: Sequence[str]) -> "Dataset":
    from assay.data.dataset import open_dataset
    from assay.data.manifest import load_manifest

    return open_dataset(load_manifest(manifest), [Path(root) for root in roots])


def _pixels(manifest: str, roots: Sequence[str]) -> "tuple[Tensor, Tensor]":
    import numpy as np
    import torch

    data = _opened(manifest, roots)
    pixels = torch.from_numpy(np.stack([data.image(sample) for sample in data.samples]))
    labels = torch.tensor([sample.label for sample in data.samples])
    return pixels.permute(0, 3, 1, 2).float() / 255, labels
