"""The search: bounds from the right side, close to the exact ones, and never a proof."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from assay.common.errors import UserError
from assay.models.zoo import load_model
from assay.tasks.base import Record
from assay.tasks.verification.choose import cells_are_few, within_budget
from assay.tasks.verification.grammar import parse_motions, parse_theta
from assay.tasks.verification.problem import ProofQuestion
from assay.tasks.verification.readings import UnchangedImages
from assay.tasks.verification.search import _INSET, climb, grid, search
from assay.tasks.verification.search_evaluate import describe, in_float64
from assay.tasks.verification.spec import SearchSettings, VerificationSpec
from assay.tasks.verification.task import TASK
from assay.tasks.verification.verify import verify
from small_training import digits_split

PLANE = ["brightness:0:0.3", "patch:0:0.5:3:3:2x2"]
SHIFT = ["brightness:0:0.3", "translation:x:0:1"]
NETS = Path(os.environ.get("ASSAY_SHARED", Path(__file__).parents[4] / "shared"))
HARD = SearchSettings(grid=17, boxes=16, rounds=12)


def spec_of(*combinations, **fields):
    document = {"schema": 1, "family": "verification", "title": "t", "data": "digits", "labels": "predicted"}
    document |= {"combinations": combinations or [PLANE], "deltas": [1, 3], **fields}
    return VerificationSpec.model_validate_json(json.dumps(document))


def found_by(module, images, texts, labels="predicted", settings=HARD, batch_size=512, saliency="gradient"):
    exact = UnchangedImages.of(in_float64(module), images.double(), labels, saliency, batch_size)
    fast = UnchangedImages.asked(module, images, exact.labels, exact.label, saliency, batch_size)
    return search(fast, exact, parse_motions(texts), (1.0, 3.0), settings)


@pytest.mark.parametrize("labels", ["predicted", "top5", "all"])
@pytest.mark.parametrize("texts", [PLANE, SHIFT, ["brightness:0:0.3:clamp"]], ids=str)
def test_no_bound_exceeds_the_exact_one_and_nearly_all_reach_it(digits_network, digits, texts, labels):
    images = digits[:20].float()
    found = found_by(load_model("digits_fnn").module, images, texts, labels)
    near = 0
    for image, each in zip(images, found, strict=True):
        exact = verify(digits_network, image, ProofQuestion(parse_theta(texts), labels))
        assert each.ai.value <= exact.sup_ai * (1 + 1e-9)
        assert each.margin.value >= exact.min_margin - 1e-9 * abs(exact.min_margin)
        assert each.norm == pytest.approx(exact.relative.norm)
        near += each.ai.value >= 0.99 * exact.sup_ai
    assert near >= 19


@pytest.mark.slow
def test_the_same_holds_for_a_published_mnist_network():
    """Its suprema lie in slivers: what the digits' settings reach on 75 % of the images takes ten times the points."""
    import gzip

    import numpy as np

    from assay.tasks.verification.evaluate import exact_network

    file = NETS / "data/nets/mnist-net_256x2.onnx"
    if not file.is_file() or not (NETS / "data/mnist").is_dir():
        pytest.skip(f"the shared inputs are not at {NETS}")
    content = gzip.decompress((NETS / "data/mnist/t10k-images-idx3-ubyte.gz").read_bytes())
    pixels = torch.from_numpy(np.frombuffer(content, np.uint8, offset=16)[: 20 * 784].copy())
    images = pixels.reshape(-1, 1, 28, 28).float() / 255
    model, texts = load_model(f"onnx:{file}"), ["brightness:0:0.2", "patch:0:0.5:10:10:4x4"]
    settings, near = SearchSettings(grid=33, boxes=128, rounds=24), 0
    for image, each in zip(images, found_by(model.module, images, texts, settings=settings), strict=True):
        exact = verify(exact_network(model), image, ProofQuestion(parse_theta(texts), "predicted"))
        assert each.ai.value <= exact.sup_ai * (1 + 1e-9)
        near += each.ai.value >= 0.99 * exact.sup_ai
    assert near >= 19


def test_a_linear_network_has_no_inconsistency_but_that_of_the_moved_map():
    weights = torch.rand(2, 36, generator=torch.Generator().manual_seed(0))
    net = nn.Sequential(nn.Flatten(), nn.Linear(36, 2, bias=False))
    net[1].weight.data = weights
    image = torch.rand(1, 1, 6, 6, generator=torch.Generator().manual_seed(1))
    (still,) = found_by(net, image, ["brightness:0:0.3", "patch:0:1:2:2:2x2"])
    assert still.ai.value == pytest.approx(0, abs=1e-6)
    assert still.within == 1
    (shifted,) = found_by(net, image, ["translation:x:0:1"])
    row = weights[shifted.label].reshape(6, 6).double()
    by_one = torch.zeros(6, 6).double()
    by_one[:, 1:] = row[:, :-1]
    farthest = 1 - _INSET[1]
    assert shifted.ai.value == pytest.approx(float((row - by_one).norm()) * farthest, rel=1e-6)
    assert shifted.ai.theta.item() == pytest.approx(farthest)


def test_the_climb_reaches_the_top_between_points_of_the_grid():
    def look(rows, points):
        return -(points[:, 0] - 0.37).abs() - (points[:, 1] - 0.61).abs()

    unit = grid(2, 5)
    values = look(None, unit)[None]
    coarse, low = climb(look, unit, values, SearchSettings(grid=5, boxes=0, rounds=0))
    fine, high = climb(look, unit, values, SearchSettings(grid=5, boxes=8, rounds=20))
    assert coarse.tolist() == [[0.25, 0.5]]
    assert torch.allclose(fine, torch.tensor([[0.37, 0.61]]).double(), atol=1e-2)
    assert float(low) == pytest.approx(-0.23)
    assert float(high) == pytest.approx(0, abs=1e-2)


@pytest.mark.parametrize("dimension", [1, 2])
def test_a_sliver_beside_a_plateau_is_found_across_its_border(dimension):
    """One box of the grid has corners that differ; nothing leads uphill to the sliver of width 0.004 in it."""

    def look(rows, points):
        along = points.sum(1) / dimension
        return torch.where(along < 0.7, 1.0, torch.where(along < 0.704, 5.0, 0.5)).double()

    unit = grid(dimension, 5)
    values = look(None, unit)[None]
    assert float(values.max()) == 1
    _, height = climb(look, unit, values, SearchSettings(grid=5, boxes=16, rounds=10))
    assert float(height) == 5


def test_more_looking_never_finds_less(digits):
    images, module = digits[:12].float(), load_model("digits_fnn").module
    little = found_by(module, images, SHIFT, settings=SearchSettings(grid=5, boxes=0, rounds=0))
    more = found_by(module, images, SHIFT, settings=SearchSettings(grid=5, boxes=3, rounds=4))
    finer = found_by(module, images, SHIFT, settings=SearchSettings(grid=9, boxes=3, rounds=4))
    for one, two, three in zip(little, more, finer, strict=True):
        assert one.ai.value <= two.ai.value * (1 + 1e-4)
        assert two.margin.value <= one.margin.value + 1e-4
        assert one.points < two.points < three.points
        assert one.confirmed
        assert two.confirmed


@pytest.mark.parametrize("labels", ["predicted", "top5"])
def test_neither_the_batch_nor_the_images_beside_it_change_what_is_found(digits, labels):
    images, module = digits[:6].float(), load_model("digits_fnn").module
    together = found_by(module, images, PLANE, labels, SearchSettings())
    alone = [found_by(module, images[i : i + 1], PLANE, labels, SearchSettings(), 7)[0] for i in range(6)]
    for one, other in zip(together, alone, strict=True):
        assert one.ai.value == pytest.approx(other.ai.value, rel=1e-6)
        assert torch.equal(one.ai.theta, other.ai.theta)
        assert torch.equal(one.margin.theta, other.margin.theta)


def test_a_factor_of_the_logits_changes_nothing_that_is_relative(digits):
    module = load_model("digits_fnn").module
    larger = nn.Sequential(in_float64(module), _Times(1e4))
    for one, other in zip(
        found_by(in_float64(module), digits[:5], PLANE, settings=SearchSettings()),
        found_by(larger, digits[:5], PLANE, settings=SearchSettings()),
        strict=True,
    ):
        assert other.within == one.within
        assert other.ai.value / other.norm == pytest.approx(one.ai.value / one.norm, rel=1e-9)


class _Times(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, logits):
        return self.factor * logits


def test_a_smooth_network_is_searched_and_its_witness_holds_on_the_network_itself(digits):
    images = digits[:3].float()
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.SiLU(), nn.Linear(32, 10))
    train = torch.optim.Adam(net.parameters(), 1e-2)
    pixels, labels = digits_split()[0]
    for _ in range(60):
        train.zero_grad()
        nn.functional.cross_entropy(net(pixels), labels).backward()
        train.step()
    net.requires_grad_(False)
    texts = ["rotation:-20:20", "blur:0:0.6"]
    motions = parse_motions(texts)
    for image, each in zip(images, found_by(net, images, texts, settings=SearchSettings()), strict=True):
        pixels = image[None].double()
        moved = motions.apply(pixels, each.margin.theta[None])
        logits = in_float64(net)(moved)[0]
        others = torch.cat([logits[: each.label], logits[each.label + 1 :]])
        assert float(logits[each.label] - others.max()) == pytest.approx(each.margin.value)
        grad = torch.func.grad(lambda some, label=each.label: in_float64(net)(some)[0, label])
        expected = motions.expected(grad(pixels)[:, None], each.ai.theta[None])
        change = grad(motions.apply(pixels, each.ai.theta[None])) - expected[:, 0]
        assert float(change.norm()) == pytest.approx(each.ai.value)


@pytest.mark.parametrize("saliency", ["smoothgrad", "grad_cam"])
def test_other_heat_maps_are_searched_the_same_way(digits, digits_cnn, saliency):
    found = found_by(
        digits_cnn, digits[:2], PLANE, settings=SearchSettings(grid=3, rounds=1), saliency=saliency
    )
    assert all(each.confirmed and each.norm > 0 for each in found)


def records_of(module, images, spec):
    found = found_by(module, images, spec.combinations[0], settings=spec.search)
    return [Record(str(i), describe(each, str(i), each.label, spec, 0)) for i, each in enumerate(found)]


@pytest.fixture(scope="module")
def searched():
    spec = spec_of(verifier="search")
    return spec, records_of(load_model("digits_fnn").module, digits_split()[1][0][:10], spec)


def test_a_verdict_is_violated_with_a_witness_or_unknown(searched):
    spec, records = searched
    kinds = set()
    for record in records:
        TASK.record_values.validate_python(record.values)
        for name, found in record.values["properties"].items():
            kinds.add(found["verdict"])
            assert found["verdict"] in ("violated", "unknown")
            if found["verdict"] == "violated" and name != "CR":
                assert found["witness"]["value"] > float(name[3:-1])
    assert kinds == {"violated", "unknown"}
    summary = TASK.summarise(spec, records)
    assert all(guard.passed for guard in summary.guards)


def test_no_figure_and_no_row_of_the_search_is_one_of_proofs(searched):
    spec, records = searched
    proved = TASK.summarise(spec_of(), ()).metrics
    found = TASK.summarise(spec, records).metrics
    assert not {metric.name for metric in found} & {metric.name for metric in proved}
    assert not {metric.title for metric in found} & {metric.title for metric in proved}
    assert set(spec.metric_keys()) <= {metric.name for metric in found}
    assert found[0].name == spec.headline_key
    assert found[0].title.startswith("Not proved: ")
    assert not any("robust" in metric.name or "proved robust" in metric.title for metric in found)
    for row in TASK.rows(spec, records):
        assert row["verifier"] == "search"
        assert "share_satisfied" not in row
        assert row["share_seen"] <= 1
    assert "Nothing is proved" in TASK.means(spec.headline_key, [metric.name for metric in found])
    assert "provably" in TASK.means(spec_of().headline_key, [metric.name for metric in proved])


@pytest.mark.parametrize(
    ("change", "guard"),
    [
        (lambda v: v.update(norm=0.0), "attention_is_not_zero"),
        (lambda v: v.update(confirmed=False), "seen_again_in_float64"),
        (lambda v: v["properties"]["CR"].update(verdict="violated", witness=None), "violations_confirmed"),
        (
            lambda v: v["properties"]["AR(3)"].update(verdict="violated", witness={"theta": [0], "value": 2}),
            "violations_confirmed",
        ),
    ],
)
def test_a_planted_lie_fails_its_guard(searched, change, guard):
    spec, (first, *others) = searched
    values = json.loads(json.dumps(dict(first.values)))
    change(values)
    guards = {g.name: g for g in TASK.summarise(spec, [replace(first, values=values), *others]).guards}
    assert [name for name, each in guards.items() if not each.passed] == [guard]


class _Blind(nn.Module):
    """A network that passes no gradient to its pixels."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, pixels):
        with torch.no_grad():
            return self.net(pixels)


class _Rounding(_Blind):
    """Its pixels are rounded, so that its gradient is zero and not missing."""

    def forward(self, pixels):
        return self.net((pixels * 4).round() / 4)


@pytest.mark.parametrize("hide", [_Blind, _Rounding])
def test_a_network_without_gradients_is_said_by_its_guard(digits, hide):
    spec = spec_of(verifier="search", search={"grid": 3})
    records = records_of(hide(load_model("digits_fnn").module), digits[:3].float(), spec)
    summary = TASK.summarise(spec, records)
    assert [guard.name for guard in summary.guards if not guard.passed] == ["attention_is_not_zero"]
    figures = {metric.name: metric.value for metric in summary.metrics}
    assert figures[spec.headline_key] == 0  # and not the best of all
    assert figures[f"{spec.names[0]}:median_relative_sup_found"] is None


def test_a_network_that_answers_at_random_is_not_confirmed(digits):
    class Random(nn.Module):
        def forward(self, pixels):
            return pixels.flatten(1)[:, :10] * torch.rand(10)

    found = found_by(Random(), digits[:3].float(), PLANE, settings=SearchSettings(grid=3))
    assert not any(each.confirmed for each in found)


def test_auto_takes_proofs_where_network_and_range_allow_them(digits, digits_network):
    model = load_model("digits_fnn")
    image = digits[0].float()
    assert within_budget(model, image, [PLANE, SHIFT])
    assert not within_budget(model, image, [PLANE, ["rotation:0:5"]])
    assert not within_budget(model, image, [["patch:0:1:1:1:2x2:0.5", "brightness:0:1"]])
    assert not within_budget(load_model("efficientnet_lite0"), torch.rand(3, 224, 224), [["brightness:0:1"]])
    theta = parse_theta(PLANE)
    cells = verify(digits_network, digits[0], ProofQuestion(theta, "predicted")).cells
    assert cells_are_few(digits_network, digits[0], theta, cells)
    assert not cells_are_few(digits_network, digits[0], theta, cells - 1)


def test_specs_of_before_keep_their_hash_and_every_new_field_changes_it():
    plain = spec_of()
    assert plain.sha256 == "e4665c6deb10d10f6a78f70ab3799deac8102d1746f97709b00a56e187c73184"
    assert set(plain.model_dump()) & {"verifier", "search", "saliency"} == set()
    hashes = [
        plain.sha256,
        spec_of(labels="top5").sha256,
        spec_of(verifier="search").sha256,
        spec_of(verifier="auto").sha256,
        spec_of(verifier="search", search={"grid": 17}).sha256,
        spec_of(verifier="search", saliency="smoothgrad").sha256,
    ]
    assert len(set(hashes)) == len(hashes)
    assert spec_of(verifier="search", search={}).sha256 == spec_of(verifier="search").sha256


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"saliency": "smoothgrad"}, "the exact verifier has the gradient alone"),
        ({"saliency": "grad_cam", "verifier": "auto"}, "the exact verifier has the gradient alone"),
        ({"search": {"grid": 9}}, "belongs to verifier: search or auto"),
        ({"verifier": "search", "search": None}, "expected its settings"),
        ({"verifier": "search", "search": {"grid": 1}}, "greater than or equal to 2"),
        ({"verifier": "prove"}, "exact"),
    ],
)
def test_fields_that_do_not_fit_the_verifier_are_refused(fields, complaint):
    with pytest.raises(ValueError, match=complaint):
        spec_of(**fields)


def test_three_parameters_at_most():
    with pytest.raises(UserError, match="4 perturbation parameters"):
        parse_motions(["translation:xy:0:1", "rotation:0:5", "blur:0:1"])
