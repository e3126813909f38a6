"""Seconds of a training, measured on noise with an untrained network: a few steps, and no data needed.

Everything is measured on one thread, as networks are trained; on the CPU in seconds of the processor, since other
work on the machine lengthens the clock's.
"""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING

from assay.data.manifest import load_manifest
from assay.models.trained import WEIGHTS_FILE, TrainedCard, write_card
from assay.papers.nets import SMALL_WEIGHTS, Net, one_thread
from assay.papers.spec import SmallNet
from assay.runner.files import write_atomically
from assay.runner.usage import Usage
from assay.training.methods import Climb, Salient, TeacherSaliency
from assay.training.recipe import Recipe

if TYPE_CHECKING:
    from torch import nn

    from assay.training.objectives import Batch

_FEWEST = 2  # images at a time: batch normalisation needs a spread
_SALIENCY_BATCH = 64
_STEPS = 5  # of a climb that is measured as a whole
_NOTHING = hashlib.sha256().hexdigest()
_SMALL_NET_IMAGES = 512


@dataclass(frozen=True)
class Size:
    """An image's (channels, height, width), and the number of classes."""

    shape: tuple[int, int, int]
    classes: int

    @classmethod
    def of(cls, recipe: Recipe) -> "Size":
        """What a recipe's network takes and answers."""
        classes = load_manifest(recipe.data.train.manifest).num_classes
        return cls((len(recipe.input.mean), *recipe.input.crop), classes)


def step_seconds(recipe: Recipe, device: str, budget: float) -> float:
    """Seconds per image and epoch of a recipe's training steps; of a long climb from its first two steps.

    Args:
        recipe: whose steps; the signs of a saliency are noise, which costs as much.
        device: what it trains on.
        budget: seconds of the clock to spend, if the smallest step does not take longer.
    """
    method = recipe.method
    if isinstance(method, Climb) and method.steps > _STEPS:
        one, two = (
            step_seconds(
                recipe.model_copy(update={"method": method.model_copy(update={"steps": steps})}),
                device,
                budget,
            )
            for steps in (1, 2)
        )
        return two + max(two - one, 0.0) * (method.steps - 2)
    import torch

    from assay.common.allocator import keep_freed_memory
    from assay.training.objectives import objective_of
    from assay.training.optimisers import optimiser_of

    keep_freed_memory()
    net = untrained(recipe).to(device).train()
    parameters = list(net.parameters())
    optimiser, objective = optimiser_of(recipe.optimiser, parameters), objective_of(recipe.method)

    noise = cache(partial(_noise, recipe, device))  # its making is no part of a step

    def step(images: int) -> None:
        losses = objective(net, noise(images))
        optimiser.zero_grad()
        losses["loss"].backward(inputs=parameters)  # type: ignore[no-untyped-call]
        optimiser.step()

    with one_thread(), torch.random.fork_rng(devices=[]):
        return seconds_an_image(step, recipe.batch_size, device, budget)


def untrained(recipe: Recipe) -> "nn.Module":
    """A recipe's network before its first step: pixels to logits."""
    from assay.models.loaded import normalised

    return normalised(_fresh(recipe), recipe.input.preprocessing)


def _fresh(recipe: Recipe) -> "nn.Module":
    from assay.models.architectures import build
    from assay.training.trainer import initialised

    size = Size.of(recipe)
    return initialised(recipe.seed, lambda: build(recipe.architecture, size.shape, size.classes))


def write_untrained(net: Net) -> None:
    """Put a network with random weights where the trained one would lie; only its time may be asked of it.

    Raises:
        UserError: unknown architecture or data set, or the folder cannot be written.
    """
    from safetensors.torch import save

    if isinstance(net.model, SmallNet):
        from assay.models import small_nets

        weights = small_nets.ARCHITECTURES[net.model.architecture]().state_dict()
        write_atomically(net.folder / SMALL_WEIGHTS, save(weights))
        return
    content = save({name: tensor.contiguous() for name, tensor in _fresh(net.recipe).state_dict().items()})
    write_atomically(net.folder / WEIGHTS_FILE, content)
    write_card(net.folder, _card(net.recipe, hashlib.sha256(content).hexdigest()))


def _card(recipe: Recipe, weights_sha256: str) -> TrainedCard:
    manifest = load_manifest(recipe.data.train.manifest)
    return TrainedCard(
        title=f"untrained: {recipe.title}",
        method=recipe.method.name,
        architecture=recipe.architecture,
        label_space=manifest.label_space,
        num_classes=manifest.num_classes,
        preprocessing=recipe.input.preprocessing,
        seed=recipe.seed,
        epochs=0,
        accuracy=0.0,
        train_seconds=0.0,
        train_cpu_seconds=0.0,
        preparation_seconds=0.0,
        weights_sha256=weights_sha256,
        recipe_sha256=recipe.sha256,
        data_sha256=_NOTHING,
        training_key=_NOTHING,
        made_with={},
    )


def _noise(recipe: Recipe, device: str, images: int) -> "Batch":
    import torch

    from assay.training.objectives import Batch

    size = Size.of(recipe)
    salient = torch.randint(0, 2, (images, *size.shape[1:]), dtype=torch.int8) * 2 - 1
    return Batch(
        images=torch.rand(images, *size.shape, device=device),
        labels=torch.arange(images, device=device) % size.classes,
        chance=torch.Generator(device).manual_seed(0),
        salient=salient.to(device) if isinstance(recipe.method, Salient) else None,
        epochs=1,
        steps=1,
    )


def saliency_seconds(recipe: Recipe, device: str, budget: float) -> float:
    """Seconds per image, once per training, of the saliency that a teacher makes: one like the recipe's own network."""
    block = recipe.method.saliency if isinstance(recipe.method, Salient) else None
    if not isinstance(block, TeacherSaliency):
        return 0.0
    from assay.saliency import compute
    from assay.saliency.settings import settings_of

    settings = settings_of(block.method, block.settings)
    teacher = untrained(recipe).to(device).eval()

    noise = cache(partial(_noise, recipe, device))

    def explain(images: int) -> None:
        batch = noise(images)
        compute.maps(teacher, batch.images, batch.labels, settings, _SALIENCY_BATCH)

    with one_thread():
        return seconds_an_image(explain, _SALIENCY_BATCH, device, budget)


def small_net_seconds(architecture: str, budget: float) -> float:
    """Seconds per image and epoch of a small network's training."""
    import torch

    from assay.models import small_nets

    side = 8 if architecture.startswith("digits") else 28

    def epoch(images: int) -> None:
        labels = torch.arange(images) % 10
        network = small_nets.ARCHITECTURES[architecture]()
        small_nets.train(network, torch.rand(images, 1, side, side), labels, epochs=1)

    return seconds_an_image(epoch, _SMALL_NET_IMAGES, "cpu", budget)


def seconds_an_image(run: Callable[[int], None], most: int, device: str, budget: float) -> float:
    """Seconds per image where ``run`` takes ``most`` at a time, from as many at a time as the budget allows.

    Costs that do not depend on the size, such as the optimiser's step, follow from two sizes.
    """
    timed = partial(_seconds, run, device)
    until = time.monotonic() + budget
    few = min(_FEWEST, most)
    first = timed(few)
    if first > budget:  # a warm-up would change little
        return first / few
    small = timed(few)
    many = max(few, min(most, int(few * (until - time.monotonic()) / max(2 * small, 1e-9))))
    if many == few:
        return small / few
    timed(many)
    large = [timed(many)]
    while time.monotonic() + large[-1] < until and len(large) < 20:
        large.append(timed(many))
    mean = sum(large) / len(large)
    slope = max(mean - small, 0.0) / (many - few)
    return (mean + slope * (most - many)) / most


def _seconds(run: Callable[[int], None], device: str, images: int) -> float:
    usage = Usage(device)
    run(images)
    return float(usage.measured()["device_seconds"])
