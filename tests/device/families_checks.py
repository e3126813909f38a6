"""Every family computes on the device it is given: on one that is not there, its records are those of the CPU."""

import math

import pytest
import torch

from assay.models.zoo import load_model
from assay.tasks.families import load_spec
from on_device import records_on, seen
from pretend_device import DEVICE, PretendTensor
from small_training import digits_split


def records(task_id, model, device, count=2, **changes):
    """The first records of a shipped task, computed in this process on a device."""
    return records_on(device, load_spec(task_id), model, count, **changes)


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
    assert [seen(record) for record in there] == [seen(record) for record in here]


def test_the_consistency_of_neurons_is_that_of_the_cpu(device, tmp_path, monkeypatch):
    """Each device makes the adversarial images itself."""
    made = []
    for name in ("cpu", DEVICE):
        monkeypatch.setenv("ASSAY_CACHE", str(tmp_path / name.replace(":", "-")))
        made.append(records("consistency/digits", "digits_fnn", name, 1, layers=("4",)))
    (here,), (there,) = made
    assert here.error is None
    assert seen(there) == seen(here)


@pytest.mark.parametrize("function", ["map", "network"])
def test_the_views_of_a_shape_are_those_of_the_cpu(function, device):
    """Rows of a map, and regions grown on the network itself."""
    settings = ("image_size=32", "classes=[mug]", f"function={function}", "initial=[[130,30],[50,20]]")
    settings += ("methods=[{method: naive, steps: 3}, {method: OIR_B, steps: 3}, {method: OIR_W, steps: 3}]",)
    loaded = load_spec("srvr/embedded-network-quick", settings=settings)
    here, there = (records_on(name, loaded, "views_models:brightness", None) for name in ("cpu", DEVICE))
    assert all(record.error is None for record in here)
    assert {record.values["kind"] for record in here} >= {"row"} | (
        {"searches"} if function == "network" else set()
    )
    assert [seen(record) for record in there] == [seen(record) for record in here]


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
