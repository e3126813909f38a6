"""An attack with its ball, its rule of success and its parameters in one place, as tests like to vary them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from torch import Tensor

from assay.attacks.images import AttackedImages, AttackResult, Model
from assay.attacks.methods import attack_of
from assay.attacks.run import run_attack as run
from assay.attacks.settings import AttackSettings


@dataclass(frozen=True)
class Asked:
    """The first four belong to the images, the others to the method; what is None is left out."""

    eps: float
    norm: str = "linf"
    top_k: int = 1
    early_stop: bool = True
    step_size: Any = None
    steps: int | None = None
    restarts: int | None = None
    momentum: float | None = None
    momentum_norm: str | None = None
    loss: str | None = None
    draws: int | None = None

    def attack(self, method: str) -> AttackSettings:
        given = {name: value for name, value in list(asdict(self).items())[4:] if value is not None}
        if self.eps == given.get("step_size") == 0:
            given["step_size"] = "1 eps"
        return attack_of(method, **given)

    def on(self, images: AttackedImages) -> AttackedImages:
        return replace(images, norm=self.norm, top_k=self.top_k, early_stop=self.early_stop)


def run_on(method: str, images: AttackedImages, asked: Asked) -> AttackResult:
    return run(asked.attack(method), asked.on(images), asked.eps)


def run_attack(
    method: str,
    model: Model,
    images: Tensor,
    labels: Tensor,
    asked: Asked,
    seeds: Tensor | Sequence[int],
    **options: object,
) -> AttackResult:
    return run_on(method, AttackedImages.of(model, images, labels, seeds, norm=asked.norm, **options), asked)
