"""How fast a device attacks: images per second, memory, and how much of the time it had nothing to do."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle, islice
from statistics import median_high
from typing import TYPE_CHECKING, Any

from assay.common.errors import UserError
from assay.runner.precision import AUTOCAST, Precision, apply, computing
from assay.runner.usage import peak_bytes

if TYPE_CHECKING:
    from torch import Tensor

    from assay.models.loaded import LoadedModel

EPS, STEPS = 4 / 255, 20
ARITHMETIC = {"float32": Precision(), "tf32": Precision(tf32=True), "bfloat16": Precision("bfloat16"),
              "autocast, channels last": Precision(AUTOCAST, channels_last=True)}  # fmt: skip


@dataclass(frozen=True)
class Load:
    """What is attacked.

    Attributes:
        models: in order of preference; the first whose trained weights are at hand is taken.
        data: the data set whose pictures are attacked, over and over.
        batch: images in one pass.
        rounds: how often it is measured, after one round that warms up.
    """

    models: tuple[str, ...]
    data: str
    batch: int
    rounds: int


LARGE = Load(("resnet50", "efficientnet_lite0"), "foolbox-imagenet20", 256, 3)
SMALL = Load(("digits_fnn",), "digits-test", 64, 2)


@dataclass(frozen=True)
class Attacked:
    """The network and the pictures of a load, on the device.

    Attributes:
        model: with trained weights.
        images: (N, C, H, W) in [0, 1].
        labels: (N,) int64.
        missing: why a network that was preferred is not this one, a sentence each.
    """

    model: LoadedModel
    images: Tensor
    labels: Tensor
    missing: tuple[str, ...]


@dataclass(frozen=True)
class Speed:
    """PGD with :data:`STEPS` steps in one arithmetic.

    Attributes:
        program: ``assay`` or ``torchattacks``.
        arithmetic: a key of :data:`ARITHMETIC`.
        images_per_second: attacked, in the median round; None where it was not measured.
        peak_device_bytes: the most memory on the device; on a CPU of this process so far.
        waited: the share of a round that the device spent idle; None where that is not known.
        broken: share of the images that the attack broke.
        note: why something was not measured.
    """

    program: str
    arithmetic: str
    images_per_second: float | None = None
    peak_device_bytes: int | None = None
    waited: float | None = None
    broken: float | None = None
    note: str | None = None


def opened(load: Load, device: str) -> Attacked:
    """The load's network and pictures; weights are never drawn at random.

    Raises:
        UserError: no network is at hand, or no such device.
    """
    import torch

    from assay.data.dataset import open_dataset
    from assay.data.manifest import load_manifest
    from assay.models.zoo import load_model

    missing: list[str] = []
    for name in load.models:
        try:
            model = load_model(name, device=device)
        except UserError as error:
            if name == load.models[-1]:
                raise
            missing.append(f"{name}: {error}")
            continue
        data = open_dataset(load_manifest(load.data))
        samples = data.samples[: load.batch]
        pictures = [model.prepare(data.image(sample)) for sample in samples]
        images = torch.stack(list(islice(cycle(pictures), load.batch))).to(device)
        labels = torch.tensor(list(islice(cycle(s.label for s in samples), load.batch)), device=device)
        return Attacked(model, images, labels, tuple(missing))
    raise AssertionError("a load names at least one network")


def speeds(load: Load, device: str) -> tuple[Attacked, list[Speed]]:
    """Every arithmetic, and torchattacks in float32 where it is installed.

    Raises:
        UserError: as :func:`opened`.
    """
    attacked = opened(load, device)
    found = [_by_torchattacks(attacked, load, device)]
    for name, precision in ARITHMETIC.items():
        if precision.tf32 and not device.startswith("cuda"):
            found.append(Speed("assay", name, note="only a CUDA device has TF32"))
            continue
        found.append(_by_assay(attacked, load, device, name))
    return attacked, found


def _by_assay(attacked: Attacked, load: Load, device: str, arithmetic: str) -> Speed:
    from copy import deepcopy
    from dataclasses import replace

    from assay.attacks.images import AttackedImages
    from assay.attacks.methods import attack_of
    from assay.attacks.run import run_attack

    precision = ARITHMETIC[arithmetic]
    model = replace(attacked.model, module=deepcopy(attacked.model.module))
    attack = attack_of("pgd", steps=STEPS, step_size="0.1 eps")
    # Every step is taken, as torchattacks takes them.
    images = AttackedImages.of(
        computing(model, precision).module, attacked.images, attacked.labels, list(range(load.batch)),
        early_stop=False, batch_size=load.batch,
    )  # fmt: skip
    with _arithmetic(precision, device):
        return _measured("assay", arithmetic, load, device, lambda: run_attack(attack, images, EPS).success)


def _by_torchattacks(attacked: Attacked, load: Load, device: str) -> Speed:
    try:
        import torchattacks
    except ImportError:
        return Speed("torchattacks", "float32", note="is not installed")
    theirs = torchattacks.PGD(attacked.model.module, eps=EPS, alpha=EPS / 10, steps=STEPS)

    def attack() -> Tensor:
        logits = attacked.model.module(theirs(attacked.images, attacked.labels))
        broken: Tensor = logits.argmax(1) != attacked.labels
        return broken

    with _arithmetic(Precision(), device):
        return _measured("torchattacks", "float32", load, device, attack)


@contextmanager
def _arithmetic(precision: Precision, device: str) -> Iterator[None]:
    """As a run computes; the process is left as it was."""
    import torch

    before = (
        torch.get_num_threads(),
        torch.backends.cuda.matmul.allow_tf32,
        torch.backends.cudnn.allow_tf32,
        torch.are_deterministic_algorithms_enabled(),
    )
    apply(precision, device)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before[1:3]
        torch.use_deterministic_algorithms(before[3])


def _measured(program: str, arithmetic: str, load: Load, device: str, attack: Callable[[], Tensor]) -> Speed:
    import torch

    on_gpu = device.startswith("cuda")
    broken = float(attack().double().mean())
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(device)
    seconds = [_timed(attack, device) for _ in range(load.rounds)]
    return Speed(
        program,
        arithmetic,
        images_per_second=load.batch / median_high(seconds),
        peak_device_bytes=torch.cuda.max_memory_allocated(device) if on_gpu else peak_bytes(),
        waited=_waited(attack, device) if on_gpu else None,
        broken=broken,
        note=None if on_gpu else "how long a CPU waits for itself is not measured",
    )


def _timed(attack: Callable[[], Any], device: str) -> float:
    import torch

    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    began = time.perf_counter()
    attack()
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    return time.perf_counter() - began


def _waited(attack: Callable[[], Any], device: str) -> float:
    """The share of one more round with no kernel running, by PyTorch's profiler; all kernels are in one stream."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        seconds = _timed(attack, device)
    busy = sum(event.self_device_time_total for event in seen.key_averages()) / 1e6
    return max(0.0, 1 - float(busy) / seconds)
