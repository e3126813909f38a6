"""Costs of the consistency measure, against bare passes taken in the same run, interleaved."""

import statistics
import time
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from assay.attacks.ensemble import EnsembleAttack, ensemble_attack
from assay.models.zoo import load_model
from assay.tasks.consistency.activations import pooled_activations
from assay.tasks.consistency.hierarchy import IMAGENET_HIERARCHY, parse_hierarchy, path_lengths, similarity
from assay.tasks.consistency.metric import concept_shares, consistency, one_hot
from assay.tasks.consistency.topk import TopK, top_count

ROUNDS = 7


def cpu_seconds(work: Callable[[], object]) -> float:
    """Of all threads together: a figure must not depend on who else uses the machine."""
    start = time.process_time()
    work()
    return time.process_time() - start


def ratio(work: Callable[[], object], bare: Callable[[], object]) -> float:
    """Median over rounds of the work's CPU time to the bare one's, taken side by side."""
    work(), bare()
    pairs = [(cpu_seconds(work), cpu_seconds(bare)) for _ in range(ROUNDS)]
    return statistics.median(a / b for a, b in pairs)


@pytest.fixture(scope="module")
def lites():
    return [load_model(name).module for name in ("efficientnet_lite0", "efficientnet_lite1")]


@pytest.fixture(scope="module")
def images():
    return torch.rand((16, 3, 224, 224), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("layers", [["net.conv_head"], ["net.conv_head", "net.blocks.5.3", "net.blocks.3.2"]])
def test_activations_and_top_k_cost_at_most_a_tenth_of_the_forward_pass(lites, images, layers):
    running: dict[str, TopK] = {}
    offered = iter(range(10**6))

    def measured():
        for name, answers in pooled_activations(lites[0], images, layers).items():
            top = running.setdefault(name, TopK(answers.shape[1], 30))
            top.update(answers.numpy(), np.arange(16) + 16 * next(offered))

    def bare():
        with torch.no_grad():
            lites[0](images)

    assert ratio(measured, bare) <= 1.1


def test_the_attack_costs_at_most_a_tenth_more_than_its_passes(lites, images):
    some, targets, steps = images[:4], torch.arange(4), 5

    def bare():
        for _ in range(steps):
            for model in lites:
                inputs = some.clone().requires_grad_(True)
                torch.autograd.grad(F.cross_entropy(model(inputs), targets, reduction="sum"), inputs)

    assert ratio(lambda: ensemble_attack(lites, some, targets, EnsembleAttack(steps=steps)), bare) <= 1.1


def test_images_at_their_target_stop_early(lites, images):
    some = images[:4]
    targets = lites[0](some).argmax(1)
    sure = nn.Sequential(lites[0], nn.Softmax(1))  # logits x 1e4: certain of the answer it gives

    def certain(x):
        return 1e4 * sure(x)

    def attack(stop):
        return lambda: ensemble_attack([certain], some, targets, EnsembleAttack(10, stop_confidence=stop))

    assert ratio(attack(0.99), attack(None)) < 0.25


def test_consistency_of_4096_neurons_over_1000_classes():
    a = similarity(path_lengths(parse_hierarchy(IMAGENET_HIERARCHY.read_bytes(), "imagenet")), 1.0)
    rng = np.random.default_rng(0)
    membership = one_hot(rng.integers(0, 1000, 50_000), 1000)
    shares = concept_shares(rng.integers(0, 50_000, (4096, 500)), membership)
    assert min(cpu_seconds(lambda: consistency(shares, a)) for _ in range(ROUNDS)) < 0.2


def test_a_stream_of_50000_images_and_4096_neurons_stays_under_two_gigabytes():
    n_images, n_neurons, batch = 50_000, 4096, 100
    rng = np.random.default_rng(0)
    tracemalloc.start()
    top = TopK(n_neurons, top_count(n_images) + 1)
    for start in range(0, n_images, batch):
        answers = rng.standard_normal((batch, n_neurons), dtype=np.float32)
        top.update(answers, np.arange(start, start + batch))
    kept = top.result()
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert kept.images.shape == (n_neurons, 501)
    assert peak_bytes < 2 * 1024**3
