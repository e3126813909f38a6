"""Finds how a network wants its pictures: every plausible convention is tried on the same pictures.

Two conventions are compared by McNemar's test on the pictures that only one of them gets right. Where the test
cannot tell them apart, the plainer one is taken, because it assumes less (``Convention.plainness``).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from assay.common.statistics import mcnemar_p_value, wilson_interval
from assay.data.pixels import Pixels
from assay.models.conventions import Convention, input_conventions, outputs, resizes
from assay.models.info import Layout
from assay.models.pictures import prepared

TOLD_APART = 0.01
"""Two conventions differ below this p-value."""
FIRST_LOOK = 30  # images after which hopeless conventions are given up
_KEPT = 3  # at least so many are kept after that
_BATCH = 10

NetworkOf = Callable[[Layout | None], nn.Module]
"""From a layout (None where the network's shape tells it) to the network; it takes (N, C, H, W) in its own values
and order of channels."""


@dataclass(frozen=True)
class Candidate:
    """A convention on the pictures that it was tried on.

    Attributes:
        convention: what was tried.
        right: for each picture, whether it was answered as labelled.
        log_likelihood: mean log-likelihood of the labels; among equals the higher one is likelier.
    """

    convention: Convention
    right: NDArray[np.bool_]
    log_likelihood: float

    @property
    def n(self) -> int:
        """How many pictures."""
        return len(self.right)

    @property
    def accuracy(self) -> float:
        """The share answered as labelled."""
        return float(self.right.mean())

    def p_value(self, other: "Candidate") -> float:
        """P-value of McNemar's test that both are right equally often, on the pictures that both saw."""
        n = min(self.n, other.n)
        one, two = self.right[:n], other.right[:n]
        return mcnemar_p_value(int((one & ~two).sum()), int((two & ~one).sum()))


@dataclass(frozen=True)
class Diagnosis:
    """What was found.

    Attributes:
        candidates: best first: the one that fits, those that cannot be told apart from it, the plainest first, then the
            others by accuracy.
        equals: how many cannot be told apart from the first, itself not counted.
        classes: of the labels.
        logits: of the network, dropped ones counted.
    """

    candidates: tuple[Candidate, ...]
    equals: int
    classes: int
    logits: int

    @property
    def best(self) -> Candidate:
        """The convention that fits."""
        return self.candidates[0]

    @property
    def fits(self) -> bool:
        """Whether the best is better than chance."""
        best = self.best
        return wilson_interval(int(best.right.sum()), best.n)[0] > 1 / self.classes


@dataclass(frozen=True)
class TrialPictures:
    """What the conventions are tried on; pictures are decoded once.

    Attributes:
        pixels: each uint8 (H, W, C).
        labels: as the data set has them.
        classes: how many there are.
    """

    pixels: Sequence[Pixels]
    labels: Sequence[int]
    classes: int

    @property
    def coloured(self) -> bool:
        """Whether the order of channels can matter."""
        return any(bool((each != each[..., :1]).any()) for each in self.pixels)


def diagnose(
    network: NetworkOf,
    shape: tuple[int, int, int],
    layouts: Sequence[Layout | None],
    pictures: TrialPictures,
    own: Convention | None = None,
) -> Diagnosis | int:
    """Try every plausible convention.

    Args:
        network: gives the network in a layout.
        shape: its input's channels, height, width.
        layouts: those to try; ``(None,)`` where the shape tells.
        pictures: to try them on, in no order of their classes.
        own: what the model says of itself; it is taken unless another convention is clearly better.

    Returns:
        What was found; or the number of logits where no reading of so many gives the data's classes.
    """
    trial = _Trial({layout: network(layout) for layout in layouts}, pictures)
    sizes = [(each.shape[0], each.shape[1]) for each in pictures.pixels]
    n = len(sizes)
    few = min(FIRST_LOOK, n)
    tried: dict[Convention, Candidate] = {}
    for one in input_conventions(shape, layouts, pictures.coloured):
        tried |= trial.of(next(resizes(one, sizes)), few)
    if not tried:
        return trial.logits
    for convention in _inputs_of(_hopeful(tried.values())):
        for resized in list(resizes(convention, sizes))[1:]:
            tried |= trial.of(resized, few)
    for convention in ([own] if own else []) + _inputs_of(_hopeful(tried.values())):
        tried |= trial.of(convention, n)
    return _ranked(list(tried.values()), n, pictures.classes, trial.logits)


class _Trial:
    """The networks and the pictures; pictures are resized once per way to resize."""

    def __init__(self, networks: dict[Layout | None, nn.Module], pictures: TrialPictures) -> None:
        self._networks = networks
        self._pictures = pictures
        self._sized: dict[object, Tensor] = {}
        self.logits = 0

    def of(self, convention: Convention, n: int) -> dict[Convention, Candidate]:
        """The convention on the first ``n`` pictures, with each reading of the output."""
        logits = self._answers(convention, n)
        self.logits = logits.shape[1]
        readings = outputs(convention, self.logits, self._pictures.classes)
        return {one: self._judged(one, logits) for one in readings}

    @torch.no_grad()
    def _answers(self, convention: Convention, n: int) -> Tensor:
        preprocessing = convention.preprocessing
        mean, std = (torch.tensor(each).view(-1, 1, 1) for each in (preprocessing.mean, preprocessing.std))
        network = self._networks[convention.input.layout]
        answers = []
        for batch in torch.split(self._of_size(convention)[:n], _BATCH):
            values = (batch.float() / 255 - mean) / std
            answers.append(network(values.flip(1) if preprocessing.channels == "bgr" else values))
        return torch.cat(answers)

    def _of_size(self, convention: Convention) -> Tensor:
        """(N, C, H, W) uint8."""
        preprocessing = convention.preprocessing
        key = preprocessing.resize, preprocessing.interpolation
        if key not in self._sized:
            made = [prepared(each, preprocessing, "the network") for each in self._pictures.pixels]
            self._sized[key] = torch.from_numpy(np.stack(made))
        return self._sized[key]

    def _judged(self, convention: Convention, logits: Tensor) -> Candidate:
        kept = [place for place in range(logits.shape[1]) if place not in convention.drop]
        scores = logits[:, kept].double()
        labels = torch.tensor(self._pictures.labels[: len(scores)]) + convention.label_shift
        inside = (labels >= 0) & (labels < len(kept))
        sound = scores.isfinite().all(1)
        likelihood = scores.nan_to_num().log_softmax(1)[
            torch.arange(len(scores)), labels.clamp(0, len(kept) - 1)
        ]
        right = inside & sound & (scores.argmax(1) == labels)
        return Candidate(convention, right.numpy(), float(likelihood.mean()))


def _inputs_of(candidates: Sequence[Candidate]) -> list[Convention]:
    """Their conventions of input alone, each once."""
    return list(dict.fromkeys(each.convention.of_input for each in candidates))


def _hopeful(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Best first: those that cannot be told apart from the best, and a few more."""
    ordered = sorted(candidates, key=_by_figures)
    best = ordered[0]
    return [each for place, each in enumerate(ordered) if place < _KEPT or each.p_value(best) >= TOLD_APART]


def _ranked(candidates: list[Candidate], n: int, classes: int, logits: int) -> Diagnosis:
    """The plainest of those that cannot be told apart from the most accurate comes first."""
    ordered = sorted(candidates, key=lambda each: (each.n < n, *_by_figures(each)))
    most = ordered[0]
    alike = [each for each in ordered if each.n == n and each.p_value(most) >= TOLD_APART]
    fitting, *equals = sorted(alike, key=lambda each: (each.convention.plainness, *_by_figures(each)))
    others = sorted((each for each in ordered if each not in alike), key=_by_figures)
    return Diagnosis((fitting, *equals, *others), len(equals), classes, logits)


def _by_figures(candidate: Candidate) -> tuple[float, float]:
    return -candidate.accuracy, -candidate.log_likelihood
