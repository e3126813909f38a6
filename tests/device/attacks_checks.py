"""Every attack, every backend, what is saved, and every saliency method: on a device as on the CPU."""

import pytest
import torch

from assay.models.zoo import load_model
from assay.saliency import maps
from assay.saliency.settings import METHODS as SALIENCY
from assay.tasks.families import load_spec
from on_device import close, records_on, seen
from pretend_device import DEVICE

pytestmark = pytest.mark.usefixtures("device")
OWN = [
    "{method: fgsm}",
    "{method: bim, steps: 3, step_size: 0.4 eps}",
    "{method: pgd, steps: 3, step_size: 0.4 eps, restarts: 2, draws: 2}",
    "{method: mim, steps: 3, step_size: 0.4 eps, momentum: 1, momentum_norm: l2}",
    "{method: apgd, steps: 5, loss: dlr, restarts: 2}",
    "{method: apgd_t, steps: 5, restarts: 3}",
    "{method: square, steps: 10, loss: margin}",
    "{method: fab, steps: 5, restarts: 2}",
    "{method: fab_t, steps: 5, restarts: 3}",
    "{method: pgd, name: aimed, steps: 3, step_size: 0.4 eps, targeted: least_likely}",
    "{method: pgd, name: carried, steps: 3, step_size: 0.4 eps, transfer_from: digits_fnn}",
]
FOOLBOX = [
    "{method: fgsm, backend: foolbox}",
    "{method: bim, steps: 3, step_size: 0.4 eps, backend: foolbox}",
    "{method: pgd, steps: 3, step_size: 0.4 eps, restarts: 2, backend: foolbox}",
    "{method: mim, steps: 3, step_size: 0.4 eps, momentum: 1, momentum_norm: l1, backend: foolbox}",
]
ASKED = {
    "each radius": ("linf", "each", OWN),
    "bisected": ("linf", "bisect", OWN[1:6]),
    "in l2": ("l2", "ascending", OWN[:9]),
    "foolbox": ("linf", "ascending", FOOLBOX),
    "foolbox by name": ("l2", "ascending", ["{method: L2DeepFoolAttack, backend: foolbox, options: {steps: 5}}"]),
}  # fmt: skip


@pytest.mark.parametrize("asked", ASKED)
def test_every_attack_saves_the_same_pictures_and_says_the_same_of_them(asked, tmp_path):
    norm, curve, attacks = ASKED[asked]
    path = tmp_path / "t.yaml"
    path.write_text(
        "schema: 1\nfamily: adversarial\ntitle: t\ndata: digits-test\nsave_adversarial: true\nprobe_queries: 5\n"
        f"norm: {norm}\neps: [0, 1/20, 1/5]\ncurve: {curve}\nattacks:\n"
        + "".join(f"  - {attack}\n" for attack in attacks)
    )
    spec = load_spec(str(path))
    here, there = (records_on(device, spec, "digits_fnn", count=3) for device in ("cpu", DEVICE))
    assert len(here[0].values["attacks"]) == len(attacks)
    assert len(here[0].files) > len(attacks)
    # Other rows share a pass on a device, and so float32's last bits part; the pictures do not.
    assert all(close(seen(one), seen(other)) for one, other in zip(there, here, strict=True))


@pytest.mark.parametrize("method", SALIENCY)
def test_every_saliency_method_gives_the_same_map(method, device):
    from assay.data.dataset import open_dataset
    from assay.data.manifest import load_manifest

    data = open_dataset(load_manifest("foolbox-imagenet20"))
    settings = {"occlusion": {"window": 112, "stride": 112}, "smoothgrad": {"samples": 2},
                "integrated_gradients": {"steps": 2}}.get(method, {})  # fmt: skip
    model = load_model("efficientnet_lite0")
    image = model.prepare(data.image(data.samples[0]))[None]
    found = []
    for place in ("cpu", device):
        network = load_model("efficientnet_lite0").to(torch.device(place)).module
        target = torch.tensor([data.samples[0].label], device=place)
        found.append(maps(network, image.to(place), target, method, **settings).cpu())
    assert found[0].abs().amax() > 0
    assert torch.equal(*found)
