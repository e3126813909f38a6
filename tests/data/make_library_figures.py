"""Makes library_figures.json anew: means and hashes of what the package imagecorruptions 1.1.2 makes of two pictures.

Needs `pip install imagecorruptions==1.1.2 "setuptools<81"` in an environment of its own (OpenCV comes with it) and
foolbox's pictures. With that environment's packages on PYTHONPATH, tests/performance/test_perf_corruptions.py sets its
loop beside ours.
What the package's code of 2020 calls by names that NumPy 2 and scikit-image 0.26 no longer have is put back first; and
salt and pepper are drawn from NumPy's global stream, as scikit-image did then.

    python make_library_figures.py FOLDER_OF_FOOLBOX_PICTURES > library_figures.json
"""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import skimage.filters
import skimage.util
from PIL import Image

SEED = 7
PICTURES = {"imagenet_00_243.jpg": (96, 64), "imagenet_07_609.jpg": (50, 70)}  # width, height

_gaussian = skimage.filters.gaussian


def gaussian(*arrays, multichannel=None, **options):
    return _gaussian(*arrays, **options, **({"channel_axis": -1} if multichannel else {}))


def random_noise(image, mode, amount):
    hit = np.random.random_sample(image.shape) <= amount
    salt = np.random.random_sample(image.shape) <= 0.5
    return np.where(hit, salt.astype(float), image)


def repaired_library():
    """The package, with what it calls by names of 2020."""
    np.float_ = np.float64
    skimage.filters.gaussian, skimage.util.random_noise = gaussian, random_noise
    import imagecorruptions

    return imagecorruptions


def main(folder):
    imagecorruptions = repaired_library()
    found = {}
    for name, size in PICTURES.items():
        picture = np.asarray(Image.open(folder / name).convert("RGB").resize(size, Image.Resampling.BOX))
        rows = {}
        for corruption in imagecorruptions.get_corruption_names("all"):
            rows[corruption] = []
            for severity in (1, 2, 3, 4, 5):
                np.random.seed(SEED)
                made = imagecorruptions.corrupt(picture, corruption_name=corruption, severity=severity)
                digest = hashlib.sha256(np.ascontiguousarray(made).tobytes()).hexdigest()[:16]
                rows[corruption].append([round(float(made.mean()), 4), digest])
        found[name] = {"size": list(size), "corruptions": rows}
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
