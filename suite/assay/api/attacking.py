"""An attack on some pictures, as a call."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.common.errors import UserError
from assay.common.fields import parse_rational

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from assay.attacks.images import AttackResult
    from assay.models.in_memory import Said

_RULES = ("norm", "top_k", "early_stop")
_PARAMETERS = ("step_size", "steps", "restarts", "momentum", "momentum_norm", "loss", "draws")


def attack(
    model: "str | Path | nn.Module",
    images: "Tensor | np.ndarray[Any, Any]",
    labels: "Tensor | Sequence[int]",
    method: str = "pgd",
    *,
    eps: "float | str | Fraction",
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
        method: ``fgsm``, ``bim``, ``pgd``, ``mim``, ``apgd``, ``apgd_t``, ``square``, ``fab`` or ``fab_t``.
        eps: the ball's radius, in units of pixels in [0, 1]; a text such as ``8/255`` is taken exactly.
        targets: N classes to reach; the attack is then targeted.
        seed: of the random starts; image i has ``seed + i``.
        batch_size: images in one pass; all where it is left out.
        preprocessing: of a module in memory.
        device: where it is computed.
        settings: the method's parameters (``steps``, ``restarts``, ``loss`` … of
            :class:`assay.attacks.settings.AttackSettings`), the ball's ``norm``, and ``top_k`` and ``early_stop`` of
            :class:`assay.attacks.images.AttackedImages`. Where they are left out, ``bim``, ``pgd`` and ``mim`` take 40
            steps of eps / 10, ``apgd``, ``apgd_t``, ``fab`` and ``fab_t`` 100 steps and ``square`` 1,000 queries.

    Raises:
        UserError: an unknown method or setting, images of another size or outside [0, 1], labels that do not fit.
    """
    from assay.attacks.images import AttackedImages
    from assay.attacks.methods import METHODS, attack_of
    from assay.attacks.run import run_attack
    from assay.models.given import classes, pictures, whole_number
    from assay.models.in_memory import as_model

    known = (*_RULES, *_PARAMETERS)
    unknown = sorted(set(settings) - set(known))
    if unknown:
        raise UserError(f"attack: unknown setting {unknown[0]!r}; choose one of {', '.join(known)}")
    parameters = {name: value for name, value in settings.items() if name in _PARAMETERS}
    usual = METHODS[method].usual if method in METHODS else {}
    how = attack_of(method, **{**usual, **parameters})
    whole_number("batch_size", batch_size)
    radius = _radius(eps)
    loaded = as_model(model, preprocessing, device)
    pixels = pictures(images, loaded, device)
    what = AttackedImages.of(
        loaded.module,
        pixels,
        classes(labels, len(pixels), loaded, "labels", device),
        range(seed, seed + len(pixels)),
        targets=None if targets is None else classes(targets, len(pixels), loaded, "targets", device),
        batch_size=batch_size,
        **{name: value for name, value in settings.items() if name in _RULES},
    )
    return run_attack(how, what, radius)


def _radius(eps: "float | str | Fraction") -> "Fraction | float":
    """The radius, exact where it was written as a fraction.

    Raises:
        UserError: it is no number.
    """
    try:
        if isinstance(eps, str):
            return parse_rational(eps)
        return eps if isinstance(eps, Fraction) else float(eps)
    except (TypeError, ValueError) as error:
        raise UserError(f"eps: expected a number or a fraction such as 8/255, got {eps!r}") from error
