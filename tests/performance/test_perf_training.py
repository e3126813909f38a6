"""Training against a bare loop, and methods against a regular step: ratios of CPU time in one run, one thread.

Each pair is measured in turns, and the fastest round of either counts.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

from assay.common.validation import validate
from assay.models.architectures import build
from assay.training.checkpoints import Checkpoints
from assay.training.draws import begun
from assay.training.methods import Method
from assay.training.objectives import Batch, objective_of
from assay.training.pictures import open_pictures
from assay.training.recipe import Recipe
from assay.training.trainer import Material, Trainer

pytestmark = pytest.mark.usefixtures("one_thread")
ROUNDS = 5
CLIMB = {"eps": "1/10", "step_size": "0.3 eps"}
SALIENT = {"saliency": {"source": "foreground", "above": "1/2"}, "alpha": 0.5}


def in_turns(*work: Callable[[], object]) -> list[float]:
    """CPU seconds of the fastest round of each."""
    best = [float("inf")] * len(work)
    for round_ in range(ROUNDS + 1):
        for index, function in enumerate(work):
            began = time.process_time()
            function()
            if round_:  # the first warms up
                best[index] = min(best[index], time.process_time() - began)
    return best


@pytest.mark.parametrize("architecture", ["small-cnn", "mnist-cnn"])
def test_the_trainer_is_as_fast_as_a_bare_loop(
    architecture: str, shared: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    images = 8192 if architecture == "small-cnn" else 1024
    document = {
        "schema": 1,
        "title": "throughput",
        "method": {"name": "regular"},
        "architecture": architecture,
        "input": {"crop": [28, 28], "mean": [0], "std": [1]},
        "data": {
            "train": {"manifest": "mnist-train", "first": images},
            "test": {"manifest": "mnist-test", "first": 1},
        },
        "optimiser": {"name": "adam", "lr": 0.001},
        "epochs": 1000,
        "batch_size": 128,
    }
    recipe, device = validate(Recipe, document, "recipe"), torch.device("cpu")
    parts = open_pictures(recipe, [shared / "data"], None, device)
    for part in parts:
        part.keep()
    net, order = begun(recipe, lambda: build(architecture, (1, 28, 28), 10))
    trainer = Trainer(Material(recipe, *parts, None, device), net, order, Checkpoints(tmp_path, "0" * 64))
    pixels, labels = parts[0].images(torch.arange(images)), parts[0].labels
    bare_net = build(architecture, (1, 28, 28), 10)
    optimiser = torch.optim.Adam(bare_net.parameters(), lr=0.001)

    def bare() -> None:
        bare_net.train()
        for rows in torch.split(torch.randperm(images), 128):
            loss = nn.functional.cross_entropy(bare_net(pixels[rows]), labels[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()

    def ours() -> None:
        trainer.run(trainer.position.epoch + 1)

    ours_seconds, bare_seconds = in_turns(ours, bare)
    ratio = bare_seconds / ours_seconds
    record_property("throughput_over_bare", ratio)
    print(
        f"\n{architecture}: {images / ours_seconds:.0f} images/s, a bare loop {images / bare_seconds:.0f}: {ratio:.3f}"
    )
    assert ratio >= 0.95


def step_of(method: dict[str, object], net: nn.Module, batch: Batch, rate: float = 0.1) -> Callable[[], None]:
    """One training step with Adadelta."""
    block = TypeAdapter(Method).validate_json(json.dumps(method))
    parameters = list(net.parameters())
    objective, optimiser = objective_of(block), torch.optim.Adadelta(parameters, lr=rate)

    def step() -> None:
        net.train()
        loss = objective(net, batch)["loss"]
        optimiser.zero_grad()
        loss.backward(inputs=parameters)  # type: ignore[no-untyped-call]
        optimiser.step()

    return step


def some_batch(shape: tuple[int, int, int], size: int) -> Batch:
    images: Tensor = torch.rand(size, *shape)
    salient = (images[:, 0] > 0.5).to(torch.int8).mul(2).sub(1)
    return Batch(images, torch.arange(size) % 10, torch.Generator(), salient, epochs=1, steps=0)


@pytest.mark.parametrize(
    ("architecture", "shape", "size"),
    [
        ("mnist-cnn", (1, 28, 28), 256),
        ("small-cnn", (1, 28, 28), 256),
        ("small-cnn", (3, 32, 32), 256),
        ("resnet10", (3, 32, 32), 16),
    ],
)
def test_a_saliency_guided_step_over_a_regular_one(
    architecture: str, shape: tuple[int, int, int], size: int, record_property: Callable[[str, object], None]
) -> None:
    """Its floor is two steps, for x and x~, and one pass back to the pixels: 2 + 1/3 where all passes cost the same."""
    net, batch = build(architecture, shape, 10), some_batch(shape, size)
    points = batch.images.clone().requires_grad_()

    def forward() -> None:
        net.train()(points)

    def forward_and_slope() -> None:
        torch.autograd.grad(net.train()(points).amax(dim=1).sum(), points)

    regular, guided, first, both = in_turns(
        step_of({"name": "regular"}, net, batch),
        step_of({"name": "saliency_guided"}, net, batch),
        forward,
        forward_and_slope,
    )
    floor = 2 + (both - first) / regular
    record_property("guided_over_regular", guided / regular)
    record_property("floor_over_regular", floor)
    print(
        f"\n{architecture} {shape} x {size}: {1e3 * regular:.1f} ms, guided {guided / regular:.2f} x, "
        f"its floor {floor:.2f} x"
    )
    assert guided / regular <= 1.15 * floor


@pytest.mark.parametrize("family", ["pgd", "trades"])
def test_what_a_salient_start_costs_and_what_fewer_steps_save(
    family: str, record_property: Callable[[str, object], None]
) -> None:
    net, batch = build("small-cnn", (1, 28, 28), 10), some_batch((1, 28, 28), 256)
    regular, plain, equal, fewer = in_turns(
        step_of({"name": "regular"}, net, batch),
        step_of({"name": family, "steps": 5, **CLIMB}, net, batch),
        step_of({"name": f"{family}_sat", "steps": 5, **CLIMB, **SALIENT}, net, batch),
        step_of({"name": f"{family}_sat", "steps": 2, **CLIMB, **SALIENT}, net, batch),
    )
    record_property("sat_over_plain_at_equal_steps", equal / plain)
    print(
        f"\n{family}: 5 steps {plain / regular:.2f} x a regular step; with a salient start {equal / plain:.2f} x that, "
        f"with 2 steps {fewer / plain:.2f} x"
    )
    assert fewer < plain
