"""What people call the figures of neuron consistency, and which way is better. Without torch."""

from collections.abc import Iterator

from assay.results.document import Direction, Metric

_FIGURES: dict[str, tuple[str, Direction]] = {
    "excess": ("Excess over shuffled labels", "up"),
    "excess_gap": ("Excess lost on adversarial images", "down"),
    "excess_adv": ("Excess on adversarial images", "up"),
    "consis": ("Consistency", "up"),
    "consis_adv": ("Consistency on adversarial images", "up"),
    "floor": ("Consistency of shuffled labels", "none"),
    "floor_adv": ("Consistency of shuffled labels, adversarial images", "none"),
}
_ATTACK = "attack_success:"


def titled(metrics: Iterator[Metric]) -> Iterator[Metric]:
    """The metrics with their titles and directions; what an attack on others reached is no merit of this network."""
    for metric in metrics:
        direction = "none" if metric.name.startswith(_ATTACK) else _parts(metric.name)[1]
        yield metric.model_copy(update={"title": title_of(metric.name), "direction": direction})


def title_of(name: str) -> str:
    """The title of a figure by its key."""
    if name.startswith(_ATTACK):
        return "Targets reached, " + name.removeprefix(_ATTACK).replace(":", " ", 1).replace("_", " ", 1)
    return _parts(name)[0]


def _parts(name: str) -> tuple[str, Direction]:
    key, _, sigma = name.partition("@")
    layer, _, figure = key.rpartition(":")
    words, direction = _FIGURES[figure]
    sigma, layer = sigma and f", sigma {sigma}", layer and f", layer {layer}"
    return words + sigma + layer, direction
