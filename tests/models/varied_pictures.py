"""Twenty pictures of many sizes and shapes, for comparing preprocessing with its makers' own."""

import importlib.util
from pathlib import Path

import numpy as np
from PIL import Image

_SIZES = (  # (width, height): smaller and larger than every input, square, odd, flat, tall, and equal to inputs
    (17, 23), (32, 32), (47, 31), (64, 200), (129, 97), (160, 160), (223, 225), (224, 224), (225, 224), (256, 341),
    (299, 300), (320, 240), (333, 500), (384, 384), (401, 301), (448, 447), (500, 375), (513, 120), (90, 640),
    (1031, 700),
)  # fmt: skip


def twenty_pictures() -> list[Image.Image]:
    """Parts of foolbox's photographs at their own scale, with noise of one pixel, which no resize hides."""
    spec = importlib.util.find_spec("foolbox")
    assert spec is not None
    assert spec.origin is not None
    files = sorted((Path(spec.origin).parent / "data").glob("imagenet_*"))
    return [_picture(files[number % len(files)], number, size) for number, size in enumerate(_SIZES)]


def _picture(file: Path, seed: int, size: tuple[int, int]) -> Image.Image:
    photo = Image.open(file).convert("RGB")
    if photo.width < size[0] or photo.height < size[1]:
        photo = photo.resize((max(photo.width, size[0]), max(photo.height, size[1])))
    pixels = np.asarray(photo.crop((0, 0, *size))).astype(np.int16)
    noise = np.random.default_rng(seed).integers(-40, 41, pixels.shape)
    return Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8))
