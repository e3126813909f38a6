"""A block of images through the network: the top images per neuron, real and adversarial, and the guards' figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from assay.data.dataset import Dataset
from assay.data.pixels import Pixels
from assay.errors import UserError
from assay.models.layers import hooked, last_convolution
from assay.models.loaded import LoadedModel
from assay.tasks.base import NotApplicableError, Record, RunContext, Unit
from assay.tasks.consistency.activations import pooled_activations
from assay.tasks.consistency.blocks import (
    BLOCK_IMAGES,
    HIERARCHY_FILE,
    KINDS,
    Array,
    SmallPictures,
    arrays_to_bytes,
    block_file,
    sheet_file,
    top_to_arrays,
)
from assay.tasks.consistency.outline import Box, outline
from assay.tasks.consistency.receptive import argmax_field
from assay.tasks.consistency.recipe import reads_stored
from assay.tasks.consistency.sets import ConsistencyData, concepts_of
from assay.tasks.consistency.spec import ConsistencySpec
from assay.tasks.consistency.topk import TopImages, TopK, top_count
from assay.tasks.loading import Picture

SHEET_NEURONS = 4
SHEET_COLUMNS = 3
SHEET_IMAGES = 1000  # small pictures are kept of the first images only, so that their size stays bounded
SHEET_SIDE = 112


@dataclass(frozen=True)
class Stream:
    """Images of one kind, read when they are needed.

    Attributes:
        numbers: the data set's own indices.
        data: where they are.
        model: as it reads these pictures.
        kept: top images a neuron keeps of the whole set.
    """

    numbers: Sequence[int]
    data: Dataset
    model: LoadedModel
    kept: int

    def pictures(self, numbers: Sequence[int]) -> list[Picture]:
        """Images of the stream as its model reads them."""
        return [Picture(self.model, self.data, self.data.samples[number]) for number in numbers]

    def batch(self, numbers: Sequence[int], context: RunContext) -> Tensor:
        """(n, C, H, W) float32 in [0, 1]."""
        return context.loader.batch(self.pictures(numbers), context.device)


def evaluate(
    spec: ConsistencySpec,
    model: LoadedModel,
    data: ConsistencyData,
    units: Sequence[Unit],
    context: RunContext,
) -> Iterator[Record]:
    """One record a block.

    Raises:
        NotApplicableError: the network has no such layer, or no convolution to look at.
        UserError: an image cannot be read, or an activation is not finite.
    """
    layers: tuple[str, ...] = ()
    for unit in units:
        streams = streams_of(spec, model, data, unit)
        if not layers:
            first = streams["real"]
            layers = _layers(spec, model, first.batch(first.numbers[:1], context))
        yield _block(spec, layers, data, unit, streams, context)


def streams_of(
    spec: ConsistencySpec, model: LoadedModel, data: ConsistencyData, unit: Unit
) -> dict[str, Stream]:
    """A block's real and adversarial images, in the order in which they are read."""
    block = range(*unit.payload)
    real, made = data.real, data.adversarial
    share = float(spec.top_share)
    return {
        "real": Stream(
            list(block),
            real,
            model,
            top_count(len(real.samples), share) + 1,
        ),
        "adversarial": Stream(
            made.of_sources(block.start, block.stop),
            made.dataset,
            reads_stored(model),
            top_count(len(made.sources), share) + 1,
        ),
    }


def _layers(spec: ConsistencySpec, model: LoadedModel, image: Tensor) -> tuple[str, ...]:
    """The spec's layers, all of which the network has, or its last convolution."""
    try:
        if not spec.layers:
            return (last_convolution(model.module, image),)
        with hooked(model.module, spec.layers, lambda _name, _output: None):
            return spec.layers
    except UserError as error:
        raise NotApplicableError(str(error)) from error


def _block(
    spec: ConsistencySpec,
    layers: tuple[str, ...],
    data: ConsistencyData,
    unit: Unit,
    streams: dict[str, Stream],
    context: RunContext,
) -> Record:
    block = unit.payload[0] // BLOCK_IMAGES
    arrays: dict[str, Array] = {}
    tops: dict[str, TopImages] = {}
    share = 1 / sum(len(stream.numbers) for stream in streams.values())
    for kind, stream in streams.items():
        found = _top_images(spec, layers, stream, context, share)
        tops[kind] = found[-1]
        for index, top in enumerate(found):
            arrays |= top_to_arrays(kind, index, top)
    files = {HIERARCHY_FILE: data.hierarchy, block_file(block): arrays_to_bytes(arrays)}
    if unit.payload[0] < SHEET_IMAGES:
        files[sheet_file(block)] = _sheet(layers[-1], streams, tops, context)
    values = {
        "block": block,
        "layers": list(layers),
        "kept": {kind: stream.kept for kind, stream in streams.items()},
        "real": _real_values(data, streams["real"].numbers),
        "adversarial": _adversarial_values(data, streams["adversarial"].numbers),
        "checks": _checks(spec, layers, streams["real"], context),
    }
    return Record(unit.id, values, files=files)


def _top_images(
    spec: ConsistencySpec, layers: tuple[str, ...], stream: Stream, context: RunContext, share: float
) -> list[TopImages]:
    """Each layer's top images of the stream; memory does not grow with its length."""
    running: list[TopK] = []
    for start in range(0, len(stream.numbers), context.batch_size):
        numbers = stream.numbers[start : start + context.batch_size]
        images = stream.batch(numbers, context)
        answers = pooled_activations(stream.model.module, images, layers, spec.pool)
        running = running or [TopK(answers[layer].shape[1], stream.kept) for layer in layers]
        for layer, top in zip(layers, running, strict=True):
            top.update(answers[layer].cpu().numpy(), np.array(numbers, np.int64))
        context.advance(share * len(numbers))
    return [top.result() for top in running]


def _real_values(data: ConsistencyData, numbers: Sequence[int]) -> dict[str, Any]:
    return {
        "images": list(numbers),
        "concepts": [list(concepts_of(data.real.samples[number])) for number in numbers],
    }


def _adversarial_values(data: ConsistencyData, numbers: Sequence[int]) -> dict[str, Any]:
    made = data.adversarial
    return {
        "images": list(numbers),
        "sources": [made.sources[number] for number in numbers],
        "targets": [made.dataset.samples[number].target for number in numbers],
        "outcomes": {name: [hits[number] for number in numbers] for name, hits in made.outcomes.items()},
    }


def _checks(
    spec: ConsistencySpec, layers: tuple[str, ...], stream: Stream, context: RunContext
) -> dict[str, float]:
    """How far a second pass, and an image alone, are from the first pass, as a share of the largest activation."""
    images = stream.batch(stream.numbers[: context.batch_size], context)

    def answers(some: Tensor) -> Tensor:
        found = pooled_activations(stream.model.module, some, layers, spec.pool)
        return torch.cat([found[layer] for layer in layers], dim=1)

    first, again, alone = answers(images), answers(images), answers(images[:1])
    scale = first.abs().amax().clamp_min(1e-12)
    return {
        "repeat_difference": ((again - first).abs().amax() / scale).item(),
        "alone_difference": ((alone - first[:1]).abs().amax() / scale).item(),
    }


def sheet_neurons(n_neurons: int) -> list[int]:
    """The neurons that pictures are kept of: evenly spaced, chosen before anything is known of them."""
    return sorted(set(np.linspace(0, n_neurons - 1, SHEET_NEURONS).round().astype(int).tolist()))


def _sheet(layer: str, streams: dict[str, Stream], tops: dict[str, TopImages], context: RunContext) -> bytes:
    neurons = sheet_neurons(len(tops["real"].images))
    arrays: dict[str, Array] = {"neurons": np.array(neurons, np.int64)}
    for neuron in neurons:
        for kind in KINDS:
            pictures = _small_pictures(layer, neuron, streams[kind], tops[kind].first(SHEET_COLUMNS), context)
            arrays |= pictures.to_arrays(f"{kind}-{neuron}")
    return arrays_to_bytes(arrays)


def _small_pictures(
    layer: str, neuron: int, stream: Stream, top: TopImages, context: RunContext
) -> SmallPictures:
    pixels, boxes = [], []
    for number in top.images[neuron].tolist():
        image = stream.batch([number], context)[0]
        box = outline(_field(stream, image, layer, neuron))
        pixels.append(_thumbnail(image))
        boxes.append(_scaled(box, image))
    return SmallPictures(
        np.array(pixels, np.uint8), np.array(boxes, np.int64), top.images[neuron], top.activations[neuron]
    )


def _field(stream: Stream, image: Tensor, layer: str, neuron: int) -> Any:
    try:
        return argmax_field(stream.model.module, image, layer, neuron)
    except UserError:  # a layer without a map has no field: the whole image is outlined
        return np.zeros(image.shape[1:], np.float32)


def _thumbnail(image: Tensor) -> Pixels:
    picture = (image * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    if picture.shape[2] == 1:
        picture = picture.repeat(3, axis=2)
    small: Pixels = np.asarray(
        Image.fromarray(picture).resize((SHEET_SIDE, SHEET_SIDE), Image.Resampling.BILINEAR)
    )
    return small


def _scaled(box: Box, image: Tensor) -> tuple[int, int, int, int]:
    down, across = SHEET_SIDE / image.shape[1], SHEET_SIDE / image.shape[2]
    return (
        int(box.top * down),
        int(box.left * across),
        int(np.ceil(box.bottom * down)),
        int(np.ceil(box.right * across)),
    )
