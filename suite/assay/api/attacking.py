"""An attack on some pictures, as a call."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.common.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from assay.attacks.settings import AttackResult
    from assay.models.in_memory import Said


def attack(
    model: "str | Path | nn.Module",
    images: "Tensor | np.ndarray[Any, Any]",
    labels: "Tensor | Sequence[int]",
    method: str = "pgd",
    *,
    eps: float,
    targets: "Tensor | Sequence[int] | None" = None,
    seed: int = 0,
    batch_size: int | None = None,
    preprocessing: "Said" = None,
    device: str = "cpu",
    **settings: Any,
) -> "AttackResult":
    """Attack some images.

    Args:
        model: a name, a card, or a module in memory (see :func:`assay.evaluate`).
        images: (N, C, H, W) in [0, 1], of the network's own size.
        labels: N classes.
        method: ``fgsm``, ``bim``, ``pgd``, ``mim``, ``apgd``, ``apgd_t`` or ``square``.
        eps: the ball's radius, in units of pixels in [0, 1].
        targets: N classes to reach; the attack is then targeted.
        seed: of the random starts; image i has ``seed + i``.
        batch_size: images in one pass; all where it is left out.
        preprocessing: of a module in memory.
        device: where it is computed.
        settings: of :class:`assay.attacks.settings.AttackSettings`, such as ``norm``, ``steps``, ``restarts``. Where
            they are left out, ``bim``, ``pgd`` and ``mim`` take 40 steps of eps / 10, ``apgd`` and ``apgd_t`` 100
            steps and ``square`` 1,000 queries.

    Raises:
        UserError: an unknown method or setting, images outside [0, 1], labels that do not fit.
    """
    import torch

    from assay.attacks.run import AttackJob, run_job
    from assay.attacks.settings import AttackSettings
    from assay.models.in_memory import as_model

    unknown = sorted(set(settings) - (set(AttackSettings.__dataclass_fields__) - {"eps"}))
    if unknown:
        known = ", ".join(sorted(AttackSettings.__dataclass_fields__))
        raise UserError(f"attack: unknown setting {unknown[0]!r}; choose one of {known}")
    loaded = as_model(model, preprocessing, device)
    pixels = torch.as_tensor(images, dtype=torch.float32, device=device)
    right = torch.as_tensor(labels, dtype=torch.int64, device=device)
    aims = None if targets is None else torch.as_tensor(targets, dtype=torch.int64, device=device)
    seeds = range(seed, seed + len(pixels))
    job = AttackJob(method, loaded.module, pixels, right, seeds, aims, batch_size)
    return run_job(job, AttackSettings(eps=eps, **_usual(method, eps) | settings))


def _usual(method: str, eps: float) -> dict[str, Any]:
    """Settings for whoever names none."""
    if method in ("bim", "pgd", "mim"):
        return {"steps": 40, "step_size": eps / 10}
    if method == "fgsm":
        return {}
    return {"steps": 1000 if method == "square" else 100}
