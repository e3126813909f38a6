import pytest
import torch

from assay.models import small_nets as nets
from assay.tasks.verification.network import read_network


@pytest.mark.parametrize(
    ("module", "neurons"),
    [(nets.mnist_fnn_200(), 200), (nets.mnist_fnn_800(), 800), (nets.mnist_cnn_2028(), 2028)],
)
def test_networks_have_the_neurons_of_their_names(module, neurons):
    assert read_network(module, (1, 28, 28)).neurons == neurons


def test_shipped_digits_network_has_its_stated_accuracy():
    images, labels = nets.digits_split()[1]
    assert len(labels) == 450
    assert nets.accuracy(nets.load_digits_fnn(), images, labels) == pytest.approx(435 / 450)


def test_the_recipe_depends_on_its_seed_only():
    images, labels = nets.digits_split()[0]
    torch.manual_seed(1)
    one = nets.train(nets.digits_fnn(), images, labels, epochs=1, seed=3)
    torch.manual_seed(2)
    other = nets.train(nets.digits_fnn(), images, labels, epochs=1, seed=3)
    another = nets.train(nets.digits_fnn(), images, labels, epochs=1, seed=4)
    assert torch.equal(one[1].weight, other[1].weight)
    assert not torch.equal(one[1].weight, another[1].weight)


@pytest.mark.slow
def test_shipped_weights_come_from_the_recipe():
    """The same seed gives the shipped network again, up to the order of sums on another machine."""
    (images, labels), (held_out, theirs) = nets.digits_split()
    again = nets.train(nets.digits_fnn(), images, labels, epochs=40)
    shipped = nets.load_digits_fnn()
    assert nets.accuracy(again, held_out, theirs) == pytest.approx(
        nets.accuracy(shipped, held_out, theirs), abs=0.02
    )
    assert torch.nn.functional.cosine_similarity(again[1].weight, shipped[1].weight).mean() > 0.95
