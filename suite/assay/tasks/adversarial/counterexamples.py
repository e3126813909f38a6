"""Adversarial images that a submission did not show: those that a short attack of our own finds, and those of others.

Whoever forges records can make pictures that the network gets right. What they cannot make is a network that withstands
an attack it does not withstand. So some images that stand by the records are attacked here, in the same ball.

What somebody else found, arrays or PNGs, is data: it is held against the ball and the network in a fresh pass, and
lowers the figures of a row.
"""

import random
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from assay.attacks.images import AttackedImages
from assay.attacks.losses import in_top
from assay.attacks.methods import attack_of
from assay.attacks.run import run_attack
from assay.attacks.settings import AttackSettings
from assay.common.balls import BALLS
from assay.common.errors import UserError
from assay.models.check import check_logits
from assay.models.loaded import LoadedModel
from assay.results.document import Metric
from assay.results.tables import in_255ths
from assay.tasks.adversarial.demands import attacked_in_a_pass
from assay.tasks.adversarial.saved import answered, claims_to_stand, own_network, own_pictures
from assay.tasks.adversarial.spec import AdversarialSpec
from assay.tasks.adversarial.summary import summarise
from assay.tasks.base import Record
from assay.tasks.shared.png import read_png
from assay.tasks.witness import SentRecords, SpotFinding

FIRST, SECOND = 20, 40  # images; the second look is taken only where one of the first falls
MOST_BY_LUCK = 1  # of them may fall to our attack though an honest one left them standing
STEPS = 20
WAY = 2.5  # radii that the steps measure in all (Madry et al. 2018)
_TOLERANCE = 1e-6  # pixel units; what float32 may add to a distance
_LARGEST = 2**30  # bytes of one file, packed or not
_BATCH = 16


def comparable(spec: AdversarialSpec) -> tuple[AttackSettings, ...]:
    """The spec's attacks that ours may be held against: those that climb the very model's gradient.

    Where there are iterated ones, those alone; a single step is weaker than any.
    """
    white = [attack for attack in spec.attacks if attack.white_box]
    return tuple(attack for attack in white if not attack.single_step) or tuple(white)


def spot_check(sent: SentRecords[AdversarialSpec], rank_by: str, seed: str) -> SpotFinding | None:
    """Attack some of the images that are said to stand at a radius; None where no attack is comparable.

    Raises:
        UserError: another network or other data than the submission's.
    """
    rivals = comparable(sent.spec)
    if not rivals:
        return None
    eps, standing = _tried(sent, rivals, rank_by, seed)
    order = random.Random(seed).sample(standing, len(standing))
    broken: list[str] = []
    looked = 0
    for count in (FIRST, SECOND):
        rows = order[looked : looked + count]
        broken += _broken(sent, rivals, eps, rows, seed) if rows else []
        looked += len(rows)
        if len(broken) != MOST_BY_LUCK:
            break
    return SpotFinding(str(eps), looked, tuple(broken), contradicts=len(broken) > MOST_BY_LUCK)


def _tried(
    sent: SentRecords[AdversarialSpec], rivals: Sequence[AttackSettings], rank_by: str, seed: str
) -> tuple[Fraction, list[int]]:
    """The radius that is tried, and the numbers of the records whose image is said to stand there.

    A ranking metric such as ``worst:robust_accuracy@4/255`` names it. A mean over radii names none: then the seed draws
    one, among those where enough images are said to stand.
    """
    standing = {
        eps: [
            row
            for row, record in enumerate(sent.records)
            if all(claims_to_stand(record, attack, eps) for attack in rivals)
        ]
        for eps in sent.spec.radii
        if eps > 0
    }
    named = [eps for eps in standing if in_255ths(str(eps)) == rank_by.rpartition("@")[2]]
    enough = min(FIRST, max(map(len, standing.values())))
    possible = named or [eps for eps, rows in standing.items() if len(rows) >= enough]
    eps = random.Random(f"{seed} radius").choice(possible)
    return eps, standing[eps]


def _broken(
    sent: SentRecords[AdversarialSpec],
    rivals: Sequence[AttackSettings],
    eps: Fraction,
    rows: Sequence[int],
    seed: str,
) -> list[str]:
    """The units among ``rows`` that our attack breaks, judged by a fresh pass."""
    model, data = own_network(sent.network), own_pictures(sent)
    images = torch.stack([model.prepare(data.image(data.samples[row])) for row in rows])
    labels = torch.tensor([sent.records[row].values["label"] for row in rows])
    attacked = AttackedImages.of(
        model.module,
        images,
        labels,
        [random.Random(f"{seed}{row}").getrandbits(62) for row in rows],
        norm=sent.spec.norm,
        top_k=sent.spec.top_k,
        batch_size=attacked_in_a_pass(model.info.input_shape, "cpu"),
    )
    found = run_attack(_attack(rivals, eps), attacked, eps)
    stands = _stands(model, found.images, labels, sent.spec.top_k, attacked.batch_size)
    return [sent.records[row].unit_id for row, right in zip(rows, stands, strict=True) if not right]


@torch.no_grad()
def _stands(
    model: LoadedModel, images: torch.Tensor, labels: torch.Tensor, top_k: int, batch_size: int
) -> list[bool]:
    logits = torch.cat([model.module(batch) for batch in torch.split(images, batch_size)])
    stands: list[bool] = in_top(logits, labels, top_k).tolist()
    return stands


def _attack(rivals: Sequence[AttackSettings], eps: Fraction) -> AttackSettings:
    """PGD with few steps of the length that the spec's own longest attack takes; one step where the spec takes one."""
    if all(attack.single_step for attack in rivals):
        return attack_of("fgsm")
    longest = max(rivals, key=lambda attack: (attack.method == "pgd", attack.step_count))
    steps = min(STEPS, longest.step_count)
    step_size = WAY * float(eps) / steps if longest.step_size is None else longest.step_at(eps)
    return attack_of("pgd", steps=steps, step_size=step_size)


def distances(sent: SentRecords[AdversarialSpec]) -> dict[str, float]:
    """The distance of each image that was sent, by its unit, every one of them adversarial by a fresh pass.

    ``sent.files`` is an npz file with ``unit_ids`` (n,) and ``images``, (n, H, W, C) uint8 or (n, C, H, W) float in
    [0, 1]; or a folder of PNGs, each named as its unit (with odd characters as ``%2F``).

    Raises:
        UserError: an image is of no unit, of another shape, not finite, out of [0, 1], out of the largest ball, or not
            adversarial; of a unit that is wrong without it; or the network or the data are others.
    """
    given = _images(sent.files)
    model, data = own_network(sent.network), own_pictures(sent)
    rows = {record.unit_id: row for row, record in enumerate(sent.records)}
    labels = torch.tensor([record.values["label"] for record in sent.records])
    found: dict[str, float] = {}
    names = list(given)
    for first in range(0, len(names), _BATCH):
        part = names[first : first + _BATCH]
        for name in part:
            if name not in rows:
                raise _refused(name, "is no unit of the submission", "name each image as its unit")
        clean = torch.stack([model.prepare(data.image(data.samples[rows[name]])) for name in part])
        sent_ = torch.stack([_fitting(name, given[name], clean[0].shape) for name in part])
        lengths = BALLS[sent.spec.norm].length(sent_ - clean).tolist()
        stays, wrong = _answers(model.module, sent_, clean, labels[[rows[name] for name in part]], sent.spec)
        for name, length, right, before in zip(part, lengths, stays, wrong, strict=True):
            if before:
                raise _refused(name, "is misclassified without any change", "leave it out")
            if not length <= float(sent.spec.radii[-1]) + _TOLERANCE:
                limit = f"the largest ball has the radius {sent.spec.radii[-1]} ({sent.spec.norm})"
                raise _refused(name, f"lies {length:.6g} from the data set's own picture", limit)
            if right:
                raise _refused(
                    name, "is answered as labelled by the network", "send adversarial images alone"
                )
            found[name] = length
    return found


def _answers(
    module: torch.nn.Module, images: Tensor, clean: Tensor, labels: Tensor, spec: AdversarialSpec
) -> tuple[list[bool], list[bool]]:
    """For each image: whether it is answered as labelled, and whether the clean one is not."""
    with torch.no_grad():
        logits, before = module(images), module(clean)
    for each in (logits, before):
        check_logits(each, each.shape[1])
    return answered(logits, labels, spec.top_k).tolist(), (~answered(before, labels, spec.top_k)).tolist()


def _refused(name: str, what: str, mend: str) -> UserError:
    return UserError(f"challenge: image {name!r} {what}; {mend}")


def _fitting(name: str, image: Tensor, shape: torch.Size) -> Tensor:
    """The image (C, H, W) float32, found to be one that the network takes."""
    if image.shape != shape:
        raise _refused(name, f"has the shape {tuple(image.shape)}", f"the network takes {tuple(shape)}")
    if not bool(torch.isfinite(image).all()) or float(image.min()) < 0 or float(image.max()) > 1:
        raise _refused(name, "has pixels that are not in [0, 1]", "send what the network is to see")
    return image


def _images(place: Path) -> dict[str, Tensor]:
    """The images by the names of their units."""
    if place.is_dir():
        paths = sorted(path for path in place.iterdir() if path.suffix == ".png" and path.is_file())
        if not paths:
            raise UserError(f"{place}: holds no PNG; name each image as its unit, such as {place}/0007.png")
        return {unquote(path.stem): _read(path) for path in paths}
    names, images = _arrays(place)
    if images.dtype == np.uint8 and images.ndim == 4:
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    elif images.dtype.kind == "f" and images.ndim == 4:
        pixels = torch.from_numpy(images.astype(np.float32))
    else:
        raise UserError(
            f"{place}: `images` is {images.dtype} {images.shape}; expected (n, H, W, C) uint8 or (n, C, H, W) float"
        )
    listed = [str(name) for name in names.tolist()]
    if len(listed) != len(pixels) or len(set(listed)) != len(listed) or not listed:
        raise UserError(
            f"{place}: `unit_ids` has {len(listed)} names for {len(pixels)} images; name each image once"
        )
    return dict(zip(listed, pixels, strict=True))


def _read(path: Path) -> Tensor:
    try:
        if path.stat().st_size > _LARGEST:
            raise ValueError("too large")
        return read_png(path.read_bytes())
    except Exception as error:  # Pillow raises many kinds on damaged files
        raise UserError(f"{path}: cannot be read as a PNG ({type(error).__name__}); save it anew") from error


def _arrays(place: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    """``unit_ids`` and ``images`` of an npz file, in which nothing is pickled."""
    try:
        with zipfile.ZipFile(place) as packed:
            if sum(part.file_size for part in packed.infolist()) > _LARGEST:
                raise ValueError("more than a GiB unpacked")
        with np.load(place, allow_pickle=False) as arrays:
            names, images = arrays["unit_ids"], arrays["images"]
    except Exception as error:  # zipfile and NumPy raise many kinds on damaged files, and on sizes that lie
        raise UserError(
            f"{place}: expected a folder of PNGs, or an npz file of `unit_ids` and `images` of at most a GiB, "
            f"nothing pickled ({error})"
        ) from error
    if names.ndim != 1 or names.dtype.kind != "U":
        raise UserError(f"{place}: `unit_ids` is {names.dtype} {names.shape}; expected one text per image")
    return names, images


def lowered(
    spec: AdversarialSpec, records: Sequence[Record], found: Mapping[str, float]
) -> tuple[tuple[Metric, ...], tuple[str, ...]]:
    """The worst-case figures that challenges leave, and the units that they break earlier than every attack did.

    Args:
        spec: of the records.
        records: of a run.
        found: the distance of an adversarial image, by unit.
    """
    after = [_broken_at(spec, record, found.get(record.unit_id)) for record in records]
    earlier = tuple(one.unit_id for one, other in zip(records, after, strict=True) if one is not other)
    before = {metric.name: metric.value for metric in summarise(spec, records).metrics}
    return tuple(
        metric
        for metric in summarise(spec, after).metrics
        if metric.name.startswith("worst:") and metric.value != before[metric.name]
    ), earlier


def _broken_at(spec: AdversarialSpec, record: Record, distance: float | None) -> Record:
    """The record with the image broken from its distance on; itself, where it was broken there already."""
    if distance is None or not record.values["clean_correct"]:
        return record
    reached = {str(eps) for eps in spec.radii if eps > 0 and distance <= float(eps) + _TOLERANCE}
    series = spec.attacks[0].series
    attacks = record.values["attacks"]
    standing = {eps for eps in reached if all(by_eps[eps]["correct"] for by_eps in attacks.values())}
    nearest = attacks[series][str(spec.radii[-1])].get("nearest")
    nearer = spec.curve == "exact" and distance < (np.inf if nearest is None else nearest)
    if not standing and not nearer:
        return record
    outcomes = {
        eps: {**row, "correct": row["correct"] and eps not in reached}
        | ({"nearest": min(distance, np.inf if row["nearest"] is None else row["nearest"])} if nearer else {})
        for eps, row in attacks[series].items()
    }
    smallest = next((str(eps) for eps in spec.radii if not outcomes[str(eps)]["correct"]), None)
    values = {
        **record.values,
        "attacks": {**attacks, series: outcomes},
        "smallest_eps": {**record.values["smallest_eps"], series: smallest},
    }
    return replace(record, values=values)
