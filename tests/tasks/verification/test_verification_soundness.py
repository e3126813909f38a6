"""What makes an exact answer trustworthy: oracles that share no code, and planted mutants that they catch."""

from dataclasses import replace

import pytest
import torch
from verification_checks import check_all, check_patterns, check_values, random_points
from verification_oracles import autograd_ai, grid, walk_regions

from assay.tasks.verification import attention, neighbours, subdivide, table
from assay.tasks.verification.grammar import parse_theta
from assay.tasks.verification.layer import Layer
from assay.tasks.verification.network import read_network
from assay.tasks.verification.paths import Paths
from assay.tasks.verification.problem import ProofQuestion
from assay.tasks.verification.verify import verify

RANGES = {
    "brightness": ["brightness:0:0.5"],
    "clamped brightness": ["brightness:-0.2:0.5:clamp"],
    "brightness and patch": ["brightness:0:0.5", "patch:0:1:2:2:3x3"],
    "brightness and translation": ["brightness:0:0.3", "translation:x:0:2"],
    "two translations": ["translation:xy:-1:1"],
    "three parameters": ["brightness:0:0.2", "patch:0:0.5:2:2:3x3", "translation:y:0:1"],
    "prisms": ["brightness:0:0.2", "translation:xy:0:1"],
}


@pytest.mark.parametrize("name", RANGES)
def test_subdivision_agrees_with_the_network(name, digits_module, digits):
    check_all(digits_module, digits[0], RANGES[name])


@pytest.mark.parametrize("name", ["clamped brightness", "brightness and patch", "brightness and translation"])
def test_subdivision_of_a_pooling_network_agrees_with_it(name, digits_cnn, digits):
    theta = parse_theta(RANGES[name])
    result = verify(read_network(digits_cnn, (1, 8, 8)), digits[1], ProofQuestion(theta, deltas=(1e-3,)))
    assert result.complete
    check_values(digits_cnn, digits[1], theta, result, 6)


@pytest.mark.parametrize("differing", [(30, 8), (200, 80), (200, 200)], ids=str)
@pytest.mark.parametrize(
    "texts", [["brightness:0:0.2", "patch:0:0.5:2:2:3x3"], ["brightness:0:0.1", "translation:x:0:0.5"]]
)
def test_every_cell_has_the_ai_of_its_own_maps(texts, differing, digits_cnn, digits, monkeypatch):
    """Maps of a block of cells, found together, are those that autograd finds in each cell alone."""
    monkeypatch.setattr(table, "_DIFFERING", differing[0])
    monkeypatch.setattr(table, "_DIFFERING_NEARBY", differing[1])
    monkeypatch.setattr(neighbours, "_FEW", 1)
    theta, image = parse_theta(texts), digits[1]
    found = verify(read_network(digits_cnn, (1, 8, 8)), image, ProofQuestion(theta)).table
    wide = (found.volumes > 1e-9 * theta.volume).nonzero().flatten()
    wide = wide[:: max(1, len(wide) // 40)]
    labels = torch.arange(10)
    expected_at_0 = attention.saliency_maps(digits_cnn, image, labels)
    for i in wide.tolist():
        actual = attention.saliency_maps(digits_cnn, theta.apply(image, found.cells.centres[i]), labels)
        expected = theta.expected(expected_at_0, found.theta_ai[i])
        plain = float((actual - expected).flatten(1).norm(dim=1).sum())
        assert float(found.ai_max[i]) == pytest.approx(plain, rel=1e-11, abs=1e-11)
    assert len(wide) > 20


def test_pattern_of_5000_random_points_is_in_a_listed_cell(digits_module, digits_network, digits):
    theta = parse_theta(RANGES["brightness and patch"])
    result = verify(digits_network, digits[3], ProofQuestion(theta))
    check_patterns(digits_module, digits[3], theta, result, 5000)


@pytest.mark.parametrize("texts", [["brightness:-1:1"], ["brightness:-1:1", "patch:0:1:0:1:2x2"]])
@pytest.mark.parametrize("seed", range(3))
def test_cell_count_equals_an_independent_region_walk(texts, seed):
    module = trained_tiny_net(seed)
    image = torch.rand(1, 3, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    theta = parse_theta(texts)
    result = verify(read_network(module, (1, 3, 3)), image, ProofQuestion(theta))
    forms = theta.pieces[0].image_forms(image).flatten(1).T.numpy()
    assert result.cells == len(walk_regions(module, forms, theta.lower.numpy(), theta.upper.numpy()))
    assert result.cells > 2


def test_cell_count_equals_an_independent_region_walk_in_three_dimensions():
    module = trained_tiny_net(1)
    image = torch.rand(1, 3, 3, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    theta = parse_theta(["brightness:0:1", "patch:0:1:0:1:2x2", "patch:0:1:1:0:2x1"])
    result = verify(read_network(module, (1, 3, 3)), image, ProofQuestion(theta))
    forms = theta.pieces[0].image_forms(image).flatten(1).T.numpy()
    assert result.cells == len(walk_regions(module, forms, theta.lower.numpy(), theta.upper.numpy()))


def trained_tiny_net(seed):
    """9-8-6-3, trained for a moment on 'which third of the image is brightest'."""
    from assay.models.architectures import fully_connected
    from small_training import train

    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(256, 1, 3, 3, generator=generator)
    labels = images.mean(3)[:, 0].argmax(1)
    return train(fully_connected(8, 6)((1, 3, 3), 3), images, labels, epochs=5, seed=seed).double()


def drop_a_line(monkeypatch):
    original = subdivide._screen

    def screen(cells, lines):
        splits = lines.splits.clone()
        splits[::4] = False
        return original(cells, replace(lines, splits=splits))

    monkeypatch.setattr(subdivide, "_screen", screen)


def shift_a_bias(monkeypatch):
    original = Layer.affine

    def affine(self, forms):
        out = original(self, forms)
        out[:, 0] += 1e-3
        return out

    monkeypatch.setattr(Layer, "affine", affine)


def drop_a_half(monkeypatch):
    original = subdivide.split
    monkeypatch.setattr(subdivide, "split", lambda *args: (original(*args)[0],) * 2)


def swap_the_halves(monkeypatch):
    original = subdivide.split
    monkeypatch.setattr(subdivide, "split", lambda *args: original(*args)[::-1])


def pass_inactive_neurons(monkeypatch):
    original = Layer.transpose
    monkeypatch.setattr(
        Layer, "transpose", lambda self, rows: original(self, torch.where(rows == 0, 0.1, rows))
    )


def share_too_much(monkeypatch):
    """Cells take the maps of a neighbour with another pattern."""
    original = Paths.maps

    def maps(self, passed):
        return original(self, passed)[..., torch.arange(passed.shape[1]) // 2 * 2]

    monkeypatch.setattr(Paths, "maps", maps)


def forget_a_path(monkeypatch):
    """The ReLUs that differ among neighbours count in the last layer alone."""
    original = Paths.maps

    def maps(self, passed):
        last = torch.arange(len(passed)) < self.reads[0].shape[1]
        return original(self, passed & last[:, None])

    monkeypatch.setattr(Paths, "maps", maps)


def shut_what_is_open(monkeypatch):
    """Gates that are open in all cells of a part, and shut elsewhere in its block, pass nothing."""
    original = Paths.narrowed
    monkeypatch.setattr(table, "_DIFFERING_NEARBY", 4)
    monkeypatch.setattr(
        Paths, "narrowed", lambda self, always, differing: original(self, always & differing, differing)
    )


def snap_generously(monkeypatch):
    monkeypatch.setattr(subdivide, "_ROUNDING", 1e-3)


def evaluate_at_centres(monkeypatch):
    original = attention.Inconsistency.at
    monkeypatch.setattr(
        attention.Inconsistency,
        "at",
        lambda self, points: original(self, points.mean(1, keepdim=True).expand_as(points)),
    )


def leave_the_heat_map(monkeypatch):
    original = table.inconsistency
    monkeypatch.setattr(
        table,
        "inconsistency",
        lambda differences, centres, slopes, moving: original(differences, centres, slopes * 0, moving),
    )


def flip_the_margin(monkeypatch):
    original = table.margins
    monkeypatch.setattr(table, "margins", lambda leaves, label: original(leaves, label).abs())


MUTANTS = [
    drop_a_line,
    shift_a_bias,
    drop_a_half,
    swap_the_halves,
    pass_inactive_neurons,
    share_too_much,
    forget_a_path,
    shut_what_is_open,
    snap_generously,
    evaluate_at_centres,
    leave_the_heat_map,
    flip_the_margin,
]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_planted_mutant_is_caught(mutant, monkeypatch, digits_module, digits):
    mutant(monkeypatch)
    with pytest.raises(AssertionError):
        check_moving_and_still(digits_module, digits[0])


def check_moving_and_still(module, image):
    for name in ("brightness and patch", "brightness and translation"):
        check_all(module, image, RANGES[name])


@pytest.mark.parametrize(
    "mutant", [drop_a_line, drop_a_half, swap_the_halves, shift_a_bias], ids=lambda mutant: mutant.__name__
)
def test_a_broken_subdivision_never_gives_a_verdict_of_robust(mutant, monkeypatch, digits_network, digits):
    mutant(monkeypatch)
    result = verify(
        digits_network, digits[0], ProofQuestion(parse_theta(RANGES["brightness and patch"]), deltas=(1e6,))
    )
    assert not result.complete
    assert all(finding.verdict != "robust" for finding in result.findings)


@pytest.mark.slow
@pytest.mark.parametrize("labels", ["all", "predicted"])
def test_no_verdict_is_wrong_against_a_dense_grid(labels, digits_module, digits_network, digits):
    """200 images: a robust one has no grid point against it; a violated one has its witness."""
    theta = parse_theta(["brightness:0:0.3", "patch:0:0.5:2:2:3x3"])
    wrong = 0
    for image in digits[:200]:
        result = verify(digits_network, image, ProofQuestion(theta, labels, deltas=(5.0, 20.0, 35.0)))
        chosen = range(10) if labels == "all" else [result.label]
        points = torch.cat([grid(theta, 12), random_points(theta, 60)])
        values = [autograd_ai(digits_module, theta, image, point, chosen) for point in points]
        images = torch.stack([theta.apply(image, point) for point in points])
        changed = bool((digits_module(images).argmax(1) != result.label).any())
        for finding in result.findings:
            bad = changed if finding.delta is None else max(values) > finding.delta
            assert finding.verdict != "unknown"
            wrong += bad and finding.verdict == "robust"
            if finding.verdict == "violated" and finding.delta is not None:
                wrong += (
                    autograd_ai(digits_module, theta, image, result.ai_witness.theta, chosen) <= finding.delta
                )
    assert wrong == 0
