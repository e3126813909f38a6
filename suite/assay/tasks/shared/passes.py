"""How many images go through a network in one pass, where the user names no number; no part of an answer."""

from math import prod

GPU_VALUES = 40_000_000  # pixel values of all images in one pass


def images_in_a_pass(
    input_shape: tuple[int, int, int], device: str, *, cpu_values: int, most_on_cpu: int, most: int
) -> int:
    """As many images as the device takes well, at least one.

    Args:
        input_shape: (channels, height, width).
        device: ``cpu``, or any other.
        cpu_values: pixel values that a CPU takes well in one pass.
        most_on_cpu: images at most on a CPU.
        most: images at most elsewhere.
    """
    values, limit = (cpu_values, most_on_cpu) if device == "cpu" else (GPU_VALUES, most)
    return min(max(values // prod(input_shape), 1), limit)
