import numpy as np
import pytest
import torch
from PIL import Image

from assay.tasks.verification import figures
from assay.tasks.verification.grammar import parse_theta
from assay.tasks.verification.problem import ProofQuestion
from assay.tasks.verification.verify import verify


@pytest.mark.parametrize(
    ("texts", "labels"),
    [
        (["brightness:0:0.3", "patch:0:0.5:2:2:3x3"], "all"),
        (["brightness:0:0.1", "patch:0:0.3:2:2:3x3", "translation:x:0:1"], "predicted"),
    ],
)
def test_pictures_are_written(texts, labels, digits_network, digits, tmp_path):
    theta = parse_theta(texts)
    question = ProofQuestion(theta, labels)
    result = verify(digits_network, digits[0], question)
    figures.region_map(result, theta, digits[0], tmp_path / "regions.png")
    figures.saliency_panels(
        digits_network, digits[0], theta, [theta.lower, theta.upper], tmp_path / "maps.png"
    )
    figures.ray(digits_network, digits[0], question, result.label, tmp_path / "ray.png")
    for name in ("regions", "maps", "ray"):
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert picture.format == "PNG"
            assert min(picture.size) > 100


def test_region_map_shows_each_kind_of_region_in_its_share(digits_network, digits, tmp_path):
    """The coloured pixels of a region map are in the proportion of the shares."""
    theta = parse_theta(["brightness:0:0.5", "patch:0:1:2:2:3x3"])
    result = verify(digits_network, digits[0], ProofQuestion(theta, "predicted", deltas=(1000.0,)))
    figures.region_map(result, theta, digits[0], tmp_path / "regions.png")
    picture = torch.from_numpy(np.asarray(Image.open(tmp_path / "regions.png").convert("RGB")).copy())
    half = picture.shape[1] // 2
    blue = (picture[:, half:].int() - torch.tensor([0x44, 0x77, 0xAA])).abs().sum(2) < 12
    red = (picture[:, half:].int() - torch.tensor([0xCC, 0x33, 0x11])).abs().sum(2) < 12
    yellow = (picture[:, half:].int() - torch.tensor([0xEE, 0xCC, 0x66])).abs().sum(2) < 12
    drawn = blue.sum() + red.sum() + yellow.sum()
    cr = result.findings[1]
    for pixels, share in ((blue, cr.satisfied), (red, cr.violated), (yellow, cr.partial)):
        assert float(pixels.sum() / drawn) == pytest.approx(share, abs=0.02)
