"""Attention relative to itself: exact against a grid, and what it says when nothing is decided."""

import json
import math
from copy import deepcopy
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from assay.tasks.base import Record
from assay.tasks.verification.evaluate import describe
from assay.tasks.verification.grammar import parse_theta
from assay.tasks.verification.network import read_network
from assay.tasks.verification.problem import ProofQuestion
from assay.tasks.verification.relative import RELATIVE_DELTA
from assay.tasks.verification.spec import VerificationSpec
from assay.tasks.verification.task import TASK
from assay.tasks.verification.verify import verify

PLANE = ["brightness:0:0.3", "patch:0:0.5:3:3:2x2"]
NAME = " + ".join(PLANE)
HEADLINE = f"{NAME}:attention_within_quarter"


def spec_of(*combinations, deltas=(1, 3)):
    fields = {"schema": 1, "family": "verification", "title": "t", "data": "digits", "labels": "predicted"}
    fields |= {"combinations": combinations or [PLANE], "deltas": deltas}
    return VerificationSpec.model_validate_json(json.dumps(fields))


def records_of(module, images, labels="predicted", timeout_s=math.inf):
    network, theta = read_network(module, (1, 8, 8)), parse_theta(PLANE)
    found = [verify(network, image, ProofQuestion(theta, labels, timeout_s=timeout_s)) for image in images]
    samples = [SimpleNamespace(unit_id=str(i), label=3) for i in range(len(images))]
    return [
        Record(f"{sample.unit_id} {NAME}", describe(each, sample, NAME))
        for each, sample in zip(found, samples, strict=True)
    ]


def metrics(records, spec=None):
    return {metric.name: metric for metric in TASK.summarise(spec or spec_of(deltas=(3,)), records).metrics}


def changed_last_layer(module, factor=1.0, constant=0.0, order=None):
    changed = deepcopy(module)
    last = changed[-1]
    rows = torch.arange(10) if order is None else order
    last.weight.data = last.weight.data[rows] * factor
    last.bias.data = last.bias.data[rows] * factor + constant
    return changed


def test_the_share_is_that_of_a_grid_on_the_network_itself(digits_module, digits_network, digits):
    theta = parse_theta(["brightness:0:0.3"])
    for image in digits[:5]:
        found = verify(digits_network, image, ProofQuestion(theta, "predicted"))

        def attention(brightness, image=image, label=found.label):
            pixels = (image + brightness).requires_grad_()
            return torch.autograd.grad(digits_module(pixels[None])[0, label], pixels)[0]

        still = attention(0.0)
        grid = (torch.arange(1000) + 0.5) / 1000 * 0.3
        moved = [float((attention(float(b)) - still).norm() / still.norm()) for b in grid]
        within = sum(each <= RELATIVE_DELTA for each in moved) / 1000
        assert found.relative.norm == pytest.approx(float(still.norm()))
        assert found.relative.satisfied == pytest.approx(within, abs=2e-3)
        assert found.relative.satisfied + found.relative.violated == pytest.approx(1)  # one map a cell
        assert max(moved) <= found.sup_ai / found.relative.norm + 1e-9


@pytest.mark.parametrize("factor", [1e-4, 0.37, 1e4])
def test_a_factor_of_the_logits_changes_no_headline_and_no_proof_of_the_label(digits_module, digits, factor):
    before = records_of(digits_module, digits[:10])
    after = records_of(changed_last_layer(digits_module, factor), digits[:10])
    one, other = metrics(before), metrics(after)
    for name in (HEADLINE, f"{NAME}:median_relative_sup", f"{NAME}:CR:mean_share_satisfied"):
        assert other[name].value == pytest.approx(one[name].value, rel=1e-9)
    assert other[f"{NAME}:CR:robust"] == one[f"{NAME}:CR:robust"]
    assert other[f"{NAME}:decided"] == one[f"{NAME}:decided"]
    assert [record.values["audit_missed"] for record in after] == [0] * 10
    # The paper's own figure keeps its definition, and so depends on the factor.
    assert other[f"{NAME}:AR(3):robust"].value != one[f"{NAME}:AR(3):robust"].value or factor == 0.37


def test_neither_a_constant_nor_the_classes_order_nor_the_images_order_changes_it(digits_module, digits):
    before = metrics(records_of(digits_module, digits[:8]))
    order = torch.randperm(10, generator=torch.Generator().manual_seed(0))
    for module in (
        changed_last_layer(digits_module, constant=40.0),
        changed_last_layer(digits_module, order=order),
    ):
        after = metrics(records_of(module, digits[:8]))
        for name in (HEADLINE, f"{NAME}:median_relative_sup"):
            assert after[name].value == pytest.approx(before[name].value, rel=1e-9)
    backwards = metrics(records_of(digits_module, digits[:8])[::-1])
    assert backwards[HEADLINE].value == pytest.approx(before[HEADLINE].value)


def test_what_is_not_decided_is_not_proved(digits_module, digits):
    decided = records_of(digits_module, digits[:3])
    late = records_of(digits_module, digits[3:9], timeout_s=0)
    found = metrics([*decided, *late])
    proved = sum(record.values["relative"]["satisfied"] for record in decided)
    assert found[HEADLINE].value == pytest.approx(proved / 9)
    assert found[HEADLINE].n == 9
    assert found[f"{NAME}:median_relative_sup"].value is None  # more than half have no supremum


def test_a_median_whose_upper_end_is_unknown_shows_no_interval(digits_module, digits):
    decided = records_of(digits_module, digits[:8])
    found = metrics([*decided, *records_of(digits_module, digits[8:10], timeout_s=0)])
    median = found[f"{NAME}:median_relative_sup"]
    assert median.value is not None
    assert median.ci_low is median.ci_high is None


def test_records_of_before_have_no_headline(digits_module, digits):
    (record,) = records_of(digits_module, digits[:1])
    values = {name: value for name, value in record.values.items() if name != "relative"}
    old = replace(record, values=TASK.record_values.validate_python(values).model_dump())
    assert metrics([old])[HEADLINE].value is None
    assert metrics([old])[f"{NAME}:AR(3):robust"].n == 1


def test_every_metric_has_a_title_and_the_headline_comes_first(digits_module, digits):
    spec = spec_of(
        PLANE, ["brightness:0:0.1", "patch:0:0.5:3:3:2x2"], ["brightness:0:0.3", "translation:x:0:1"]
    )
    found = TASK.summarise(spec, records_of(digits_module, digits[:0])).metrics
    assert len({metric.title for metric in found}) == len(found)
    assert spec.headline_key == HEADLINE == found[0].name
    titles = {metric.name: metric.title for metric in found}
    assert titles["brightness:0:0.3 + translation:x:0:1:attention_within_quarter"] == (
        "Attention proved within ¼, brightness + translation x"
    )
    assert titles[HEADLINE] == f"Attention proved within ¼, {NAME}"  # two are alike but for their ranges
    alone = TASK.summarise(spec_of(), ()).metrics
    assert alone[0].title == "Attention proved within ¼, brightness + patch"
    assert set(spec.metric_keys()) <= set(titles)
