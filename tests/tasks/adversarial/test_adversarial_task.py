"""The adversarial family on a trained linear net, whose robust accuracy has a closed form, and on broken nets."""

import json
from fractions import Fraction
from functools import cache

import pytest
import torch

from assay.data.draw import Draw
from assay.tasks.adversarial.task import TASK
from assay.tasks.base import clean_records
from digits_models import linear_net
from opened_jobs import JobRequest, open_job, run_units

LIMIT = 40
EPS = (0, Fraction(1, 50), Fraction(1, 20), Fraction(1, 10))
ATTACKS = """
  - {method: fgsm}
  - {method: bim, steps: 5, step_size: 0.4 eps}
  - {method: pgd, steps: 12, step_size: 0.25 eps}
  - {method: mim, steps: 5, step_size: 0.4 eps, momentum: 0.5}
"""


@pytest.fixture(scope="session")
def spec_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("spec") / "digits_attack.yaml"
    eps = ", ".join(map(str, EPS))
    path.write_text(
        f"schema: 1\nfamily: adversarial\ntitle: t\ndata: digits\neps: [{eps}]\nattacks:{ATTACKS}"
    )
    return str(path)


@pytest.fixture(scope="session")
def outcome(spec_path):
    """Job, records and summary of a factory of ``digits_models``, by its name."""

    @cache
    def run(factory, limit=LIMIT, batch_size=16):
        job = open_job(
            JobRequest(
                f"digits_models:{factory}", spec_path, limit=limit, batch_size=batch_size, draw=Draw.FIRST
            )
        )
        records = [
            record
            for chunk in range(job.chunk_count)
            for record in run_units(job, job.chunk(chunk), lambda _n: None)
        ]
        return job, records, TASK.summarise(job.spec.spec, clean_records(records))

    return run


def guards(summary):
    return {guard.name: guard for guard in summary.guards}


def value(summary, name):
    return next(metric.value for metric in summary.metrics if metric.name == name)


def closed_form_stands(job, eps):
    """Images that no perturbation of size eps can flip, ignoring the pixel range, and those that surely fall."""
    net = linear_net()
    images = torch.stack([job.model.prepare(job.data.image(unit.payload)) for unit in job.units]).flatten(1)
    labels = torch.tensor([unit.payload.label for unit in job.units])
    weight, logits = net[1].weight.detach(), net[1](images).detach()
    margins = logits.gather(1, labels[:, None]) - logits
    reach = eps * (weight[labels][:, None] - weight[None]).abs().sum(2)
    others = ~torch.nn.functional.one_hot(labels, 10).bool()
    certified = ((margins > reach) | ~others).all(1)
    # Inside the box: the best move against each class, each pixel clipped to [0, 1].
    move = -eps * torch.sign(weight[labels][:, None] - weight[None])
    moved = ((images[:, None] + move).clamp(0, 1) - images[:, None]) * (
        weight[labels][:, None] - weight[None]
    )
    exact = ((margins + moved.sum(2) > 0) | ~others).all(1)
    return certified, exact


@pytest.mark.parametrize("method", ["fgsm", "bim", "pgd", "mim"])
def test_a_linear_net_s_accuracy_is_the_closed_form(outcome, method):
    job, records, _ = outcome("linear")
    for eps in EPS[1:]:
        stands = torch.tensor([record.values["attacks"][method][str(eps)]["correct"] for record in records])
        certified, exact = closed_form_stands(job, float(eps))
        assert (stands >= certified).all(), "an attack broke what is proved to stand"
        assert (stands >= exact).all(), "an attack left the box or the ball"
        # Cross-entropy moves towards all wrong classes at once, so a few images may stand that the best move flips.
        assert (stands & ~exact).sum() <= 3


def test_eps_zero_is_the_clean_accuracy_exactly(outcome):
    _, _, summary = outcome("linear")
    for method in ("fgsm", "bim", "pgd", "mim", "worst"):
        assert value(summary, f"{method}:robust_accuracy@0") == value(summary, "clean_accuracy")


def test_both_denominators_are_given(outcome):
    _, records, summary = outcome("linear")
    correct = sum(record.values["clean_correct"] for record in records)
    of_all, of_correct = (
        next(m for m in summary.metrics if m.name == f"pgd:{name}@1/20")
        for name in ("robust_accuracy", "robust_accuracy_of_correct")
    )
    assert (of_all.n, of_correct.n) == (len(records), correct)
    assert of_all.value * of_all.n == pytest.approx(of_correct.value * of_correct.n)


def test_the_worst_case_is_per_image(outcome):
    _, records, summary = outcome("linear")
    falls = [
        any(not record.values["attacks"][m]["1/20"]["correct"] for m in ("fgsm", "bim", "pgd", "mim"))
        for record in records
    ]
    assert value(summary, "worst:robust_accuracy@1/20") == pytest.approx(1 - sum(falls) / len(falls))


def test_a_worst_row_names_the_attack_that_broke_the_image(outcome):
    job, records, _ = outcome("linear")
    rows = list(TASK.rows(job.spec.spec, records))
    broke = {
        (row["unit_id"], row["eps"], row["method"]): not row["adversarial_correct"]
        for row in rows
        if row["method"] != "worst"
    }
    for row in rows:
        if row["method"] == "worst":
            by = [each for each in ("fgsm", "bim", "pgd", "mim") if broke[row["unit_id"], row["eps"], each]]
            assert row["broken_by"] == (by[0] if by else None)
            assert row["adversarial_correct"] == (not by)
    assert {row.get("broken_by") for row in rows} >= {None, "fgsm"}


def test_a_sound_net_passes_every_guard(outcome):
    _, _, summary = outcome("linear")
    assert {name for name, guard in guards(summary).items() if not guard.passed} == set()


def test_batch_size_changes_nothing(outcome):
    _, one, _ = outcome("linear", limit=12, batch_size=1)
    _, many, _ = outcome("linear", limit=12, batch_size=12)
    assert [record.values["predicted"] for record in one] == [record.values["predicted"] for record in many]
    for alone, together in zip(one, many, strict=True):
        for method, by_eps in alone.values["attacks"].items():
            for eps, row in by_eps.items():
                assert row["correct"] == together.values["attacks"][method][eps]["correct"]


@pytest.mark.parametrize(
    ("shape", "device", "images"),
    [
        ((1, 28, 28), "cpu", 100),
        ((3, 224, 224), "cpu", 2),
        ((3, 224, 224), "cuda:1", 265),
        ((1, 8, 8), "cuda", 512),
    ],
)
def test_the_family_chooses_its_batch_by_the_size_of_an_image(shape, device, images):
    assert TASK.batch_size(shape, device) == images


@pytest.mark.parametrize(
    ("factory", "guard"),
    [
        ("always_dropout", "repeat_agrees"),
        ("batch_statistics", "alone_agrees"),
        ("steep_logits", "loss_not_saturated"),
        ("quantised", "gradient_not_zero"),
        ("constant", "gradient_not_zero"),
    ],
)
def test_a_planted_fault_fails_its_guard(outcome, factory, guard):
    _, _, summary = outcome(factory)
    assert not guards(summary)[guard].passed


def test_steep_logits_do_not_hide_the_true_accuracy(outcome):
    _, _, steep = outcome("steep_logits")
    _, _, plain = outcome("linear")
    for eps in EPS[1:]:
        name = f"pgd:robust_accuracy@{eps}"
        assert value(steep, name) <= value(plain, name) + 0.05


def test_an_image_whose_logits_are_nan_is_an_error_and_never_a_success(outcome):
    job, records, summary = outcome("nan_on_bright")
    failed = [record for record in records if record.error]
    assert 0 < len(failed) < len(records)
    assert all("NaN" in record.error for record in failed)
    assert all(metric.n <= len(records) - len(failed) for metric in summary.metrics)
    rows = list(TASK.rows(job.spec.spec, records))
    assert sum(row.get("error") is not None for row in rows) == len(failed)


def test_records_are_plain_json(outcome):
    _, records, _ = outcome("linear")
    assert json.loads(json.dumps(dict(records[0].values))) == records[0].values


def planted(records, **changes):
    """The records with one outcome of PGD at 1/20 altered: what a defect of ours would look like."""
    first = json.loads(json.dumps(dict(records[0].values)))
    first["attacks"]["pgd"][changes.pop("eps", "1/20")].update(changes)
    return [type(records[0])(records[0].unit_id, first), *records[1:]]


@pytest.mark.parametrize(
    ("changes", "guard"),
    [
        ({"distance": 0.051}, "inside_the_ball"),
        ({"in_box": False}, "inside_the_pixel_range"),
        ({"eps": "0", "distance": 0.01}, "eps_zero_is_clean"),
        ({"eps": "0", "predicted": -1}, "eps_zero_is_clean"),
        ({"claimed": True, "correct": True}, "successes_confirmed"),
    ],
)
def test_a_defect_of_an_attack_fails_its_guard(outcome, changes, guard):
    job, records, _ = outcome("linear", limit=12)
    summary = TASK.summarise(job.spec.spec, planted(records, **changes))
    assert not guards(summary)[guard].passed


def test_the_curve_is_drawn_with_its_intervals(outcome):
    job, records, _ = outcome("linear")
    figure, *sheets = TASK.figures(job.spec.spec, records)
    chart = json.loads(figure.content)
    assert {trace["name"] for trace in chart["data"]} == {"fgsm", "bim", "pgd", "mim", "worst"}
    assert all(len(trace["x"]) == len(EPS) for trace in chart["data"])
    assert str(len(records)) in figure.caption
    assert [sheet.kind for sheet in sheets] == ["png"] * job.spec.spec.sheets
    assert "bim: " in sheets[0].caption


@pytest.mark.parametrize("turn", ["", "in_turn: true\n", "curve: bisect\n"])
def test_passes_are_counted_for_each_image_where_that_is_asked_for(run_digits, turn):
    attacks = (
        "attacks: [{method: bim, steps: 5, step_size: 1/100}, {method: square, steps: 20, loss: margin}]\n"
    )
    lines = f"eps: [0, 1/50, 1/10]\n{turn}{attacks}probe_queries: 0"
    plain, run = (
        run_digits("digits_models:linear", lines, 20),
        run_digits("digits_models:linear", f"{lines}\ncount_passes: true", 20),
    )
    assert plain.spec.sha256 != run.spec.sha256
    assert "count_passes" not in plain.spec.identity()
    rows = list(run.job.task.rows(run.spec, run.records))
    for record in run.records:
        for by_eps in record.values["attacks"].values():
            for outcome in by_eps.values():
                forward, backward = outcome["forward_passes"], outcome["backward_passes"]
                attacked = outcome["steps"] > 0 or forward > 0
                assert forward >= backward >= 0
                assert attacked == (forward > 0)
                assert not (outcome["carried"] and turn == "in_turn: true\n" and attacked)
    square = [row for row in rows if row["method"] == "square"]
    assert sum(row["forward_passes"] for row in square) > 0
    assert not any(row["backward_passes"] for row in square)
    whole, parts = (
        sum(row["forward_passes"] for row in rows if (row["method"] == "worst") == worst)
        for worst in (True, False)
    )
    assert whole == parts
    assert not any("forward_passes" in row for row in plain.job.task.rows(plain.spec, plain.records))
