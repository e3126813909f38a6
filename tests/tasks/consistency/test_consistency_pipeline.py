"""From pixels to consis(n): a network whose neurons are known class detectors, and one of random features."""

import numpy as np
import pytest
import torch
from torch import nn

from assay.tasks.consistency.activations import pooled_activations
from assay.tasks.consistency.dyads import likeness
from assay.tasks.consistency.metric import one_hot, score_neurons
from assay.tasks.consistency.topk import TopK

RED, GREEN, BLUE = range(3)


@pytest.fixture(scope="module")
def coloured_images():
    """30 dark images a class; one pixel of the class's colour, its brightness rising within the class."""
    labels = np.tile([RED, GREEN, BLUE], 30)
    images = torch.full((90, 3, 6, 6), 0.1)
    for index, label in enumerate(labels):
        images[index, label, index % 6, (index // 6) % 6] = 0.2 + index / 200
    return images, labels


@pytest.fixture(scope="module")
def detectors():
    """Neurons 0 to 2 see one colour each; neuron 3 sees red and green alike; neuron 4 sees no difference."""
    model = nn.Sequential(nn.Conv2d(3, 5, 1, bias=False), nn.Flatten())
    rows = [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [0, 0, 0]]
    model[0].weight.data = torch.tensor(rows, dtype=torch.float32).reshape(5, 3, 1, 1)
    return model.eval()


def top_images(model, images, k, blocks):
    whole = None
    for at in np.array_split(np.arange(len(images)), blocks):
        answers = pooled_activations(model, images[at], ["0"])["0"].numpy()
        part = TopK(answers.shape[1], k)
        part.update(answers, at)
        whole = whole or TopK(answers.shape[1], k)
        whole.merge(part.result())
    return whole.result()


def test_class_detectors_score_what_hand_work_gives(coloured_images, detectors):
    images, labels = coloured_images
    a = np.array([[1, 0.5, 0], [0.5, 1, 0], [0, 0, 1]])  # red is near green, blue is far from both
    top = top_images(detectors, images, k=4, blocks=1)
    scores = score_neurons(top.images, one_hot(labels, 3), a)
    # neuron 3: half red, half green: 1/4 + 1/4 + 2 x 1/4 x 0.5; neuron 4 ties, so images 0 to 3: R G B R
    neuron_4 = 1 / 4 + 1 / 16 + 1 / 16 + 2 * (1 / 2) * (1 / 4) * 0.5
    assert scores.consis == pytest.approx([1, 1, 1, 0.75, neuron_4])
    assert scores.top_class[:3].tolist() == [RED, GREEN, BLUE]
    assert scores.floor == pytest.approx(np.full(5, 1 / 4 + 3 / 4 * mean_of_other_pairs(labels, a)))


def mean_of_other_pairs(labels, a):
    pairs = a[np.ix_(labels, labels)]
    return (pairs.sum() - np.trace(pairs)) / (len(labels) * (len(labels) - 1))


@pytest.mark.parametrize("blocks", [2, 7, 90])
def test_blocks_do_not_change_the_top_images(coloured_images, detectors, blocks):
    images, _ = coloured_images
    whole, split = (top_images(detectors, images, 4, n) for n in (1, blocks))
    assert (whole.images == split.images).all()


def test_random_features_of_random_images_sit_at_the_floor():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 600, 5), nn.Flatten()).eval()
    images, labels = torch.rand(120, 3, 8, 8), np.random.default_rng(0).integers(0, 10, 120)
    a = 0.5 * np.eye(10) + 0.5
    top, membership = top_images(model, images, 3, 2).images, one_hot(labels, 10)
    scores, found = score_neurons(top, membership, a), likeness(top, membership, a)
    half = found.times(1 - found.same).half_width()
    assert abs(scores.consis.mean() - scores.floor.mean()) < half < 0.05
