"""Speed of the attention search, one thread: beside its own bare passes, and beside the proof on the same images."""

import copy
import time
from statistics import median

import pytest
import torch
from mnist_nets import MNIST, PLANE, network_of, pictures

from assay.tasks.base import RunContext
from assay.tasks.shared.loading import LoadedPicture
from assay.tasks.verification.grammar import parse_motions, parse_theta
from assay.tasks.verification.problem import ProofQuestion
from assay.tasks.verification.readings import UnchangedImages
from assay.tasks.verification.search import search
from assay.tasks.verification.search_evaluate import in_float64, origins
from assay.tasks.verification.spec import SearchSettings
from assay.tasks.verification.verify import verify
from opened_jobs import JobRequest, open_job

pytestmark = pytest.mark.usefixtures("one_thread")
ROUNDS = 5


def passes_of(work, networks):
    """What goes through networks meanwhile, in order: the network, pixels, and whether a gradient is asked."""
    seen = []

    def note(network, inputs):
        seen.append((network, inputs[0].detach().clone(), torch.is_grad_enabled()))

    hooks = [network.register_forward_pre_hook(note) for network in networks]
    work()
    for hook in hooks:
        hook.remove()
    return seen


def bare(passes):
    """Nothing but these passes, forward and back to the pixels."""
    for network, pixels, with_gradient in passes:
        if with_gradient:
            points = pixels.requires_grad_()
            torch.autograd.grad(network(points).amax(1).sum(), points)
        else:
            with torch.no_grad():
                network(pixels)


def timed(work):
    """CPU seconds, and what the work gives."""
    start = time.process_time()
    given = work()
    return time.process_time() - start, given


@pytest.mark.parametrize("combination", [0, 1], ids=["patch", "translation"])
def test_overhead_over_the_bare_passes(combination, benchmark):
    """Four ImageNet pictures as `verification/imagenet20-search` asks of them, but with fewer points."""
    job = open_job(JobRequest("efficientnet_lite0", "verification/imagenet20-search", limit=8))
    spec, net = job.spec.spec, job.model.module
    size = job.task.batch_size(job.model.info.input_shape, "cpu")
    context = RunContext("s", "cpu", size)
    pixels = context.loader.batch(
        [LoadedPicture(job.model, job.data, each) for each in job.data.samples[:4]], "cpu"
    )
    motions = parse_motions(spec.combinations[combination])
    settings = SearchSettings(grid=3, boxes=1, rounds=1)

    def ours():
        search(*origins(spec, net, pixels, size), motions, spec.deltas, settings)

    passes = passes_of(ours, [net, in_float64(net)])

    def ratio():
        pairs = [(timed(ours)[0], timed(lambda: bare(passes))[0]) for _ in range(ROUNDS)]
        print("\nsearch and bare passes, s:", ", ".join(f"{mine:.2f} {alone:.2f}" for mine, alone in pairs))
        return median(mine / alone for mine, alone in pairs)

    found = benchmark.pedantic(ratio, rounds=1)
    print(f"{len(passes)} passes of up to {size}: {found:.3f} of the bare passes' time")
    assert found <= 1.1


HARDER = [
    SearchSettings(grid=grid, boxes=boxes, rounds=rounds)
    for grid, boxes, rounds in [(9, 4, 4), (9, 4, 12), (17, 16, 16), (33, 64, 24), (33, 256, 32)]
]


@pytest.mark.skipif(not MNIST.is_dir(), reason=f"no MNIST at {MNIST}")
@pytest.mark.parametrize("name", ["fnn-200", "fnn-800"])
def test_beside_the_proof(name):
    """How hard the search must look to find 99 % of what the proof shows, on 19 of 20 pictures; what it costs then."""
    network, theta, motions = network_of(name), parse_theta(PLANE), parse_motions(PLANE)
    some = pictures()[:20]
    proof_s, proved = timed(
        lambda: [verify(network, image, ProofQuestion(theta, "predicted")).sup_ai for image in some]
    )
    exact = UnchangedImages.of(network.module, some, "predicted", "gradient", 512)
    fast = UnchangedImages.of(
        copy.deepcopy(network.module).float(), some.float(), "predicted", "gradient", 512
    )
    for asked in HARDER:
        search_s, found = timed(lambda asked=asked: search(fast, exact, motions, (3.0,), asked))
        shares = [each.ai.value / sup for each, sup in zip(found, proved, strict=True)]
        assert max(shares) <= 1 + 1e-9
        reached = sum(share >= 0.99 for share in shares)
        print(
            f"\n{name}, grid {asked.grid}, boxes {asked.boxes}, rounds {asked.rounds}: {found[0].points} points, "
            f"{reached} of 20, search {search_s:.2f} s, proof {proof_s:.2f} s: {proof_s / search_s:.2f} x"
        )
        if reached >= 19:
            break
