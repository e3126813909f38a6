"""The verification family through the runner, on the shipped digits network, and its verbs."""

import csv
import io
import json
import re
from pathlib import Path

import pytest
import torch
from PIL import Image

from assay.data.dataset import open_dataset
from assay.data.manifest import load_manifest
from assay.models.zoo import load_model
from assay.runner.assemble import records_csv, stored_jobs
from assay.runner.jobs import JobRequest
from assay.runner.plan import plan_jobs
from assay.runner.run import run_jobs
from assay.tasks.base import Record
from assay.tasks.verification.grammar import parse_theta
from assay.tasks.verification.task import TASK
from small_training import load_digits_fnn

SPEC = """schema: 1
family: verification
title: t
data: digits-test
images: 3
combinations:
  - ["brightness:0:0.3", "patch:0:0.5:3:3:2x2"]
  - ["brightness:-0.1:0.2"]
deltas: [1, 3]
labels: predicted
timeout_s: {timeout}
"""


def run(folder, timeout=60, model="digits_fnn", spec=SPEC):
    path = folder / "v.yaml"
    path.write_text(spec.format(timeout=timeout))
    run_folder = run_jobs(plan_jobs([JobRequest(model, str(path))]), folder / "out")
    (job,) = stored_jobs(run_folder)
    return job


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    return run(tmp_path_factory.mktemp("verification"))


def rows(job):
    return list(csv.DictReader(io.StringIO(records_csv(job))))


def test_every_image_and_property_has_a_row_with_the_promised_columns(job):
    found = rows(job)
    assert len(found) == 3 * 2 * 3
    assert tuple(found[0]) == TASK.record_columns
    assert {row["verdict"] for row in found} <= {"robust", "violated"}
    assert all(len(json.loads(row["theta_sup"])) == row["perturbation"].count("+") + 1 for row in found)


def test_verdicts_agree_with_a_grid_on_the_network_itself(job):
    """An independent program: automatic differentiation in float64 on a grid over the range."""
    net = load_digits_fnn().double()
    data = open_dataset(load_manifest("digits-test"), [])
    prepare = load_model("digits_fnn").prepare
    images = {sample.unit_id: prepare(data.image(sample)).double() for sample in data.samples[:3]}
    for record in job.records():
        texts = record.values["perturbation"].split(" + ")
        theta = parse_theta(texts)
        image = images[record.values["image"]]
        label = int(net(image[None]).argmax())
        steps = torch.linspace(0, 1, 41 if theta.dimension == 1 else 13, dtype=torch.float64)
        grid = torch.cartesian_prod(*[steps] * theta.dimension).reshape(-1, theta.dimension)
        largest, smallest = 0.0, torch.inf
        still = _saliency(net, image, label)
        for point in theta.lower + grid * (theta.upper - theta.lower):
            moved = theta.apply(image, point)
            largest = max(largest, float((_saliency(net, moved, label) - still).norm()))
            logits = net(moved[None])[0].detach()
            smallest = min(smallest, float(logits[label] - logits[torch.arange(10) != label].max()))
        assert largest <= record.values["sup_ai"] + 1e-9
        assert smallest >= record.values["min_margin"] - 1e-9
        if record.values["properties"]["CR"]["verdict"] == "robust":
            assert smallest > 0


def _saliency(net, image, label):
    image = image.detach().requires_grad_(True)
    return torch.autograd.grad(net(image[None])[0, label], image)[0]


def test_a_time_out_of_zero_claims_nothing(tmp_path):
    job = run(tmp_path, timeout=0)
    assert {row["verdict"] for row in rows(job)} == {"unknown"}
    result = job.result(job.records())
    decided = [metric for metric in result.metrics if metric.name.endswith(":decided")]
    assert decided
    assert all(metric.value == 0 for metric in decided)


def test_all_guards_pass_and_pictures_are_stored(job):
    records = job.records()
    result = job.result(records)
    assert result.failed_guards == ()
    figures = TASK.figures(job.spec, records)
    assert len(figures) == 2 * (3 + 2)  # two images; a map of regions needs two parameters
    assert all(figure.content.startswith(b"\x89PNG") for figure in figures)
    assert all(
        re.match(r"Image \w+, brightness( \+ patch)?: ", figure.caption) for figure in figures
    )  # no range's key
    assert all("proved: attention inconsistency at most" in figure.caption for figure in figures)


@pytest.mark.parametrize(
    ("change", "guard"),
    [
        (lambda v: v.update(covered=1.001), "theta_is_covered"),
        (lambda v: v.update(audit_missed=1), "audit_found_no_gap"),
        (lambda v: v["properties"]["CR"].update(verdict="violated", witness=None), "violations_confirmed"),
        (lambda v: v["properties"]["AR(3)"].update(satisfied=-1.0), "shares_are_nested"),
    ],
)
def test_a_planted_lie_fails_its_guard(job, change, guard):
    first, *others = job.records()
    values = json.loads(json.dumps(dict(first.values)))
    change(values)
    summary = TASK.summarise(job.spec, [Record(first.unit_id, values), *others])
    assert not next(found for found in summary.guards if found.name == guard).passed


def test_the_guards_do_not_read_the_order_in_which_a_store_names_the_properties(job):
    """Stored records name them in alphabetical order, so that AR(10) stands before AR(3)."""
    first = job.records()[0]
    values = json.loads(json.dumps(dict(first.values)))
    wider = {**values["properties"]["AR(3)"], "satisfied": values["covered"], "violated": 0.0, "partial": 0.0}
    narrower = {**wider, "satisfied": 0.0, "violated": values["covered"]}
    values["properties"] = {"AR(10)": wider, "AR(3)": narrower, "CR": values["properties"]["CR"]}
    spec = job.spec.model_copy(update={"deltas": (3.0, 10.0)})
    summary = TASK.summarise(spec, [Record(first.unit_id, values)])
    assert next(guard for guard in summary.guards if guard.name == "shares_are_nested").passed


def test_the_figures_of_a_combination_are_those_of_its_rows(job):
    """Those that docs/measured.md has a column of: decided, cells, seconds, delta*, margin, CR but not AR."""
    records = job.records()
    found = {metric.name: metric.value for metric in job.result(records).metrics}
    for name in job.spec.names:
        some = [record.values for record in records if record.values["perturbation"] == name]
        for metric, column in {"delta_star": "sup_ai", "min_margin": "min_margin", "cells": "cells"}.items():
            assert found[f"{name}:median_{metric}"] == sorted(row[column] for row in some)[1]
        seconds = sorted(row["seconds"] for row in some)
        assert (found[f"{name}:median_seconds"], found[f"{name}:p95_seconds"]) == (seconds[1], seconds[2])
        share = sum(row["satisfies_cr_not_ar"] for row in some) / 3
        assert found[f"{name}:mean_share_CR_but_not_AR(3)"] == pytest.approx(share)
        assert found[f"{name}:decided"] == 1
        for kind in ("AR(1)", "AR(3)", "CR"):
            verdicts = [row["properties"][kind]["verdict"] for row in some]
            assert found[f"{name}:{kind}:robust"] == verdicts.count("robust") / 3
            assert found[f"{name}:{kind}:violated"] == verdicts.count("violated") / 3


@pytest.mark.parametrize(("model", "node"), [("curved", "net.2 (SiLU)"), ("joined", "mul (mul)")])
def test_the_node_that_is_not_piecewise_linear_is_named_in_the_result(tmp_path, monkeypatch, model, node):
    monkeypatch.syspath_prepend(Path(__file__).parent)
    reason = run(tmp_path, model=f"curved_models:{model}").document["not_applicable"]
    assert reason.startswith(f"layer {node} cannot be verified: read are Linear, Conv2d, pooling, ")


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("deltas: [1, 3]", "deltas: [0]", "greater than 0"),
        ("deltas: [1, 3]", "deltas: [3, 1]", "ascending order"),
        ("brightness:-0.1:0.2", "brightness:0.2:0.2", "empty range"),
        ("brightness:-0.1:0.2", "darkness:0:1", "not understood"),
        ("brightness:-0.1:0.2", "brightness", "expected perturbations such as"),
        ("labels: predicted", "labels: some", "labels"),
        (
            '["brightness:-0.1:0.2"]',
            '["translation:xy:0:1", "brightness:0:1", "patch:0:1:0:0:2x2"]',
            "4 perturbation parameters",
        ),
    ],
)
def test_a_wrong_spec_is_refused_before_any_work(tmp_path, old, new, complaint):
    from assay.common.errors import UserError

    with pytest.raises(UserError, match=complaint) as caught:
        run(tmp_path, spec=SPEC.replace(old, new))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.fixture
def picture(tmp_path):
    from sklearn.datasets import load_digits

    path = tmp_path / "five.png"
    Image.fromarray((load_digits().images[5] * 255 / 16).round().astype("uint8")).save(path)
    return path


def test_one_image_as_json_and_with_pictures(picture, tmp_path, assay):
    out = tmp_path / "pictures"
    options = ["--model", "digits_fnn", "--image", picture, "--perturbation", "brightness:0:0.3"]
    code, text, err = assay(
        "verify", *options, "--perturbation", "patch:0:0.5:3:3:2x2", "--json", "--out", out
    )
    assert err == f"pictures: {out}\n"
    assert code == 0
    found = json.loads(text)
    assert set(TASK.record_columns) <= set(found)
    assert {row["property"] for row in found["properties"]} == {"AR(3)", "CR"}
    assert {path.name for path in Path(out).iterdir()} == {"regions.png", "saliency.png", "ray.png"}


def test_pictures_that_cannot_be_written_do_not_cost_the_answer(picture, tmp_path, assay):
    (tmp_path / "letter").write_text("keep me")
    options = ["--model", "digits_fnn", "--image", picture, "--perturbation", "brightness:0:0.1", "--json"]
    code, text, err = assay("verify", *options, "--out", tmp_path / "letter")
    assert (code, err.count("\n")) == (2, 1)
    assert "cannot be written" in err
    assert json.loads(text)["cells"] > 0
    assert (tmp_path / "letter").read_text() == "keep me"


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--perturbation", "brightness:0:0"], "empty range"),
        (["--perturbation", "patch:0:1:7:7:4x4"], "not inside the image"),
        (["--perturbation", "brightness:0:1", "--delta", "0"], "greater than 0"),
        (
            ["--perturbation", "brightness:0:1", "--model", "efficientnet_lite0"],
            "layer 1.conv_stem (Conv2dSame) cannot be verified",
        ),
        (["--perturbation", "brightness:0:1", "--image", "none.png"], "cannot be read"),
        (["--perturbation", "grey:0:1"], "not understood"),
    ],
)
def test_bad_input_of_verify_is_one_sentence(picture, assay, options, complaint):
    start = {"--model": "digits_fnn", "--image": str(picture)}
    pairs = start | dict(zip(options[::2], options[1::2], strict=True))
    code, _, err = assay("verify", *[word for pair in pairs.items() for word in pair])
    assert code == 2
    assert complaint in err
    assert err.count("\n") == 1
