"""A block of images through the network: the top images per neuron, real and adversarial, and the guards' figures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from assay.common.errors import UserError
from assay.data.pixels import Pixels
from assay.models.layers import default_layer
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
from assay.tasks.consistency.sets import AdversarialBlock, ConsistencyData, concepts_of
from assay.tasks.consistency.spec import ConsistencySpec
from assay.tasks.consistency.topk import TopImages, TopK, top_count
from assay.tasks.shared.loading import LoadedPicture

SHEET_NEURONS = 4
SHEET_COLUMNS = 3
SHEET_IMAGES = 1000  # small pictures are kept of the first images only, so that their size stays bounded
SHEET_SIDE = 112


@dataclass(frozen=True)
class ImageStream:
    """Images of one kind, read when they are needed.

    Attributes:
        numbers: the data set's own indices.
        load: some of these to (n, C, H, W) float32 in [0, 1] on the run's device.
        model: as it reads these pictures.
        kept: how many top images of the whole set a neuron keeps.
    """

    numbers: Sequence[int]
    load: Callable[[Sequence[int], RunContext], Tensor]
    model: LoadedModel
    kept: int


def evaluate(
    spec: ConsistencySpec,
    model: LoadedModel,
    data: ConsistencyData,
    units: Sequence[Unit],
    context: RunContext,
) -> Iterator[Record]:
    """One record per block.

    Raises:
        NotApplicableError: the network has no convolution and no block to look at.
        UserError: an image cannot be read, or a layer is not what it was said to be.
        ValueError: an activation is not finite.
    """
    layers: tuple[str, ...] = ()
    for unit in units:
        real = _real(spec, model, data, range(*unit.payload))
        if not layers:  # before anything is made for a network that the task does not apply to
            layers = _layers(spec, model, real.load(real.numbers[:1], context))
        yield _block(spec, layers, data, unit, real, context)


def _real(spec: ConsistencySpec, model: LoadedModel, data: ConsistencyData, block: range) -> ImageStream:
    samples = data.real.samples

    def load(numbers: Sequence[int], context: RunContext) -> Tensor:
        pictures = [LoadedPicture(model, data.real, samples[number]) for number in numbers]
        return context.loader.batch(pictures, context.device)

    return ImageStream(list(block), load, model, top_count(len(samples), float(spec.top_share)) + 1)


def _adversarial(
    spec: ConsistencySpec, model: LoadedModel, data: ConsistencyData, block: AdversarialBlock
) -> ImageStream:
    reader = reads_stored(model)

    def load(numbers: Sequence[int], context: RunContext) -> Tensor:
        return torch.stack([reader.prepare(block.pixels(number)) for number in numbers]).to(context.device)

    kept = top_count(data.adversarial.count, float(spec.top_share)) + 1
    return ImageStream(block.numbers, load, reader, kept)


def _layers(spec: ConsistencySpec, model: LoadedModel, image: Tensor) -> tuple[str, ...]:
    """The spec's layers, or the network's default layer."""
    if spec.layers:
        return spec.layers
    try:
        return (default_layer(model.module, image),)
    except UserError as error:
        raise NotApplicableError(str(error)) from error


def _block(
    spec: ConsistencySpec,
    layers: tuple[str, ...],
    data: ConsistencyData,
    unit: Unit,
    real: ImageStream,
    context: RunContext,
) -> Record:
    first, end = unit.payload
    made, share = _made(data, first, end, context)
    streams = {"real": real, "adversarial": _adversarial(spec, real.model, data, made)}
    arrays: dict[str, Array] = {}
    tops: dict[str, TopImages] = {}
    for kind, stream in streams.items():
        found = _top_images(spec, layers, kind, stream, context, share)
        tops[kind] = found[-1]
        for index, top in enumerate(found):
            arrays |= top_to_arrays(kind, index, top)
    block = first // BLOCK_IMAGES
    files = {HIERARCHY_FILE: data.hierarchy, block_file(block): arrays_to_bytes(arrays)}
    if first < SHEET_IMAGES:
        files[sheet_file(block)] = _sheet(layers[-1], streams, tops, context)
    values = {
        "block": block,
        "layers": list(layers),
        "kept": {kind: stream.kept for kind, stream in streams.items()},
        "real": _real_values(data, real.numbers) | {"correct": _correct(data, real, context)},
        "adversarial": _adversarial_values(made),
        "checks": _checks(spec, layers, real, context),
    }
    return Record(unit.id, values, files=files)


def _made(data: ConsistencyData, first: int, end: int, context: RunContext) -> tuple[AdversarialBlock, float]:
    """The block's adversarial images, and which share of the unit's work a look at one image is."""
    passes = data.adversarial.passes_to_make(first, end)
    looks = (end - first) * (1 + data.adversarial.count // len(data.real.samples))
    share = 1 / (passes + looks)
    making = replace(context, advance=lambda done: context.advance(done * share))
    return data.adversarial.block(first, end, making), share


def _top_images(
    spec: ConsistencySpec,
    layers: tuple[str, ...],
    kind: str,
    stream: ImageStream,
    context: RunContext,
    share: float,
) -> list[TopImages]:
    """Each layer's top images of the stream; memory does not grow with its length."""
    running: list[TopK] = []
    for start in range(0, len(stream.numbers), context.batch_size):
        numbers = stream.numbers[start : start + context.batch_size]
        images = stream.load(numbers, context)
        look = partial(pooled_activations, stream.model.module, images, layers, spec.pool)
        answers = context.savepoints.step(f"{kind} {numbers[0]}", look)
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


@torch.no_grad()
def _correct(data: ConsistencyData, real: ImageStream, context: RunContext) -> list[bool] | None:
    """Which of the block's real images the network classifies as labelled; None where labels are concepts."""
    samples = [data.real.samples[number] for number in real.numbers]
    if samples[0].concepts:
        return None
    predicted: list[int] = []
    for start in range(0, len(samples), context.batch_size):
        images = real.load(real.numbers[start : start + context.batch_size], context)
        predicted += real.model.module(images).argmax(1).tolist()
    return [sample.label == answer for sample, answer in zip(samples, predicted, strict=True)]


def _adversarial_values(made: AdversarialBlock) -> dict[str, Any]:
    return {
        "images": list(made.numbers),
        "sources": list(made.sources),
        "targets": list(made.targets),
        "outcomes": {name: list(hits) for name, hits in made.outcomes.items()},
    }


def _checks(
    spec: ConsistencySpec, layers: tuple[str, ...], stream: ImageStream, context: RunContext
) -> dict[str, float]:
    """How far a second pass, and an image alone, are from the first pass, as a share of the largest activation."""
    images = stream.load(stream.numbers[: context.batch_size], context)

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


def _sheet(
    layer: str, streams: dict[str, ImageStream], tops: dict[str, TopImages], context: RunContext
) -> bytes:
    neurons = sheet_neurons(len(tops["real"].images))
    arrays: dict[str, Array] = {"neurons": np.array(neurons, np.int64)}
    for neuron in neurons:
        for kind in KINDS:
            pictures = _small_pictures(layer, neuron, streams[kind], tops[kind].first(SHEET_COLUMNS), context)
            arrays |= pictures.to_arrays(f"{kind}-{neuron}")
    return arrays_to_bytes(arrays)


def _small_pictures(
    layer: str, neuron: int, stream: ImageStream, top: TopImages, context: RunContext
) -> SmallPictures:
    pixels, boxes = [], []
    for number in top.images[neuron].tolist():
        image = stream.load([number], context)[0]
        box = outline(_field(stream, image, layer, neuron))
        pixels.append(_thumbnail(image))
        boxes.append(_scaled(box, image))
    return SmallPictures(
        np.array(pixels, np.uint8), np.array(boxes, np.int64), top.images[neuron], top.activations[neuron]
    )


def _field(stream: ImageStream, image: Tensor, layer: str, neuron: int) -> Any:
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
