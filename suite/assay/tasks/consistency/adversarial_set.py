"""The adversarial set as a product: made as far as it is needed, found by the hash of what makes it.

::

    CACHE/products/<key>/images/000017-0123.png   an adversarial image: its source's index, its target
    CACHE/products/<key>/rows/000017.json         the outcome of one source; written after its images
    CACHE/products/<key>/table.csv                all rows, written when every source is done
    CACHE/products/<key>/manifest.yaml            the data manifest, written last: a data set like any other

A file is never altered once it is there: several processes may work on one set, and the first to finish an image
decides its bytes. So an interrupted run goes on where it stopped.
"""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch
import yaml
from PIL import Image

from assay.attacks.ensemble import EnsembleAttack, at_size, ensemble_attack, to_uint8
from assay.common.canonical import canonical_json
from assay.common.errors import UserError
from assay.common.savepoints import Savepoints
from assay.data.pixels import Pixels
from assay.models.info import ModelInfo
from assay.models.pictures import prepared
from assay.tasks.base import RunContext
from assay.tasks.consistency.product import publish, rows_path, stored_count, stored_rows, table
from assay.tasks.consistency.recipe import AdversarialSetRecipe, reads_stored
from assay.tasks.consistency.sets import (
    OUTCOME_PREFIXES,
    SOURCE_COLUMN,
    STORED_RESIZE,
    AdversarialBlock,
    naming_the_set,
)

_PASSES_A_STEP = 3  # of a member, in forward passes: one forward, and one backward of about twice its cost


@dataclass(frozen=True, eq=False)
class MadeSet:
    """The recipe's set: the worker that first asks for a block's images makes them."""

    recipe: AdversarialSetRecipe

    @property
    def count(self) -> int:
        """See :class:`assay.tasks.consistency.sets.AdversarialSet`."""
        return len(self.recipe.data.samples) * self.recipe.versions

    @property
    def sha256(self) -> str:
        """The hash of what makes the set: the same on every machine, as a job's key must be, whatever the last bits."""
        return self.recipe.key

    def refuse_unfit(self, model: ModelInfo) -> None:
        """See :class:`assay.tasks.consistency.sets.AdversarialSet`."""
        channels, height, width = self.recipe.frame.info.input_shape
        black = np.zeros((height, width, channels), np.uint8)
        with naming_the_set():
            prepared(black, model.with_resize(STORED_RESIZE).preprocessing, model.name)

    def passes_to_make(self, first: int, end: int) -> int:
        """See :class:`assay.tasks.consistency.sets.AdversarialSet`."""
        return len(self._missing(first, end)) * self._passes_a_source

    @property
    def _passes_a_source(self) -> int:
        recipe = self.recipe
        return recipe.versions * recipe.spec.steps * len(recipe.members) * _PASSES_A_STEP

    def _missing(self, first: int, end: int) -> list[int]:
        return [index for index in range(first, end) if stored_rows(self.recipe.folder, index) is None]

    def block(self, first: int, end: int, context: RunContext) -> AdversarialBlock:
        """See :class:`assay.tasks.consistency.sets.AdversarialSet`."""
        recipe, missing = self.recipe, self._missing(first, end)
        try:
            group = max(1, context.batch_size // recipe.versions)
            for start in range(0, len(missing), group):
                some = missing[start : start + group]
                _bench(recipe, context.device).attack(some, context.savepoints)
                context.advance(len(some) * self._passes_a_source)
            _publish_whole(recipe)
        except OSError as error:
            raise UserError(
                f"{recipe.folder}: the adversarial set cannot be written ({error.strerror}); what is "
                "stored is sound: make room, or set ASSAY_CACHE to another folder, and run the same command again"
            ) from error
        sources = [index for index in range(first, end) for _ in range(recipe.versions)]
        rows = [row for index in range(first, end) for row in stored_rows(recipe.folder, index) or ()]
        offset = first * recipe.versions
        return AdversarialBlock(
            numbers=range(offset, offset + len(rows)),
            sources=sources,
            targets=[row["target"] for row in rows],
            outcomes={
                name: [row[name] for row in rows] for name in rows[0] if name.startswith(OUTCOME_PREFIXES)
            },
            pixels=lambda number: _verified(recipe, rows[number - offset]),
        )


def _verified(recipe: AdversarialSetRecipe, row: dict[str, Any]) -> Pixels:
    """A stored picture, checked to be the one that was made."""
    path = recipe.folder / row["file"]
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); {_make_again(recipe)}") from error
    if hashlib.sha256(content).hexdigest() != row["sha256"]:
        raise UserError(f"{path}: is not the image that was made; {_make_again(recipe)}")
    return _pixels(content)


def _make_again(recipe: AdversarialSetRecipe) -> str:
    return f"delete {recipe.folder} and run the same command again: it is made anew"


def _publish_whole(recipe: AdversarialSetRecipe) -> None:
    """Write table and manifest once every source is done."""
    manifest, total = recipe.folder / "manifest.yaml", len(recipe.data.samples)
    if manifest.is_file() or stored_count(recipe.folder) < total:
        return
    rows = [row for index in range(total) for row in stored_rows(recipe.folder, index) or ()]
    stored = publish(recipe.folder / "table.csv", table(rows))
    files = {row["file"]: row["sha256"] for row in rows} | {"table.csv": hashlib.sha256(stored).hexdigest()}
    publish(manifest, _manifest(recipe, files))


@lru_cache(maxsize=1)
def _bench(recipe: AdversarialSetRecipe, device: str) -> "_SetMaker":
    """The networks stay on the device from block to block."""
    return _SetMaker(recipe, torch.device(device))


class _SetMaker:
    """The recipe's networks on a device, at work on groups of source images."""

    def __init__(self, recipe: AdversarialSetRecipe, device: torch.device) -> None:
        self._recipe, self._device = recipe, device
        for model in (*recipe.members, *recipe.held_out):
            model.module.to(device)
        self._classifiers = [at_size(model.module, *model.info.input_shape[1:]) for model in recipe.members]
        self._judges = {f"member:{model.info.name}": reads_stored(model) for model in recipe.members}
        self._judges |= {f"held_out:{model.info.name}": reads_stored(model) for model in recipe.held_out}

    def attack(self, indices: Sequence[int], savepoints: Savepoints) -> None:
        """Make, store and judge the adversarial images of some sources."""
        recipe, spec = self._recipe, self._recipe.spec
        samples = [recipe.data.samples[index] for index in indices]
        images = torch.stack([recipe.frame.prepare(recipe.data.image(sample)) for sample in samples])
        images = images.to(self._device)
        targets = recipe.targets(self._classifiers, images, samples)
        stop = None if spec.stop_confidence is None else float(spec.stop_confidence)
        begin = partial(
            ensemble_attack,
            self._classifiers,
            images.repeat_interleave(targets.shape[1], 0),
            targets.flatten(),
            EnsembleAttack(spec.steps, float(spec.step_size), stop),
        )
        made = savepoints.loop(f"adversarial images of {indices[0]} to {indices[-1]}", begin)
        pictures = (
            to_uint8(made).permute(0, 2, 3, 1).cpu().numpy().reshape(*targets.shape, *made.shape[2:], -1)
        )
        for index, chosen, versions in zip(indices, targets.tolist(), pictures, strict=True):
            self._store(index, chosen, versions)

    def _store(self, index: int, targets: Sequence[int], versions: Pixels) -> None:
        """Publish one source's images, then its rows, which speak of the images that are stored."""
        sample = self._recipe.data.samples[index]
        names = [f"images/{index:06d}-{target:04d}.png" for target in targets]
        stored = [
            publish(self._recipe.folder / name, _png(version))
            for name, version in zip(names, versions, strict=True)
        ]
        hits = self._judged(stored, targets)
        rows = [
            {"file": name, "label": sample.label, "target": target, SOURCE_COLUMN: sample.unit_id}
            | {judge: hit[row] for judge, hit in hits.items()}
            | {"sha256": hashlib.sha256(stored[row]).hexdigest()}
            for row, (name, target) in enumerate(zip(names, targets, strict=True))
        ]
        publish(rows_path(self._recipe.folder, index), canonical_json(rows).encode())

    @torch.no_grad()
    def _judged(self, stored: Sequence[bytes], targets: Sequence[int]) -> dict[str, list[bool]]:
        """Whether each model answers the target, from the stored pixels and in a fresh pass."""
        pictures = [_pixels(content) for content in stored]
        wanted = torch.tensor(targets, device=self._device)
        outcomes = {}
        for name, model in self._judges.items():
            images = torch.stack([model.prepare(picture) for picture in pictures]).to(self._device)
            outcomes[name] = (model.module(images).argmax(1) == wanted).tolist()
        return outcomes


def _png(picture: Pixels) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture[..., 0] if picture.shape[2] == 1 else picture).save(buffer, format="PNG")
    return buffer.getvalue()


def _pixels(content: bytes) -> Pixels:
    picture = np.asarray(Image.open(io.BytesIO(content)))
    return picture[..., None] if picture.ndim == 2 else picture


def _manifest(recipe: AdversarialSetRecipe, files: dict[str, str]) -> bytes:
    data, spec = recipe.data.manifest, recipe.spec
    channels, height, width = recipe.frame.info.input_shape
    members = " + ".join(model.info.name for model in recipe.members)
    each = (
        "the data set's own target"
        if spec.targets == "given"
        else f"{spec.targets} least-likely targets an image"
    )
    document = {
        "schema": 1,
        "name": f"adversarial-{recipe.key[:12]}",
        "title": f"Targeted adversarial images of {data.name} ({members})",
        "label_space": data.label_space,
        "num_classes": data.num_classes,
        "licence": data.licence,
        "source": (
            f"Made from {data.name} (SHA-256 {recipe.data.sha256}): ensemble-optimisation attack (Dong et al.) by "
            f"{members}, {each}, {spec.steps} Adam steps of {float(255 * spec.step_size):g}/255, "
            f"at {height} x {width} pixels as {recipe.frame.info.name} reads them."
        ),
        "get": "Delete its folder and run the consistency task that names this ensemble; it is made again.",
        "channels": 3 if channels == 3 else 1,
        "layout": {"type": "table", "table": "table.csv", "target_column": "target"},
        "files": dict(sorted(files.items())),
    }
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=110).encode()
