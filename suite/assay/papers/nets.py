"""Networks trained for a reproduction: each in a folder named by the hash of its recipe, made once and found again."""

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from assay.common.canonical import canonical_sha256
from assay.common.children import ChildLostError, made_by_children
from assay.common.errors import UserError
from assay.papers.spec.paper import task_at
from assay.papers.spec.scales import RecipeModel
from assay.training.recipe import Recipe
from assay.training.recipe_files import load_recipe
from assay.training.threads import one_thread


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
    model: RecipeModel
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
        recipe = load_recipe(task_at(self.model.recipe, self.home)).with_seed(self.seed)
        return recipe if self.teacher is None else recipe.with_teacher(self.teacher.zoo_name)

    @cached_property
    def sha256(self) -> str:
        """Hash of the recipe, the seed and the teacher's recipe; data are checked when they are read."""
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
    def zoo_name(self) -> str:
        """The model's name, as the runner takes it."""
        return f"trained:{self.folder}"

    def record(self) -> TrainingRecord | None:
        """What the training noted; None where it is not finished."""
        from assay.models.trained import CARD_FILE, read_card

        if not (self.folder / CARD_FILE).is_file():
            return None
        card = read_card(self.folder)
        on_cpu = card.made_with["device"] == "cpu"
        steps = card.train_cpu_seconds if on_cpu else card.train_seconds
        return TrainingRecord(steps + card.preparation_seconds, card.accuracy)


def missing_data(net: Net) -> list[str]:
    """Why the net cannot be trained here: each missing data set, with how to get it."""
    from assay.data.dataset import is_available
    from assay.data.manifest import load_manifest

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
    """Yields each net as soon as it is trained, in this process or in several."""
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
    from assay.training.train import Options
    from assay.training.train import train as train_recipe

    options = Options(data_roots=tuple(Path(root) for root in net.data_roots), device=net.device)
    with one_thread():
        train_recipe(net.recipe, net.folder, options)
    record = net.record()
    assert record is not None
    return record
