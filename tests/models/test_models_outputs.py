"""What networks return, and the logits in it; networks that write into their input or take no single image."""

from collections import OrderedDict, namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.googlenet import GoogLeNetOutputs
from torchvision.models.inception import InceptionOutputs

from assay.common.errors import UserError
from assay.models.build import assemble
from assay.models.check import LogitsShapeError, check_logits, probe
from assay.models.info import Card, OutputChoice, Preprocessing
from assay.models.layers import full_name, hooked
from assay.models.loaded import LoadedModel, Normalised
from assay.models.outputs import Logits

CLASSES = 4


class Answers(nn.Module):
    """A small classifier whose answer is put into something."""

    def __init__(self, answer: Callable[[Tensor], Any]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inner = nn.Sequential(nn.Flatten(), nn.Linear(12, CLASSES))
        self.answer = answer

    def forward(self, pixels: Tensor) -> Any:
        return self.answer(self.inner(pixels))


def model(net: nn.Module, mean: float = 0.0, **said: Any) -> LoadedModel:
    preprocessing = Preprocessing(crop=(2, 2), mean=(mean,) * 3, std=(1.0,) * 3)
    card = Card(
        "net", "here", "MIT", "net", "letters", said.pop("num_classes", CLASSES), preprocessing, **said
    )
    return assemble(net, card, "0" * 64)


@dataclass
class Answer:
    logits: Tensor
    hidden: Tensor | None = None


class Slotted:
    __slots__ = ("logits",)

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits


class ModelOutput(OrderedDict):
    """As transformers': a mapping whose keys are attributes too."""

    def __getattr__(self, name: str) -> Any:
        return self[name]


Pair = namedtuple("Pair", "features scores")  # as older code has them


def features(logits: Tensor, width: int = 7) -> Tensor:
    return logits.new_zeros(len(logits), width)


ANSWERS: dict[str, tuple[Callable[[Tensor], Any], str]] = {
    "tuple": (lambda y: (y, None), "output[0] of a tuple"),
    "list": (lambda y: [None, y], "output[1] of a list"),
    "features before": (lambda y: (features(y), y), "output[1] of a tuple"),
    "map before": (lambda y: (y[:, :, None, None], y), "output[1] of a tuple"),
    "dict": (lambda y: {"logits": y}, "output['logits'] of a dict"),
    "dict of another key": (lambda y: {"out": y, "loss": y.sum()}, "output['out'] of a dict"),
    "logits beside probabilities": (
        lambda y: {"probabilities": y.softmax(1), "logits": y}, "output['logits'] of a dict"),
    "namespace": (lambda y: SimpleNamespace(logits=y, loss=None), "output.logits of a SimpleNamespace"),
    "dataclass": (lambda y: Answer(y, y), "output.logits of an Answer"),
    "slots": (Slotted, "output.logits of a Slotted"),
    "transformers": (lambda y: ModelOutput(loss=None, logits=y), "output['logits'] of a ModelOutput"),
    "Inception": (lambda y: InceptionOutputs(y, y + 1), "output.logits of an InceptionOutputs"),
    "GoogLeNet": (lambda y: GoogLeNetOutputs(y, y + 1, y + 2), "output.logits of a GoogLeNetOutputs"),
    "named tuple": (lambda y: Pair(features(y), y), "output.scores of a Pair"),
    "nested": (lambda y: ({"head": {"logits": y}},), "output[0]['head']['logits'] of a tuple"),
}  # fmt: skip


@pytest.mark.parametrize("how", ANSWERS)
@pytest.mark.parametrize("mean", [0.0, 0.5])
def test_the_logits_are_taken_and_it_is_said(how: str, mean: float) -> None:
    answer, words = ANSWERS[how]
    wrapped, plain = model(Answers(answer), mean), model(Answers(lambda y: y), mean)
    pixels = torch.rand(3, 3, 2, 2, requires_grad=True)
    assert torch.equal(wrapped.module(pixels), plain.module(pixels))
    slopes = [torch.autograd.grad(each.module(pixels)[:, 1].sum(), pixels)[0] for each in (wrapped, plain)]
    assert torch.equal(*slopes)
    assert wrapped.info.notes == (f"logits are {words}",)
    assert wrapped.info.structure_sha256 != plain.info.structure_sha256
    assert wrapped.info.fingerprint == plain.info.fingerprint
    probe(wrapped, "cpu")


def test_a_network_that_returns_logits_is_left_as_it_is() -> None:
    net = Answers(lambda y: y)
    loaded = model(net)
    assert loaded.module is net
    assert loaded.info.notes == ()
    assert isinstance(model(net, mean=0.5).module, Normalised)


def test_layers_of_a_wrapped_network_are_found_by_the_names_that_they_have_in_it() -> None:
    loaded = model(Answers(lambda y: (y, None)), mean=0.5)
    assert isinstance(loaded.module, Normalised)
    assert isinstance(loaded.module.net, Logits)
    assert full_name(loaded.module, "inner.1") == "net.net.inner.1"
    seen = []
    with hooked(loaded.module, ["inner.1"], lambda name, output: seen.append((name, tuple(output.shape)))):
        loaded.module(torch.rand(2, 3, 2, 2))
    assert seen == [("inner.1", (2, CLASSES))]


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (lambda _: None, "returns a NoneType, in which no tensor is logits"),
        (lambda _: "cat", "returns a str, in which no tensor is logits"),
        (lambda y: y.detach().numpy(), "returns a ndarray, in which no tensor is logits"),
        (lambda _: {}, "returns a dict, in which no tensor is logits"),
        (lambda y: y[:, :, None, None], r"output is a tensor of shape \(2, 4, 1, 1\) for 2 images"),
        (lambda y: y[0], r"output is a tensor of shape \(4,\) for 2 images"),
        (lambda y: {"logits": y[:, :, None]}, r"output\['logits'\] is a tensor of shape \(2, 4, 1\)"),
        (
            lambda y: {"out": y, "aux": y},
            r"several tensors can be the logits, output\['out'\] \(2, 4\) and output\['aux'\] \(2, 4\); say which",
        ),
        (lambda y: (y, features(y, 3), y), r"output\[0\] \(2, 4\) and output\[2\] \(2, 4\); say which"),
    ],
)
def test_an_output_without_logits_or_with_several_is_refused(
    answer: Callable[[Tensor], Any], complaint: str
) -> None:
    with pytest.raises(LogitsShapeError, match=complaint):
        model(Answers(answer))


def test_of_several_tensors_the_number_of_classes_decides() -> None:
    def answer(y: Tensor) -> Any:
        return features(y), y

    assert model(Answers(answer)).info.notes == ("logits are output[1] of a tuple",)
    with pytest.raises(LogitsShapeError, match="several tensors can be the logits"):
        model(Answers(answer), num_classes=None)


@pytest.mark.parametrize(
    ("answer", "tensor"),
    [(lambda y: (y + 1, y), 1), (lambda y: {"a": y + 1, "b": y}, "b"), (lambda y: {"a": y + 1, "b": y}, 1)],
)
def test_the_user_chooses_the_tensor(answer: Callable[[Tensor], Any], tensor: int | str) -> None:
    pixels = torch.rand(3, 3, 2, 2)
    chosen = model(Answers(answer), output=OutputChoice(tensor=tensor))
    assert torch.equal(chosen.module(pixels), model(Answers(lambda y: y)).module(pixels))


def test_a_chosen_tensor_that_is_not_there_is_refused() -> None:
    with pytest.raises(
        LogitsShapeError, match=r"`output\.tensor` is 'c', but the network returns a dict with the parts a"
    ):
        model(Answers(lambda y: {"a": y}), output=OutputChoice(tensor="c"))
    with pytest.raises(LogitsShapeError, match="returns a Tensor with the parts none"):
        model(Answers(lambda y: y), output=OutputChoice(tensor=1))
    assert model(Answers(lambda y: y), output=OutputChoice(tensor=0)).info.notes == ()


def test_dropped_logits_are_none_of_the_classes() -> None:
    pixels = torch.rand(3, 3, 2, 2)
    plain = model(Answers(lambda y: y))
    dropped = model(Answers(lambda y: y), output=OutputChoice(drop=(0, 2)), num_classes=2)
    assert torch.equal(dropped.module(pixels), plain.module(pixels)[:, [1, 3]])
    assert dropped.info.notes == ("of 4 logits those at 0, 2 are dropped",)
    assert dropped.info.piecewise_linear
    with pytest.raises(LogitsShapeError, match="4 classes are stated, but it returns 3 logits"):
        model(Answers(lambda y: y), output=OutputChoice(drop=(0,)))
    for drop in ((4,), (0, 1, 2, 3)):
        with pytest.raises(LogitsShapeError, match="a network that returns 4; correct it"):
            model(Answers(lambda y: y), output=OutputChoice(drop=drop))


class Fails(nn.Module):
    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def forward(self, pixels: Tensor) -> Tensor:
        raise self.error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (KeyError("the layer that was renamed"), "KeyError: 'the layer that was renamed'"),
        (RuntimeError("two\n lines"), "RuntimeError: two lines"),
        (ZeroDivisionError(), "ZeroDivisionError"),
        (SystemExit("no licence"), "SystemExit: no licence"),
    ],
)
def test_what_a_network_says_when_it_fails_is_quoted(error: BaseException, words: str) -> None:
    with pytest.raises(UserError) as refusal:
        model(Fails(error))
    assert f"net: the network fails on 2 images of 3 x 2 x 2 ({words})" in str(refusal.value)


class Writes(nn.Module):
    """Works on its input in place, as many a network's first ReLU does."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.inner = Answers(lambda y: y)
        self.factor = factor

    def forward(self, pixels: Tensor) -> Tensor:
        return self.inner(pixels.view(len(pixels), 12).mul_(self.factor).view_as(pixels))


@pytest.mark.parametrize("factor", [1.0, 2.0])
@pytest.mark.parametrize("mean", [0.0, 0.5])
def test_a_network_may_write_into_its_input(factor: float, mean: float) -> None:
    loaded = model(Writes(factor), mean)
    pixels = torch.rand(3, 3, 2, 2)
    before = pixels.clone()
    plain = Answers(lambda y: y)((pixels - mean) * factor)
    assert torch.equal(loaded.module(pixels), plain)
    assert torch.equal(pixels, before)
    pixels.requires_grad_()
    (slope,) = torch.autograd.grad(loaded.module(pixels)[:, 0].sum(), pixels)
    weight = loaded.module.get_submodule(full_name(loaded.module, "inner.inner.1")).weight
    assert torch.allclose(slope, factor * weight[0].view(3, 2, 2).expand(3, 3, 2, 2))


class Squeezes(Answers):
    """Drops the dimension of the batch where it is 1."""

    def forward(self, pixels: Tensor) -> Tensor:
        return super().forward(pixels).squeeze()


class RefusesOne(Answers):
    def forward(self, pixels: Tensor) -> Tensor:
        if len(pixels) == 1:
            raise ValueError("Expected more than 1 value per channel")
        return super().forward(pixels)


@pytest.mark.parametrize("kind", [Squeezes, RefusesOne])
def test_a_network_may_need_two_images(kind: type[Answers]) -> None:
    loaded = model(kind(lambda y: y))
    pixels = torch.rand(3, 3, 2, 2, requires_grad=True)
    together = loaded.module(pixels)
    alone = torch.cat([loaded.module(pixels[row : row + 1]) for row in range(3)])
    assert torch.allclose(alone, together, atol=1e-6)
    assert torch.allclose(
        *(torch.autograd.grad(each.sum(), pixels)[0] for each in (alone, together)), atol=1e-6
    )
    assert loaded.info.notes == ("the network takes no single image, so a single one is shown to it twice",)


def test_loading_draws_none_of_the_callers_random_numbers() -> None:
    class Noisy(Answers):
        def forward(self, pixels: Tensor) -> Tensor:
            return super().forward(pixels + torch.randn_like(pixels))

    net = Noisy(lambda y: y)
    state = torch.get_rng_state()
    model(net)
    assert torch.equal(torch.get_rng_state(), state)


def test_an_output_that_is_no_tensor_is_refused_by_its_type() -> None:
    with pytest.raises(LogitsShapeError, match="an object of type dict"):
        check_logits({"logits": torch.zeros(2, 4)}, 4)
