"""Speed of the exact verification, one thread, beside two region walks on the same images.

The walks visit the activation regions one by one, as in the paper: each region's facets come from qhull, or
from one linear program a neuron, warm-started from the last. Both compute the same ai and margins.
"""

import multiprocessing
import resource
import time

import numpy as np
import pytest
import torch
from mnist_nets import MNIST, NETWORKS, PLANE, module, network_of, pictures
from scipy.optimize._highspy import _core as highs
from scipy.spatial import HalfspaceIntersection
from threadpoolctl import threadpool_limits
from torch import nn

import small_training as nets
from assay.tasks.verification.grammar import parse_theta
from assay.tasks.verification.network import read_network
from assay.tasks.verification.problem import ProofQuestion
from assay.tasks.verification.verify import verify

SECONDS = {"fnn-200": 0.2, "fnn-800": 5.0, "cnn-2028": 8.0}

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(not MNIST.is_dir(), reason=f"no MNIST at {MNIST}"),
]


@pytest.fixture(scope="module")
def images():
    return pictures()


@pytest.mark.parametrize("name", NETWORKS)
def test_median_time_an_image(name, images, benchmark):
    network, theta = network_of(name), parse_theta(PLANE)
    seconds = []

    def run(count=5 if name == "fnn-200" else 3):
        for image in images[:count]:
            start = time.process_time()
            assert verify(network, image, ProofQuestion(theta)).complete
            seconds.append(time.process_time() - start)

    benchmark.pedantic(run, rounds=1)
    benchmark.extra_info["median_s"] = float(np.median(seconds))
    assert np.median(seconds) <= SECONDS[name]


def pooling_network(*first):
    layers = [nn.Conv2d(1, 6, 3, padding=1), *first, nn.Conv2d(6, 8, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.MaxPool2d(3, 2, 1), nn.Flatten(), nn.Linear(32, 10))


@pytest.mark.parametrize("relu_first", [True, False])
def test_one_parameter_of_a_pooling_network_takes_no_second(relu_first):
    """A few hundred cells once took more than a minute where many windows tie, as on the flat pictures here."""
    first = [nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    (train, labels), (held_out, _) = nets.digits_split()
    module = nets.train(pooling_network(*(first if relu_first else first[::-1])), train, labels, epochs=8)
    network = read_network(module.double(), (1, 8, 8))
    shown = [held_out[0].double(), torch.zeros(1, 8, 8), torch.full((1, 8, 8), 0.25)]
    for text in ("brightness:0:0.5", "patch:0:1:2:2:3x3", "translation:x:0:1", "brightness:-0.25:0.5:clamp"):
        for picture in shown:
            result, seconds = timed(network, picture, parse_theta([text]))
            print(f"\n{text}: {result.cells} cells, {seconds:.2f} s")
            assert result.complete
            assert seconds <= 1


def test_time_is_linear_in_cells(images):
    network = network_of("fnn-800")
    cells, seconds = [], []
    for side in (0.02, 0.05, 0.1, 0.2, 0.35, 0.5):
        theta = parse_theta([f"brightness:0:{side}", f"patch:0:{side}:10:10:4x4"])
        start = time.process_time()
        cells.append(verify(network, images[0], ProofQuestion(theta)).cells)
        seconds.append(time.process_time() - start)
    slope = np.polyfit(cells, seconds, 1)[0]
    print(f"\n{slope * 1e6:.0f} us a cell over {cells} cells")
    assert np.corrcoef(cells, seconds)[0, 1] > 0.97


def verify_here(jobs):
    """Verify `(network, image)` pairs on one thread; returns the peak of this process's memory in bytes."""
    torch.set_num_threads(1)
    for network, image in jobs:
        assert verify(network, image, ProofQuestion(parse_theta(PLANE))).complete
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def test_ratio_of_two_workers_to_one(images):
    """Twelve images of the 800-neuron network by one process and by two, both started and warmed up before."""
    network = network_of("fnn-800")
    parts = [[(network, image) for image in images[k:12:2]] for k in range(2)]
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.map(verify_here, [parts[0][:1]] * 2, chunksize=1)
        start = time.perf_counter()
        pool.apply(verify_here, [parts[0] + parts[1]])
        alone = time.perf_counter() - start
        start = time.perf_counter()
        pool.map(verify_here, parts, chunksize=1)
        together = time.perf_counter() - start
    print(f"\none worker {alone:.1f} s, two {together:.1f} s: {alone / together:.2f} x")
    assert alone / together >= 1.7


def test_memory_stays_within_two_gigabytes(images):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        peak = pool.apply(verify_here, [[(network_of("cnn-2028"), image) for image in images[:3]]])
    print(f"\npeak of memory {peak / 1e9:.2f} GB")
    assert peak <= 2e9


class Walk:
    """A walk over the regions of a fully connected network, one region at a time, in numpy."""

    def __init__(self, module, image, theta):
        self.layers = [
            (m.weight.detach().numpy(), m.bias.detach().numpy()) for m in module if hasattr(m, "weight")
        ]
        self.forms = theta.pieces[0].image_forms(image).flatten(1).T.numpy()
        low, high = theta.lower.numpy(), theta.upper.numpy()
        self.box = np.concatenate([np.c_[-np.eye(2), low], np.c_[np.eye(2), -high]])
        self.sides = high - low
        self.base = self.region(self.pattern(low + 1e-7))[2]
        self.sup_ai, self.min_margin = 0.0, np.inf
        logits = self.region(self.pattern(low + 1e-7))[1] @ [1, *low]
        self.label = int(logits.argmax())

    def pattern(self, theta):
        values, signs = self.forms @ [1, *theta], []
        for weight, bias in self.layers[:-1]:
            values = weight @ values + bias
            signs.append(values > 0)
            values = np.maximum(values, 0)
        return np.concatenate(signs)

    def region(self, pattern):
        """Half-planes `n . theta + c <= 0` of all neurons, logits and saliency maps under a pattern."""
        forms, planes, active = self.forms, [], []
        signs, used = np.where(pattern, 1.0, -1.0), 0
        for weight, bias in self.layers[:-1]:
            forms = weight @ forms
            forms[:, 0] += bias
            rows = slice(used, used + len(bias))
            planes.append(-signs[rows, None] * forms[:, [1, 2, 0]])
            active.append(pattern[rows])
            forms = forms * pattern[rows, None]
            used += len(bias)
        weight, bias = self.layers[-1]
        logits, maps = weight @ forms, weight
        logits[:, 0] += bias
        for (before, _), on in zip(reversed(self.layers[:-1]), reversed(active), strict=True):
            maps = (maps * on) @ before
        return np.concatenate(planes), logits, maps

    def measure(self, logits, maps, corners):
        self.sup_ai = max(self.sup_ai, np.linalg.norm(maps - self.base, axis=1).sum())
        values = np.c_[np.ones(len(corners)), corners] @ logits.T
        gap = values[:, [self.label]] - np.delete(values, self.label, 1)
        self.min_margin = min(self.min_margin, gap.min())

    def run(self, facets, regions=10**9):
        """Walk from region to region; returns how many were visited."""
        start = self.sides * [0.31831, 0.27183]
        queue, seen = [(self.pattern(start), start)], {self.pattern(start).tobytes()}
        visited = 0
        while queue and visited < regions:
            pattern, inside = queue.pop()
            planes, logits, maps = self.region(pattern)
            neurons, middles, corners = facets(np.concatenate([planes, self.box]), inside)
            self.measure(logits, maps, corners)
            visited += 1
            for neuron, middle in zip(neurons, middles, strict=True):
                if neuron >= len(planes):
                    continue
                across = pattern.copy()
                across[neuron] = ~across[neuron]
                if across.tobytes() not in seen:
                    seen.add(across.tobytes())
                    normal = planes[neuron, :2] / np.linalg.norm(planes[neuron, :2])
                    queue.append((across, middle + 1e-9 * normal))
        return visited


def qhull_facets(planes, inside):
    """Facets by qhull's half-space intersection: their planes, middles and the corners."""
    moving = np.abs(planes[:, :2]).sum(1) > 1e-12
    kept = np.flatnonzero(moving)
    hull = HalfspaceIntersection(planes[kept], inside)
    corners, ends = hull.intersections, {}
    for corner, facet in zip(corners, hull.dual_facets, strict=True):
        for plane in facet:
            ends.setdefault(kept[plane], []).append(corner)
    return list(ends), [np.mean(each, 0) for each in ends.values()], corners


def lp_facets(planes, inside):
    """Facets by linear programs, one a neuron, each started from the basis of the one before."""
    count = len(planes)
    solver = highs._Highs()
    solver.setOptionValue("output_flag", False)
    solver.setOptionValue("presolve", "off")
    box = 10.0
    for _ in range(2):
        solver.addCol(0.0, -box, box, 0, np.array([], np.int32), np.array([]))
    for normal_x, normal_y, offset in planes:
        solver.addRow(
            -highs.kHighsInf, -offset, 2, np.array([0, 1], np.int32), np.array([normal_x, normal_y])
        )
    neurons, middles, corners = [], [], []
    for i in range(count):
        normal, limit = planes[i, :2], -planes[i, 2]
        if np.abs(normal).sum() < 1e-12:
            continue
        solver.changeRowBounds(i, -highs.kHighsInf, limit + np.linalg.norm(normal))
        for column in range(2):
            solver.changeColCost(column, -normal[column])
        solver.run()
        best = np.array(solver.getSolution().col_value)
        solver.changeRowBounds(i, -highs.kHighsInf, limit)
        if best @ normal > limit + 1e-12:
            neurons.append(i)
            share = (limit - inside @ normal) / ((best - inside) @ normal)
            middles.append(inside + share * (best - inside))
            corners.append(best)
    return neurons, middles, np.array(corners)


def timed(network, image, theta):
    """The verifier's answer and its CPU seconds, after a warm-up."""
    verify(network, image, ProofQuestion(theta))
    start = time.process_time()
    result = verify(network, image, ProofQuestion(theta))
    return result, time.process_time() - start


def beside_a_qhull_walk(name, image, regions, rounds=5):
    """The verifier's answer, the last walk, how many regions it visited, and the median ratio of seconds a region.

    Both run in turn, and the walk's numpy has one thread as torch has: two that wait for each other count double.
    """
    theta, network, ratios = parse_theta(PLANE), network_of(name), []
    with threadpool_limits(1):
        for _ in range(rounds):
            result, ours = timed(network, image, theta)
            walk = Walk(module(name), image, theta)
            start = time.process_time()
            visited = walk.run(qhull_facets, regions)
            theirs = (time.process_time() - start) / visited
            ratios.append(theirs / (ours / result.cells))
    print(
        f"\n{result.cells} cells, {ours / result.cells * 1e6:.0f} us each; qhull {theirs * 1e6:.0f} us a region"
    )
    print(f"{np.median(ratios):.1f} x, of {', '.join(f'{each:.1f}' for each in ratios)}")
    return result, walk, visited, np.median(ratios)


def test_a_qhull_walk_finds_the_same_answer(images):
    """On 200 neurons a region costs qhull little, so the ratio is small there: 10 is aimed at, 3 is reached."""
    result, walk, visited, ratio = beside_a_qhull_walk("fnn-200", images[0], 10**9)
    assert visited == pytest.approx(result.cells, rel=0.02)  # qhull loses some slivers
    assert walk.sup_ai == pytest.approx(result.sup_ai, rel=1e-6)
    assert walk.min_margin == pytest.approx(result.min_margin, rel=1e-6)
    assert ratio >= 2


def test_ratio_to_a_qhull_walk(images):
    """On 800 neurons; the walk is cut after 300 regions. 30 is aimed at; docs/measured.md says where time goes."""
    _, _, visited, ratio = beside_a_qhull_walk("fnn-800", images[0], 300)
    assert visited == 300
    assert ratio >= 10


def test_ratio_to_a_walk_with_warm_started_lps(images):
    """The walk is cut after 40 regions and its time scaled to all of them."""
    theta = parse_theta(PLANE)
    result, ours = timed(network_of("fnn-200"), images[0], theta)
    walk = Walk(module("fnn-200"), images[0], theta)
    start = time.process_time()
    visited = walk.run(lp_facets, regions=40)
    theirs = (time.process_time() - start) * result.cells / visited
    print(f"\nLP walk {theirs:.1f} s for {result.cells} regions; ours {ours:.3f} s: {theirs / ours:.0f} x")
    assert visited == 40
    assert theirs / ours >= 100
