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
    assert nets.accuracy(nets.load_digits_fnn(), images, labels) == pytest.approx(410 / 450)


def test_the_recipe_depends_on_its_seed_only():
    images, labels = nets.digits_split()[0]
    torch.manual_seed(1)
    one = nets.train(nets.digits_fnn(), images, labels, epochs=1, seed=3)
    torch.manual_seed(2)
    other = nets.train(nets.digits_fnn(), images, labels, epochs=1, seed=3)
    another = nets.train(nets.digits_fnn(), images, labels, epochs=1, seed=4)
    assert torch.equal(one[1].weight, other[1].weight)
    assert not torch.equal(one[1].weight, another[1].weight)


def test_training_leaves_the_number_of_threads_alone_and_does_not_depend_on_it():
    images, labels = nets.digits_split()[0]
    before = torch.get_num_threads()
    trained = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            trained.append(nets.train(nets.digits_fnn(), images[:256], labels[:256], epochs=2))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert torch.equal(trained[0][1].weight, trained[1][1].weight)


@pytest.mark.slow
def test_shipped_weights_come_from_the_recipe():
    """The same seed gives the shipped network again, but for the last bit of a rare weight on another machine."""
    again = nets.train(nets.digits_fnn(), *nets.digits_split()[0], epochs=40)
    for name, shipped in nets.load_digits_fnn().state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], shipped, rtol=1e-6, atol=1e-8)
