"""Small folders in the public layouts of data sets that say where a picture's object is."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.io import savemat

WNIDS = [f"n{number:08d}" for number in range(200)]
FLOWER, GROUND, SEAM = (128, 0, 0), (0, 0, 128), (0, 0, 0)
TRIMAP = np.array([[FLOWER, SEAM], [GROUND, FLOWER], [(0, 128, 0), FLOWER]], np.uint8)


def picture(path: Path, size: tuple[int, int] = (64, 64), level: int = 0) -> None:
    """A picture of one grey."""
    painted(path, np.full(size[::-1], level, np.uint8))


def painted(path: Path, pixels: npt.NDArray[np.uint8]) -> None:
    """A picture of these greys, (H, W)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    image.save(path, "png") if path.suffix == ".png" else image.save(path, "jpeg", quality=95)


def tiny_imagenet(root: Path) -> Path:
    """Tiny-ImageNet-200: a training picture a class and two in the last, two for validation.

    In training pictures the object is bright and what is outside its box is black.
    """
    folder = root / "tiny-imagenet-200"
    for wnid in WNIDS:
        boxed(folder, wnid, 0, (1, 2, 10, 62))
    boxed(folder, WNIDS[-1], 1, (0, 0, 63, 64), level=200)  # passes the edge
    (folder / "wnids.txt").write_text("\n".join(reversed(WNIDS)) + "\n")
    for number in range(2):
        picture(folder / f"val/images/val_{number}.JPEG")
    (folder / "val/val_annotations.txt").write_text(
        f"val_0.JPEG\t{WNIDS[7]}\t0\t32\t44\t62\nval_1.JPEG\t{WNIDS[3]}\t5\t5\t5\t5\n"
    )
    picture(folder / "test/images/test_0.JPEG")
    (folder / "words.txt").write_text("n00000000\tnothing\n")
    return folder


def boxed(folder: Path, wnid: str, number: int, box: tuple[int, int, int, int], level: int = 255) -> None:
    """One more training picture, and its line in the class's table of boxes."""
    left, top, right, bottom = box
    pixels = np.zeros((64, 64), np.uint8)
    pixels[top : bottom + 1, left : right + 1] = level
    painted(folder / f"train/{wnid}/images/{wnid}_{number}.JPEG", pixels)
    with (folder / f"train/{wnid}/{wnid}_boxes.txt").open("a") as table:
        table.write(f"{wnid}_{number}.JPEG\t{left}\t{top}\t{right}\t{bottom}\n")


def flowers17(root: Path, magnified: int = 1) -> Path:
    """Oxford Flower-17: six pictures of 3 x 2, some times magnified; two are segmented, and bright in the flower."""
    folder = root / "oxford-flowers17"
    trimap = TRIMAP.repeat(magnified, 0).repeat(magnified, 1)
    for number in (1, 80, 82, 1360):
        picture(folder / f"jpg/image_{number:04d}.jpg", trimap.shape[1::-1], 100)
    for number in (2, 81):
        painted(
            folder / f"jpg/image_{number:04d}.jpg",
            np.where((trimap == FLOWER).all(2), 255, 0).astype(np.uint8),
        )
        segmented(folder, number, trimap)
    savemat(folder / "datasplits.mat", {"trn1": [[1, 80, 81, 1360]], "val1": [[82]], "tst1": [[2]]})
    return folder


def segmented(folder: Path, number: int, trimap: npt.NDArray[np.uint8]) -> None:
    """The trimap, (H, W, 3), of a flower's picture."""
    path = folder / f"trimaps/image_{number:04d}.png"
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(trimap).convert("P", palette=Image.Palette.ADAPTIVE).save(path)
