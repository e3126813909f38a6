"""Two networks of equal weights are told apart by whatever makes them answer otherwise."""

import functools
import subprocess
import sys

import pytest
import torch
from torch import nn

from assay.models.fingerprint import fingerprint
from assay.models.info import same_answers
from assay.models.structure import structure_sha256
from digits_models import linear_net


class Settings:
    def __init__(self, level):
        self.level = level


class Defended(nn.Module):
    """The digits net behind a change of its input, which a module can hold in many ways."""

    def __init__(self, **held):
        super().__init__()
        self.net = linear_net()
        for name, value in held.items():
            setattr(self, name, value)

    def forward(self, images):
        return self.net(images)


def halve(images, by=2):
    return images / by


def times(factor):
    return lambda images: images * factor


def hooked(change):
    net = Defended()
    net.net.register_forward_pre_hook(change)
    return net


def with_buffer(value):
    net = Defended()
    net.register_buffer("level", torch.tensor(value), persistent=False)
    return net


NETWORKS = {
    "plain": lambda: Defended(),
    "a number": lambda: Defended(levels=4),
    "another number": lambda: Defended(levels=5),
    "a float": lambda: Defended(levels=4.0),
    "a string": lambda: Defended(levels="4"),
    "a list": lambda: Defended(levels=[1, 2]),
    "a tuple": lambda: Defended(levels=(1, 2)),
    "a dictionary": lambda: Defended(levels={"a": 1}),
    "another dictionary": lambda: Defended(levels={"a": 2}),
    "an object": lambda: Defended(settings=Settings(3)),
    "another object": lambda: Defended(settings=Settings(4)),
    "a function": lambda: Defended(change=halve),
    "another function": lambda: Defended(change=torch.relu),
    "a third function": lambda: Defended(change=torch.tanh),
    "a closure": lambda: Defended(change=times(2)),
    "another closure": lambda: Defended(change=times(3)),
    "a lambda": lambda: Defended(change=lambda images: images + 1),
    "another lambda": lambda: Defended(change=lambda images: images - 1),
    "a partial": lambda: Defended(change=functools.partial(halve, by=3)),
    "a method": lambda: Defended(change=Settings(3).__init__),
    "a tensor": lambda: Defended(mask=torch.ones(3)),
    "another tensor": lambda: Defended(mask=torch.zeros(3)),
    "a buffer that is not saved": lambda: with_buffer(1.0),
    "another such buffer": lambda: with_buffer(2.0),
    "a hook": lambda: hooked(lambda _module, inputs: (inputs[0] + 1,)),
    "another hook": lambda: hooked(lambda _module, inputs: (inputs[0] - 1,)),
    "a hidden network": lambda: Defended(hidden=[nn.Sequential(linear_net(), nn.ReLU())]),
    "another hidden network": lambda: Defended(hidden=[nn.Sequential(linear_net(), nn.Tanh())]),
    "a generator": lambda: Defended(noise=torch.Generator().manual_seed(1)),
    "another generator": lambda: Defended(noise=torch.Generator().manual_seed(2)),
    "another activation": lambda: nn.Sequential(linear_net(), nn.ReLU()),
    "a setting of PyTorch's": lambda: nn.Sequential(linear_net(), nn.LeakyReLU(0.1)),
    "that setting, changed": lambda: nn.Sequential(linear_net(), nn.LeakyReLU(0.2)),
}


def test_whatever_a_network_holds_tells_it_from_the_others():
    hashes = {name: structure_sha256(make()) for name, make in NETWORKS.items()}
    assert len(set(hashes.values())) == len(hashes)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_same_network_made_twice_has_one_structure(name):
    assert structure_sha256(NETWORKS[name]()) == structure_sha256(NETWORKS[name]())


def test_weights_are_not_part_of_the_structure():
    net = linear_net()
    before = structure_sha256(net)
    with torch.no_grad():
        net[1].weight += 1
    assert structure_sha256(net) == before


def test_a_network_that_holds_itself_ends():
    net = Defended()
    net.settings = Settings(None)
    net.settings.level = net.settings
    net.owner = [net]
    assert structure_sha256(net) == structure_sha256(net)


FACTORY = """
from torch import nn
import helper_of_mine
def net():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
"""
PRINT = """
import sys, torch
from assay.models.structure import structure_sha256
torch.manual_seed(0)
import factory_of_mine
print(structure_sha256(factory_of_mine.net(), ["factory_of_mine"]))
"""


def printed(folder, factory=FACTORY, helper="LEVEL = 1\ndef help_me(): return LEVEL\n"):
    """The structure as a process of its own finds it, with code in ``folder``."""
    folder.mkdir()
    (folder / "factory_of_mine.py").write_text(factory)
    (folder / "helper_of_mine.py").write_text(helper)
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(folder)!r})\n{PRINT}"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_another_process_in_another_folder_finds_the_same_structure(tmp_path):
    assert printed(tmp_path / "a") == printed(tmp_path / "b")


def test_the_factory_s_text_and_that_of_what_it_imports_count(tmp_path):
    as_it_was = printed(tmp_path / "a")
    assert printed(tmp_path / "b", factory=FACTORY + "# changed\n") != as_it_was
    assert printed(tmp_path / "c", helper="LEVEL = 2\ndef help_me(): return LEVEL\n") != as_it_was


def test_a_class_made_in_memory_is_told_by_what_its_methods_do():
    def made(text):
        space = {"__name__": "made_in_memory", "nn": nn}
        exec(f"class Net(nn.Module):\n    def forward(self, x):\n        return {text}\n", space)
        return space["Net"]()

    assert (
        structure_sha256(made("x + 1")) == structure_sha256(made("x + 1")) != structure_sha256(made("x + 2"))
    )


def test_fingerprints_are_of_answers():
    net, shape = linear_net(), (1, 8, 8)
    assert len(fingerprint(net, shape)) == 16
    assert same_answers(fingerprint(net, shape), fingerprint(linear_net(), shape))
    for other in (
        nn.Sequential(net, nn.Tanh()),
        nn.Sequential(nn.Tanh(), net),
        nn.Sequential(net, nn.Softmax(1)),
    ):
        assert not same_answers(fingerprint(net, shape), fingerprint(other, shape))


def test_the_last_bits_do_not_make_another_network():
    one = fingerprint(linear_net(), (1, 8, 8))
    assert same_answers(one, fingerprint(linear_net().double().float(), (1, 8, 8)))
    assert same_answers(one, [number * (1 + 1e-5) for number in one])
    assert not same_answers(one, [number * 1.01 for number in one])


class Noisy(nn.Module):
    """Randomised smoothing's one draw, from PyTorch's generator or from one of its own."""

    def __init__(self, generator=None):
        super().__init__()
        self.net, self.generator = linear_net(), generator

    def forward(self, images):
        return self.net(images + torch.randn(images.shape, generator=self.generator))


def test_a_random_network_is_compared_as_far_as_seeds_reach():
    assert same_answers(fingerprint(Noisy(), (1, 8, 8)), fingerprint(Noisy(), (1, 8, 8)))
    assert not same_answers(fingerprint(Noisy(), (1, 8, 8)), fingerprint(linear_net(), (1, 8, 8)))
    assert fingerprint(Noisy(torch.Generator()), (1, 8, 8)) is None


def test_pytorch_s_generator_is_left_as_it_was():
    net = Noisy()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    fingerprint(net, (1, 8, 8))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    "net", [nn.Linear(3, 2), nn.Flatten(0), nn.Sequential(linear_net(), nn.Threshold(1e9, float("nan")))]
)
def test_a_network_without_answers_has_no_fingerprint(net):
    assert fingerprint(net, (1, 8, 8)) is None
