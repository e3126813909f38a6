"""How many images are attacked in one pass; no part of an answer."""

from assay.tasks.shared.passes import images_in_a_pass


def attacked_in_a_pass(input_shape: tuple[int, int, int], device: str) -> int:
    """2 of 224 x 224 on a CPU, whose cache they must fit; 100 was fastest for 28 x 28.

    Small batches also lose less to images that fall early.
    """
    return images_in_a_pass(input_shape, device, cpu_values=2 * 3 * 224 * 224, most_on_cpu=100, most=512)
