"""The adversarial set as a product: made once, found by the hash of what makes it, and a data set like any other.

::

    CACHE/products/<key>/images/000017-0123.png   an adversarial image: its source's index, its target
    CACHE/products/<key>/rows/000017.json         what became of one source; written after its images
    CACHE/products/<key>/table.csv                all rows, written when every source is done
    CACHE/products/<key>/manifest.yaml            the data manifest, written last

A file is never altered once it is there: several processes may work on one set, and the first to finish an image
decides its bytes. So an interrupted run goes on where it stopped.
"""

import hashlib
import io
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import yaml
from PIL import Image

from assay.attacks.ensemble import EnsembleAttack, at_size, ensemble_attack, to_uint8
from assay.canonical import canonical_json
from assay.data.pixels import Pixels
from assay.errors import UserError
from assay.tasks.consistency.product import publish, rows_path, stored_rows, table
from assay.tasks.consistency.recipe import Recipe, reads_stored
from assay.tasks.consistency.sets import SOURCE_COLUMN

SAY_SECONDS = 15.0
_BATCH = {"cpu": 16, "cuda": 128}  # adversarial images at work together

Say = Callable[[str], None]


def say_on_stderr(line: str) -> None:
    """Progress for a user who waits."""
    print(line, file=sys.stderr, flush=True)


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
            for row in stored_rows(recipe.folder, index) or ()
        ]
        stored = publish(recipe.folder / "table.csv", table(rows))
        files = {row["file"]: row["sha256"] for row in rows} | {
            "table.csv": hashlib.sha256(stored).hexdigest()
        }
        publish(manifest, _manifest(recipe, files))
    except OSError as error:
        raise UserError(
            f"{recipe.folder}: the adversarial set cannot be written ({error.strerror}); what is there is whole: "
            "make room, or set ASSAY_CACHE to another folder, and run the same command again"
        ) from error
    return manifest


def _make_images(recipe: Recipe, say: Say) -> None:
    total = len(recipe.data.samples)
    missing = [index for index in range(total) if stored_rows(recipe.folder, index) is None]
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
            f"{members}, {each}, {spec.steps} Adam steps of {float(255 * spec.step_size):g}/255, "
            f"at {height} x {width} pixels as {recipe.frame.info.name} reads them."
        ),
        "get": "Delete its folder and run the consistency task that names this ensemble; it is made again.",
        "channels": 3 if channels == 3 else 1,
        "layout": {"type": "table", "table": "table.csv", "target_column": "target"},
        "files": dict(sorted(files.items())),
    }
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=110).encode()
