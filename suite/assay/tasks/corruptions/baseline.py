"""AlexNet's published errors on ImageNet-C, which the mean corruption error is relative to.

Source: Hendrycks and Dietterich, Benchmarking Neural Network Robustness to Common Corruptions and Perturbations, ICLR
2019, section 4.1; shares of the 50,000 pictures at severities 1 to 5. Their means over the severities are the
denominators that papers print (gaussian_noise 88.6 %, shot_noise 89.4 %, impulse_noise 92.3 %, …).
"""

from collections.abc import Mapping

ALEXNET_ERRORS: Mapping[str, tuple[float, float, float, float, float]] = {
    "gaussian_noise": (0.69528, 0.82542, 0.93554, 0.98138, 0.99452),
    "shot_noise": (0.71224, 0.85108, 0.93574, 0.98182, 0.99146),
    "impulse_noise": (0.78374, 0.89808, 0.94870, 0.98720, 0.99548),
    "defocus_blur": (0.65624, 0.73202, 0.85036, 0.91364, 0.94714),
    "glass_blur": (0.64308, 0.75054, 0.88806, 0.91622, 0.93344),
    "motion_blur": (0.58430, 0.70048, 0.82108, 0.89750, 0.92638),
    "zoom_blur": (0.70008, 0.76992, 0.80784, 0.84198, 0.87198),
    "snow": (0.71726, 0.88392, 0.86468, 0.91870, 0.94952),
    "frost": (0.61390, 0.79734, 0.88790, 0.89942, 0.93430),
    "fog": (0.67474, 0.76050, 0.84378, 0.87260, 0.94500),
    "brightness": (0.45140, 0.48502, 0.54048, 0.62166, 0.72440),
    "contrast": (0.64548, 0.76150, 0.88874, 0.97760, 0.99270),
    "elastic_transform": (0.52596, 0.70116, 0.55686, 0.64076, 0.80554),
    "pixelate": (0.52218, 0.54620, 0.73728, 0.87092, 0.91262),
    "jpeg_compression": (0.51002, 0.54718, 0.57294, 0.65458, 0.74778),
}

MADE_OTHERWISE = ("elastic_transform",)
"""What the package imagecorruptions, and so we, make harder than ImageNet-C: pixels move by 2.5 instead of 2.0 at
severity 5, by 1.7 instead of 0.8 at severity 3. AlexNet's errors on one of the two say nothing of the other."""


def alexnet_error(corruption: str, severity: int) -> float:
    """The share of pictures that AlexNet gets wrong."""
    return ALEXNET_ERRORS[corruption][severity - 1]
