"""Every family computes on the device it is given: on one that is not there, its records are those of the CPU."""

import math

import pytest
import torch

from assay.models.zoo import load_model
from assay.tasks.base import RunContext
from assay.tasks.families import family, load_spec
from assay.tasks.shared.images import DataSource
from pretend_device import DEVICE, PretendTensor, pretend_device
from small_training import digits_split


@pytest.fixture
def device():
    with pretend_device() as there:
        yield there


def records(task_id, model, device, count=2, **changes):
    """The first records of a shipped task, computed in this process on a device."""
    loaded = load_spec(task_id)
    spec = loaded.spec.model_copy(update=changes)
    task = family(spec.family)
    data = task.open_data(spec, DataSource(spec.data, loaded.folder, ()))
    network = load_model(model).to(torch.device(device))
    units = task.units(spec, data)[:count]
    context = RunContext(
        "seed", str(device), 4, first=lambda some: frozenset(unit.id for unit in units[:some])
    )
    return list(task.run(spec, network, data, units, context))


def seen(values):
    """Without the seconds, which no two runs share."""
    return {name: value for name, value in values.items() if name != "seconds"}


@pytest.mark.parametrize(
    ("task", "changes"),
    [
        ("adversarial/digits", {}),
        ("corruptions/digits", {}),
        ("verification/digits", {}),
        ("verification/digits", {"verifier": "search"}),
    ],
    ids=str,
)
def test_the_records_of_a_default_task_are_those_of_the_cpu(task, changes, device):
    if changes:
        from assay.tasks.verification.spec import SearchSettings

        changes = changes | {"search": SearchSettings(grid=5)}
    here = records(task, "digits_fnn", "cpu", **changes)
    there = records(task, "digits_fnn", DEVICE, **changes)
    assert all(record.error is None for record in here)
    assert [seen(record.values) for record in there] == [seen(record.values) for record in here]


def test_a_tensor_made_without_its_device_is_caught(device, monkeypatch):
    """The fault that a CPU never shows, planted into the perturbation that the search moves images by."""
    from assay.tasks.verification import moves

    def of_the_host(images, theta):
        return images + torch.tensor([0.1, 0.1]).mean(0, keepdim=True)

    def planted(lower, upper, clamp=False):
        return moves.Motion(("brightness",), (lower,), (upper,), moves.TONE, of_the_host)

    from assay.tasks.verification.spec import SearchSettings

    monkeypatch.setattr(moves, "brightness", planted)
    changes = {"verifier": "search", "search": SearchSettings(grid=3)}
    assert records("verification/digits", "digits_fnn", "cpu", count=1, **changes)
    with pytest.raises(RuntimeError, match="at least two devices"):
        records("verification/digits", "digits_fnn", DEVICE, count=1, **changes)


def test_the_device_raises_where_cuda_does_and_computes_as_the_host(device):
    one = torch.rand(3, 4, generator=torch.Generator().manual_seed(0))
    there = one.to(device)
    assert isinstance(there, PretendTensor)
    assert there.device == device
    assert torch.equal((there @ there.T).cpu(), one @ one.T)
    assert float(there.sum()) == float(one.sum())  # a number comes over as on CUDA
    assert math.isclose(float((there * torch.tensor(2.0)).sum()), 2 * float(one.sum()), rel_tol=1e-6)
    with pytest.raises(RuntimeError, match="at least two devices"):
        there + one
    with pytest.raises(TypeError, match="numpy"):
        there.numpy()
    with pytest.raises(RuntimeError, match="generator"):
        torch.rand(3, device=device, generator=torch.Generator())
    with pytest.raises(RuntimeError, match="generator"):
        there.uniform_(generator=torch.Generator())


def test_gradients_pass_through_the_device(device):
    net = load_model("digits_fnn").module
    pixels = digits_split()[1][0][:3].float()
    found = []
    for place in ("cpu", device):
        images = pixels.to(place).requires_grad_()
        (grad,) = torch.autograd.grad(net.to(place)(images)[:, 3].sum(), images)
        found.append(grad.cpu())
    assert torch.equal(*found)
