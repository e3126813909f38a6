"""`import assay` as a user in Python meets it: the answers are the command line's, and nothing is left behind."""

import subprocess
import sys
import tempfile

import pytest
import torch
from torch import nn

import assay
from assay.api import load
from assay.common.errors import UserError
from assay.data.dataset import open_dataset
from assay.data.manifest import load_manifest
from assay.models.zoo import load_model, registry
from digits_models import DESCRIPTION, linear_net
from small_jobs import write_spec

SPEC = """schema: 1
family: adversarial
title: Digits under attack
data: digits-test
eps: [0, 1/10]
attacks: [{method: fgsm}]
chunk_units: 20
"""


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    return write_spec(tmp_path_factory.mktemp("api"), "t", SPEC)


@pytest.fixture(scope="module")
def digits():
    """Eight pictures (8, 1, 8, 8) in [0, 1] of the test part, and their labels."""
    data = open_dataset(load_manifest("digits-test"))
    samples = data.samples[:8]
    pixels = torch.stack([torch.from_numpy(data.image(sample)) for sample in samples])
    return pixels.permute(0, 3, 1, 2).float() / 255, [sample.label for sample in samples]


def evaluate(*arguments, **options):
    return assay.evaluate(*arguments, **{"limit": 40, "progress": False} | options)


def test_importing_it_imports_nothing_heavy():
    heavy = ("torch", "numpy", "pandas", "pydantic", "typer")
    asks = (
        f"import sys, assay; print([name for name in {heavy} if name in sys.modules], sorted(assay.__all__))"
    )
    done = subprocess.run([sys.executable, "-c", asks], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"[] {sorted(assay.__all__)}"
    assert set(assay.__all__) <= set(dir(assay))
    with pytest.raises(AttributeError, match="has no attribute 'evalute'"):
        _ = assay.evalute


def test_it_gives_the_command_line_s_answer(spec, tmp_path, assay):
    code, _, _ = assay(
        "run", "--model", "digits_fnn", "--task", spec, "--limit", 40, "--out", tmp_path / "o", "--quiet"
    )
    run = evaluate("digits_fnn", spec)
    assert code == 0
    assert run.results == load(tmp_path / "o").results
    assert (tmp_path / "o/results.csv").read_text().splitlines()[0] == ",".join(run.to_frame().columns)


def test_a_module_in_memory_is_scored_and_left_as_it_is(spec):
    net = linear_net().train()
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        run = evaluate(net, spec, preprocessing=DESCRIPTION, name="mine")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert net.training
    assert all(weight.requires_grad for weight in net.parameters())
    assert "mine" not in registry().entries
    as_factory = evaluate("digits_models:linear", spec)
    assert run.result().metrics == as_factory.result().metrics
    assert run.result().model.name == "mine"


def test_two_modules_of_one_name_are_two_models(spec):
    """Nothing is remembered by name: the second call asks the second network."""
    net = linear_net()
    first = evaluate(net, spec, preprocessing=DESCRIPTION, name="mine")
    with torch.no_grad():
        net[1].weight.neg_()
    second = evaluate(net, spec, preprocessing=DESCRIPTION, name="mine")
    one, other = (run.result().metrics[0].value for run in (first, second))
    assert one != other


def test_another_network_does_not_take_the_place_of_a_result(spec, tmp_path):
    """The name in the notebook is the same, the weights are not."""
    kept = evaluate(linear_net(), spec, preprocessing=DESCRIPTION, name="mine", out=tmp_path / "o")
    other = linear_net()
    with torch.no_grad():
        other[1].weight.neg_()
    with pytest.raises(UserError, match="has results of mine with other weights"):
        evaluate(other, spec, preprocessing=DESCRIPTION, name="mine", out=tmp_path / "o")
    assert assay.load(tmp_path / "o").results == kept.results


def test_its_folder_goes_with_it_and_one_that_is_asked_for_stays(spec, tmp_path):
    run = evaluate("digits_fnn", spec)
    folder = run.folder
    assert folder.is_relative_to(tempfile.gettempdir())
    assert (folder / "results.csv").is_file()
    del run
    assert not folder.exists()
    kept = evaluate("digits_fnn", spec, out=tmp_path / "kept")
    assert kept.folder == tmp_path / "kept"
    assert assay.load(kept.folder).results == kept.results


def test_a_run_shows_itself(spec):
    run = evaluate("digits_fnn", spec)
    assert run.card.splitlines()[0] == "digits_fnn"
    assert run.card == str(run)
    assert "<pre>digits_fnn" in run._repr_html_()
    assert repr(run) == f"<run in {run.folder}: 1 result of digits_fnn; print(run) shows its card>"
    figure = run.result().headline_metric
    assert repr(run.result()) == f"<t of digits_fnn: complete, {figure.name} = {figure.value:.4g}>"
    kinds = {kind for figure in run.figures for kind in figure._repr_mimebundle_()}
    assert kinds == {"application/vnd.plotly.v1+json", "image/png", "text/plain"}
    records = run.records()
    drawn = open_dataset(load_manifest("digits-test")).part(40)
    assert list(records["unit_id"].unique()) == [sample.unit_id for sample in drawn]
    with pytest.raises(UserError, match="has 0 such results; it has t of digits_fnn"):
        run.result("another")


def test_two_runs_are_compared_pair_by_pair(spec):
    one = evaluate(linear_net(), spec, preprocessing=DESCRIPTION)
    other = evaluate("digits_fnn", spec)
    there, back = assay.compare(one, other), assay.compare(other, one)
    assert set(there["task"]) == {"t"}
    assert (there["difference"] == -back["difference"]).all()
    assert (there["only_a"] == back["only_b"]).all()
    name = one.result().headline
    means = [run.result().headline_metric.value for run in (one, other)]
    row = there.set_index("metric").loc[name]
    assert row["difference"] == pytest.approx(means[0] - means[1])


def test_a_track_is_its_tasks():
    from assay.api.evaluation import tasks_of
    from assay.runner.jobs import JobRequest
    from assay.tasks.families import load_spec
    from assay.tasks.tracks import Scale, load_track

    track = load_track("digits")
    asked = JobRequest("digits_fnn", "")
    assert tasks_of(["digits"], Scale.EMBEDDED, asked) == list(track.embedded.tasks)
    both = tasks_of(["adversarial/digits", "digits"], Scale.FULL, asked)
    assert both == list(dict.fromkeys(["adversarial/digits", *track.full.tasks]))
    of_family = tasks_of(["corruptions"], Scale.FULL, asked)
    assert "corruptions/digits" in of_family
    assert all(load_spec(task).manifest.label_space == "digits" for task in of_family)
    with pytest.raises(
        UserError, match="none of its tasks has the label space 'digits' of digits_fnn; name one"
    ):
        tasks_of(["srvr"], Scale.FULL, asked)


def test_an_attack_by_name_and_in_memory(digits):
    images, labels = digits
    found = assay.attack("digits_fnn", images, labels, "pgd", eps=0.2)
    assert (found.images - images).abs().max() <= 0.2 + 1e-6
    answers = load_model("digits_fnn").module(found.images).argmax(1)
    assert (answers[found.success] != torch.tensor(labels)[found.success]).all()
    net = linear_net()
    step = assay.attack(
        net, images.numpy(), labels, "fgsm", eps=0.1, preprocessing=DESCRIPTION, early_stop=False
    )
    pixels = images.clone().requires_grad_()
    nn.functional.cross_entropy(net(pixels), torch.tensor(labels), reduction="sum").backward()
    assert torch.allclose(step.images, (images + 0.1 * pixels.grad.sign()).clamp(0, 1), atol=1e-6)
    with pytest.raises(UserError, match="unknown setting 'step'; choose one of"):
        assay.attack("digits_fnn", images, labels, eps=0.1, step=3)


def test_a_radius_may_be_written_as_a_fraction_and_a_result_shows_itself_in_a_line(digits):
    images, labels = digits
    exact, rounded = (assay.attack("digits_fnn", images, labels, eps=eps, steps=2) for eps in ("1/5", 0.2))
    assert torch.equal(exact.images, rounded.images)
    assert repr(exact) == f"AttackResult({int(exact.success.sum())} of 8 images fell)"
    for wrong in ("1/0", "large"):
        with pytest.raises(UserError, match="eps: expected a number or a fraction such as 8/255"):
            assay.attack("digits_fnn", images, labels, eps=wrong)


def test_a_small_question_needs_no_file(spec, assay, tmp_path):
    run = evaluate("digits_fnn", spec, settings={"eps": "1/20", "attacks": ["fgsm"], "probe_queries": 0})
    assert "fgsm:robust_accuracy@1/20" in [metric.name for metric in run.result().metrics]
    words = [
        "--set",
        "eps=1/20",
        "--set",
        "attacks=fgsm",
        "--set",
        "probe_queries=0",
        "--limit",
        "40",
        "--quiet",
    ]
    assay("run", "--model", "digits_fnn", "--task", spec, *words, "--out", tmp_path / "o")
    typed = load(tmp_path / "o").result()
    assert [metric.value for metric in typed.metrics] == [metric.value for metric in run.result().metrics]


def test_saliency_of_a_linear_network_is_its_weights(digits):
    images, _ = digits
    net = linear_net()
    maps = assay.saliency(net, images, target=3, preprocessing=DESCRIPTION)
    expected = net[1].weight[3].detach().view(8, 8).expand(8, 8, 8)
    assert torch.allclose(maps, expected, atol=1e-6)
    assert assay.saliency("digits_fnn", images, "smoothgrad", samples=2).shape == (8, 8, 8)


def test_a_proof_is_the_verb_s(digits, tmp_path):
    images, labels = digits
    found = assay.verify("digits_fnn", images[0], "brightness:0:0.05", delta=100)
    assert found.label == labels[0]
    assert repr(found) == f"<label {labels[0]}; attention within 100: robust; label kept: robust>"
    with pytest.raises(
        UserError, match=r"image: is \(3, 8, 8\) where digits_fnn reads \(1, 8, 8\); resize it"
    ):
        assay.verify("digits_fnn", images[0].repeat(3, 1, 1), "brightness:0:0.05")
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.Sigmoid())
    with pytest.raises(
        UserError, match=r"layer 2 \(Sigmoid\) cannot be verified.*choose a network of linear layers"
    ):
        assay.verify(net, images[0], "brightness:0:0.05", preprocessing=DESCRIPTION)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"preprocessing": DESCRIPTION}, "belongs to a module in memory; a name or card brings its own"),
        ({"name": "mine"}, "belongs to a module in memory"),
        ({"model": linear_net(), "name": "digits_fnn"}, "another model has this name"),
        ({"model": linear_net(), "weights": "w.pth"}, "belong to a model that is given by name"),
        ({"task": []}, "name at least one"),
        ({"task": "adversarial/digts"}, "did you mean adversarial/digits"),
        ({"task": 7}, "task: expected a text or a list of texts \\(got 7\\)"),
        ({"model": nn.Linear}, "model: expected a torch.nn.Module, a name"),
        ({"model": linear_net(), "preprocessing": [1]}, "preprocessing: expected a dictionary"),
        ({"limit": 0}, "limit: expected a whole number from 1 \\(got 0\\)"),
        ({"limit": 2.5}, "limit: expected a whole number"),
        ({"batch_size": True}, "batch_size: expected a whole number"),
        ({"threads": 0}, "threads: expected a whole number"),
        ({"scale": "huge"}, "scale: expected embedded, medium, full \\(got 'huge'\\)"),
        ({"settings": ["eps=1"]}, "settings: expected a dictionary"),
        ({"data_roots": 7}, "data_roots: expected a text"),
    ],
)
def test_what_cannot_be_is_one_sentence(spec, options, complaint):
    with pytest.raises(UserError, match=complaint):
        evaluate(**{"model": "digits_fnn", "task": spec} | options)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"images": "cat.png"}, "images: expected a tensor or an array of numbers, got 'cat.png'"),
        (
            {"images": torch.rand(2, 3, 8, 8)},
            r"images: expected \(N, 1, 8, 8\) for digits_fnn, .* got \(2, 3, 8, 8\)",
        ),
        ({"images": torch.rand(0, 1, 8, 8)}, "one or more"),
        ({"images": torch.rand(2, 1, 8, 8) + 1}, r"images: expected pixels in \[0, 1\]"),
        ({"images": torch.full((2, 1, 8, 8), float("nan"))}, r"images: expected pixels in \[0, 1\]"),
        ({"labels": [1]}, r"labels: expected one per image \(2\), got 1"),
        ({"labels": [1, 10]}, r"labels: 10 is no class of digits_fnn, which has 0..9"),
        ({"labels": [0.5, 1.0]}, "labels: expected whole numbers, got float32"),
        ({"targets": [-1, 1]}, "targets: -1 is no class"),
        ({"batch_size": 0}, "batch_size: expected a whole number"),
        ({"eps": None}, "eps: expected a number or a fraction"),
        ({"model": None}, "model: expected a torch.nn.Module"),
    ],
)
def test_pictures_and_classes_that_do_not_fit_are_one_sentence(changes, complaint):
    asked = {"model": "digits_fnn", "images": torch.rand(2, 1, 8, 8), "labels": [0, 1], "eps": 0.1} | changes
    with pytest.raises(UserError, match=complaint):
        assay.attack(asked.pop("model"), asked.pop("images"), asked.pop("labels"), "fgsm", **asked)
    shared = {"images", "model", "batch_size", *(["targets"] if "labels" not in changes else [])} & set(
        changes
    )
    if shared:
        given = {"model": "digits_fnn", "images": torch.rand(2, 1, 8, 8)} | changes
        given["target"] = given.pop("targets", None)
        with pytest.raises(UserError, match=complaint.replace("targets", "target")):
            assay.saliency(given.pop("model"), given.pop("images"), **given)


def test_a_proof_of_what_is_no_picture_is_one_sentence(digits):
    images, _ = digits
    for image, complaint in (
        (images[0] * 16, r"image: expected pixels in \[0, 1\]"),
        ([["a"]], "image: expected a ten"),
    ):
        with pytest.raises(UserError, match=complaint):
            assay.verify("digits_fnn", image, "brightness:0:0.05")
    with pytest.raises(UserError, match="perturbation: expected a text or a list of texts"):
        assay.verify("digits_fnn", images[0], 7)
