"""The adversarial set as a product: made once, found by the hash of what makes it, and a data set like any other.

::

    CACHE/products/<key>/images/000017-0123.png   an adversarial image: its source's index, its target
    CACHE/products/<key>/rows/000017.json         what became of one source; written after its images
    CACHE/products/<key>/table.csv                all rows, written when every source is done
    CACHE/products/<key>/manifest.yaml            the data manifest, written last

A file is never altered once it is there: several processes may work on one set, and the first to finish an image
decides its bytes. So an interrupted run goes on where it stopped.
"""

import csv
import hashlib
import io
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from PIL import Image
from torch import Tensor

from assay.attacks.ensemble import (
    Classifier,
    EnsembleAttack,
    at_size,
    ensemble_attack,
    least_likely_targets,
    to_uint8,
)
from assay.canonical import canonical_json, canonical_sha256
from assay.data.dataset import Dataset, Sample
from assay.data.pixels import Pixels
from assay.errors import UserError
from assay.models.info import UNSTATED
from assay.models.loaded import LoadedModel
from assay.models.zoo import load_model
from assay.resources import cache_folder
from assay.specs import identity_of
from assay.tasks.consistency.sets import SOURCE_COLUMN
from assay.tasks.consistency.spec import EnsembleSpec
from assay.tasks.images import label_space_mismatch

FORMAT = 1  # of the product; changed whenever the same recipe would give other images
SAY_SECONDS = 15.0
_BATCH = {"cpu": 16, "cuda": 128}  # adversarial images at work together

Say = Callable[[str], None]


def say_on_stderr(line: str) -> None:
    """Progress for a user who waits."""
    print(line, file=sys.stderr, flush=True)


def reads_stored(model: LoadedModel) -> LoadedModel:
    """The model as it reads stored adversarial images: resized directly to its input where sizes differ.

    The images are cropped already when they are made; another crop would cut part of the perturbation away.
    """
    return model.with_resize("direct")


@dataclass(frozen=True)
class Recipe:
    """All that decides an adversarial set."""

    spec: EnsembleSpec
    data: Dataset
    members: Sequence[LoadedModel]
    held_out: Sequence[LoadedModel]

    @property
    def frame(self) -> LoadedModel:
        """The member whose preparation frames the images: the one of the smallest input, the first where two tie.

        Every other member then enlarges, where the attack's bilinear resize and Pillow's agree; to shrink they
        would filter differently, and part of the perturbation would be lost between attack and storage.
        """
        return min(self.members, key=lambda model: model.info.input_shape[1] * model.info.input_shape[2])

    @cached_property
    def key(self) -> str:
        """SHA-256 of what makes the set."""
        return canonical_sha256(
            {
                "product": "ensemble-attack",
                "format": FORMAT,
                "data_sha256": self.data.sha256,
                "members": [_identity(model) for model in self.members],
                "held_out": [_identity(model) for model in self.held_out],
                "attack": identity_of(self.spec),
            }
        )

    @property
    def folder(self) -> Path:
        """Where the set lies."""
        return cache_folder() / "products" / self.key

    def targets(self, classifiers: Sequence[Classifier], images: Tensor, samples: Sequence[Sample]) -> Tensor:
        """(N, K) int64: the classes that each image is sent to, never its own."""
        if self.spec.targets == "given":
            return torch.tensor([[sample.target] for sample in samples], device=images.device)
        ranked = least_likely_targets(classifiers, images, self.spec.targets + 1)
        if self.data.manifest.label_space != self.members[0].info.label_space:
            return ranked[:, : self.spec.targets]  # labels mean something else, so none is a target's
        kept = [
            row[row != sample.label][: self.spec.targets] for row, sample in zip(ranked, samples, strict=True)
        ]
        return torch.stack(kept)


def _identity(model: LoadedModel) -> dict[str, Any]:
    info = model.info
    return {
        "name": info.name,
        "architecture": info.architecture,
        "weights_sha256": info.weights_sha256,
        "preprocessing": info.preprocessing.model_dump(mode="json"),
    }


def read_recipe(spec: EnsembleSpec, data: Dataset) -> Recipe:
    """Load the members and check that they can make a set from these data.

    Raises:
        UserError: unknown models, missing weights, members of different label spaces or channels, labels of
            another space than the data's, more targets than other classes, no targets where they should be given.
    """
    loaded = {name: load_model(name) for name in (*spec.ensemble, *spec.held_out)}
    recipe = Recipe(
        spec, data, [loaded[name] for name in spec.ensemble], [loaded[name] for name in spec.held_out]
    )
    first = recipe.members[0].info
    for model in loaded.values():
        info = model.info
        mine, theirs = (info.label_space, info.num_classes), (first.label_space, first.num_classes)
        if mine != theirs:
            raise UserError(
                f"adversarial: ensemble members have different label spaces: {first.name} has {theirs[1]} classes of "
                f"{theirs[0]}, {info.name} has {mine[1]} of {mine[0]}; choose models of one label space"
            )
        if info.input_shape[0] != first.input_shape[0]:
            raise UserError(
                f"adversarial: {first.name} takes {first.input_shape[0]} channels and {info.name} "
                f"{info.input_shape[0]}; choose models of one kind of image"
            )
    _check_targets(recipe)
    return recipe


def _check_targets(recipe: Recipe) -> None:
    data, first, wanted = recipe.data, recipe.members[0].info, recipe.spec.targets
    mismatch = None if data.samples[0].concepts else label_space_mismatch(first, data)
    if mismatch:
        raise UserError(f"adversarial: the ensemble does not fit data set {data.manifest.name}: {mismatch}")
    if wanted == "given":
        bad = [sample for sample in data.samples if sample.target in (None, sample.label)]
        if bad or first.label_space not in (data.manifest.label_space, UNSTATED):
            where = f" (first: {bad[0].unit_id})" if bad else ""
            raise UserError(
                f"adversarial: data set {data.manifest.name} does not give every image a target class other than its "
                f"own{where}; give a number of least-likely `targets` instead"
            )
    elif wanted > first.num_classes - 2:
        raise UserError(
            f"adversarial: {wanted} targets do not fit {first.num_classes} classes; "
            f"give `targets` from 1 to {first.num_classes - 2}"
        )


def make(recipe: Recipe, say: Say = say_on_stderr) -> Path:
    """The manifest of the recipe's set; what is missing of it is made first, on a GPU where there is one.

    Raises:
        UserError: an image cannot be read, or the folder cannot be written.
    """
    manifest = recipe.folder / "manifest.yaml"
    if manifest.is_file():
        return manifest
    try:
        _make_images(recipe, say)
        rows = [
            row
            for index in range(len(recipe.data.samples))
            for row in _stored_rows(recipe.folder, index) or ()
        ]
        table = _publish(recipe.folder / "table.csv", _table(rows))
        files = {row["file"]: row["sha256"] for row in rows} | {
            "table.csv": hashlib.sha256(table).hexdigest()
        }
        _publish(manifest, _manifest(recipe, files))
    except OSError as error:
        raise UserError(
            f"{recipe.folder}: the adversarial set cannot be written ({error.strerror}); what is there is whole: "
            "make room, or set ASSAY_CACHE to another folder, and run the same command again"
        ) from error
    return manifest


def _make_images(recipe: Recipe, say: Say) -> None:
    total = len(recipe.data.samples)
    missing = [index for index in range(total) if _stored_rows(recipe.folder, index) is None]
    members = " + ".join(model.info.name for model in recipe.members)
    say(
        f"adversarial set {recipe.key[:12]}: {total - len(missing)} of {total} images are done, attack by {members}"
    )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    bench = _Bench(recipe, device)
    each = 1 if recipe.spec.targets == "given" else recipe.spec.targets
    group = max(1, _BATCH[device.type] // each)
    said = time.monotonic()
    for start in range(0, len(missing), group):
        bench.attack(missing[start : start + group])
        if time.monotonic() - said > SAY_SECONDS:
            said = time.monotonic()
            done = total - len(missing) + min(start + group, len(missing))
            say(f"adversarial set {recipe.key[:12]}: {done} of {total} images")
    say(f"adversarial set {recipe.key[:12]}: complete, in {recipe.folder}")


class _Bench:
    """The recipe's networks on a device, at work on groups of source images."""

    def __init__(self, recipe: Recipe, device: torch.device) -> None:
        self._recipe, self._device = recipe, device
        for model in (*recipe.members, *recipe.held_out):
            model.module.to(device)
        self._classifiers = [at_size(model.module, *model.info.input_shape[1:]) for model in recipe.members]
        self._judges = {f"member:{model.info.name}": reads_stored(model) for model in recipe.members}
        self._judges |= {f"held_out:{model.info.name}": reads_stored(model) for model in recipe.held_out}

    def attack(self, indices: Sequence[int]) -> None:
        """Make, store and judge the adversarial images of some sources."""
        recipe, spec = self._recipe, self._recipe.spec
        samples = [recipe.data.samples[index] for index in indices]
        images = torch.stack([recipe.frame.prepare(recipe.data.image(sample)) for sample in samples])
        images = images.to(self._device)
        targets = recipe.targets(self._classifiers, images, samples)
        stop = None if spec.stop_confidence is None else float(spec.stop_confidence)
        made = ensemble_attack(
            self._classifiers,
            images.repeat_interleave(targets.shape[1], 0),
            targets.flatten(),
            EnsembleAttack(spec.steps, float(spec.step_size), stop),
        )
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
            _publish(self._recipe.folder / name, _png(version))
            for name, version in zip(names, versions, strict=True)
        ]
        hits = self._judged(stored, targets)
        rows = [
            {"file": name, "label": sample.label, "target": target, SOURCE_COLUMN: sample.unit_id}
            | {judge: hit[row] for judge, hit in hits.items()}
            | {"sha256": hashlib.sha256(stored[row]).hexdigest()}
            for row, (name, target) in enumerate(zip(names, targets, strict=True))
        ]
        _publish(_rows_path(self._recipe.folder, index), canonical_json(rows).encode())

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


def _rows_path(folder: Path, index: int) -> Path:
    return folder / "rows" / f"{index:06d}.json"


def _stored_rows(folder: Path, index: int) -> list[dict[str, Any]] | None:
    try:
        rows: list[dict[str, Any]] = json.loads(_rows_path(folder, index).read_text())
    except FileNotFoundError:
        return None
    return rows


def _png(picture: Pixels) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture[..., 0] if picture.shape[2] == 1 else picture).save(buffer, format="PNG")
    return buffer.getvalue()


def _pixels(content: bytes) -> Pixels:
    picture = np.asarray(Image.open(io.BytesIO(content)))
    return picture[..., None] if picture.ndim == 2 else picture


def _publish(path: Path, content: bytes) -> bytes:
    """Let ``path`` appear whole with this content, unless it is there already; returns what is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)  # unlike a rename it never replaces
    except FileExistsError:
        pass
    finally:
        Path(temporary).unlink(missing_ok=True)
    return path.read_bytes()


def _table(rows: Sequence[dict[str, Any]]) -> bytes:
    columns = [name for name in rows[0] if name not in ("sha256", "file")]
    ordered = ["file", "label", "target", SOURCE_COLUMN]
    buffer = io.StringIO()
    writer = csv.DictWriter(
        buffer, [*ordered, *sorted(set(columns) - set(ordered))], extrasaction="ignore", lineterminator="\n"
    )
    writer.writeheader()
    plain = {True: "true", False: "false"}
    writer.writerows(
        {name: plain[cell] if isinstance(cell, bool) else cell for name, cell in row.items()} for row in rows
    )
    return buffer.getvalue().encode()


def _manifest(recipe: Recipe, files: dict[str, str]) -> bytes:
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
            f"{members}, {each}, {spec.steps} Adam steps of {spec.step_size}, at {height} x {width} pixels as "
            f"{recipe.frame.info.name} reads them."
        ),
        "get": "Delete its folder and run the consistency task that names this ensemble; it is made again.",
        "channels": 3 if channels == 3 else 1,
        "layout": {"type": "table", "table": "table.csv", "target_column": "target"},
        "files": dict(sorted(files.items())),
    }
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=110).encode()
