"""Adversarial images that somebody else found, held against the ball and the network, and what they leave of a row.

The images are data, arrays or PNGs, and are asked about in a fresh pass. No attack is known here.
"""

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from assay.common.balls import BALLS
from assay.common.errors import UserError
from assay.models.check import check_logits
from assay.results.document import Metric
from assay.tasks.adversarial.saved import answered, own_network, own_pictures
from assay.tasks.adversarial.spec import AdversarialSpec
from assay.tasks.adversarial.summary import summarise
from assay.tasks.base import Record
from assay.tasks.shared.png import read_png
from assay.tasks.witness import SentRecords

_TOLERANCE = 1e-6  # pixel units; what float32 may add to a distance
_LARGEST = 2**30  # bytes of one file, packed or not
_BATCH = 16


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
