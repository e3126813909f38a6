"""A whole reproduction of a paper of our own: made once, found again, never half-made."""

import csv
import json
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import yaml

from assay.common.errors import UserError
from assay.common.resources import shipped_folder
from assay.models.trained import read_card, write_card
from assay.models.zoo import named_in
from assay.papers.claims import MeasuredValue, MissingValue, Verdict
from assay.papers.dry_run import UNKNOWN, plan_text
from assay.papers.execute import reproduce
from assay.papers.intervals import half_over_images, student_interval
from assay.papers.measure import measure, over_seeds
from assay.papers.nets import Net, train_missing
from assay.papers.plan import Reproduction
from assay.papers.report import terminal_text, write
from assay.papers.spec.paper import load_paper
from assay.papers.spec.scales import RecipeModel
from assay.results.document import Guard, Status
from assay.runner.executors import InProcess
from assay.runner.progress import duration
from assay.runner.run import InterruptedRunError, Runtime
from assay.tasks.families import load_spec
from small_jobs import Stops

HOSTILE = "<script>alert('x')</script>"
TASK = """schema: 1
family: adversarial
title: Digits under FGSM
data: digits-test
eps: [0, 1/50, 1/10]
attacks: [{method: fgsm}]
sheets: 0
"""
NET = {
    **yaml.safe_load((shipped_folder("benchmarks") / "recipes" / "munakata" / "digits.yaml").read_text()),
    "epochs": 4,
}
PAPER = {
    "schema": 1, "paper": "tiny", "title": f"A paper {HOSTILE}", "authors": "A", "source": "S", "summary": "Y",
    "tables": [
        {"id": "t", "place": "Table 1", "what": "w", "unit": "%", "columns": ["clean", "other"], "rows": {"r": [90, 1]}}
    ],
    "measurements": {
        "clean": {"kind": "metric", "text": "clean", "model": "net", "task": "fgsm", "metric": "clean_accuracy",
                  "published": {"table": "t", "row": "r", "column": "clean", "scale": 0.01}},
        "robust": {"kind": "curve", "text": "robust", "model": "net", "task": "fgsm", "series": "fgsm"},
        "other": {"kind": "curve", "text": "other", "model": "shipped", "task": "fgsm", "series": "fgsm"},
        "aligned": {"kind": "alignment", "text": "alignment", "model": "net", "data": "{images}", "images": 20},
        "seconds": {"kind": "training", "text": "time", "model": "net", "quantity": "seconds"},
    },
    "claims": [
        {"id": "falls", "place": "Table 1", "text": "Attacks lower it.",
         "test": {"type": "less", "left": "robust", "right": "clean"}},
        {"id": "rises", "place": "Table 1", "text": "Attacks raise it.",
         "test": {"type": "greater", "left": "robust", "right": "clean"}},
        {"id": "elsewhere", "place": "Table 1", "text": "On ImageNet, too.",
         "test": {"type": "less", "left": "robust", "right": "clean"}},
    ],
    "scales": {
        "smoke": {
            "differs": ["Everything."],
            "names": {"images": "digits-test"},
            "models": {
                "net": {"kind": "recipe", "recipe": "net.yaml", "seeds": [0, 1, 2]},
                "shipped": {"kind": "zoo", "model": "digits_fnn"},
            },
            "tasks": {"fgsm": {"task": "fgsm.yaml", "limit": 60}},
            "untested": {"elsewhere": "there is no ImageNet here"},
        },
        "cpu": {
            "differs": [],
            "names": {"images": "mnist-test"},
            "models": {"net": {"kind": "recipe", "recipe": "munakata/mnist/fnn_200", "seeds": [0]}},
            "tasks": {"fgsm": {"task": "fgsm.yaml"}},
        },
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("paper")
    (folder / "fgsm.yaml").write_text(TASK)
    (folder / "net.yaml").write_text(yaml.safe_dump(NET))
    (folder / "tiny.yaml").write_text(yaml.safe_dump(PAPER))
    return folder


def plan_in(home, out, scale="smoke"):
    paper, folder = load_paper(str(home / "tiny.yaml"))
    return Reproduction(paper, scale, folder, out)


def carry_out(plan, executor=None, say=lambda _line: None):
    return reproduce(plan, lambda: Runtime(executor or InProcess()), 1, say)


@pytest.fixture(scope="module")
def done(home, tmp_path_factory):
    outcome = carry_out(plan_in(home, tmp_path_factory.mktemp("out") / "o"))
    return outcome, write(outcome)


def answers(out: Path) -> dict[str, bytes]:
    """Every file that must not depend on interruptions: weights and records."""
    files = [*out.glob("nets/*/model.safetensors"), *out.glob("runs/*/jobs/*/chunks/*")]
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in files}


def test_claims_are_judged_over_the_seeds(done):
    outcome, _ = done
    assert {f.claim.id: f.verdict for f in outcome.findings} == {
        "falls": Verdict.CONFIRMED, "rises": Verdict.OPPOSITE, "elsewhere": Verdict.NOT_TESTABLE,
    }  # fmt: skip
    clean = outcome.measured["clean"]
    assert set(clean.samples) == {"0", "1", "2"}
    assert 0 < outcome.measured["aligned"].value < 8  # at most the length of an image
    assert clean.low <= clean.value <= clean.high


def test_the_csv_has_published_ours_difference_interval_and_scale(done):
    _, written = done
    rows = {row["measurement"]: row for row in csv.DictReader(written.figures.open())}
    clean = rows["clean"]
    assert (clean["published"], clean["scale"], clean["place"]) == ("0.9", "smoke", "Table 1: r, clean")
    assert float(clean["difference"]) == pytest.approx(float(clean["ours"]) - 0.9)
    assert float(clean["ci_low"]) <= float(clean["ours"]) <= float(clean["ci_high"])
    assert (clean["repetitions"], clean["n"]) == ("3", "60")
    claims = {row["claim"]: row for row in csv.DictReader(written.claims.open())}
    assert claims["rises"]["verdict"] == "not confirmed (the opposite holds)"
    assert claims["elsewhere"]["reason"] == "there is no ImageNet here"


class _Reader(HTMLParser):
    """What a page loads from elsewhere, and its text."""

    def __init__(self):
        super().__init__()
        self.addresses, self.text = [], []

    def handle_starttag(self, tag, attrs):
        self.addresses += [v for k, v in attrs if k in ("src", "href") and not v.startswith(("data:", "#"))]

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_says_it_all_in_one_file(done):
    outcome, written = done
    page = written.page.read_text()
    reader = _Reader()
    reader.feed(page)
    assert reader.addresses == []
    assert HOSTILE not in page
    text = " ".join(reader.text)
    for expected in ("Attacks lower it.", "not testable at this scale", "Student's t over 3 paired seeds",
                     "assay reproduce tiny --scale smoke", "Table 1", "90.0 %"):  # fmt: skip
        assert expected in text
    assert 'class="chart"' in page  # the curves of two models
    assert "confirmed" in terminal_text(outcome)


def test_a_second_run_computes_nothing(done, home, monkeypatch):
    outcome, written = done
    before = answers(outcome.plan.out), written.figures.read_bytes()
    monkeypatch.setattr(InProcess, "run", None)  # whatever would compute fails
    monkeypatch.setattr("assay.papers.nets._train_wave", None)
    again = carry_out(plan_in(home, outcome.plan.out))
    assert (answers(outcome.plan.out), write(again).figures.read_bytes()) == before


def test_what_is_done_has_no_time_to_go_and_gives_the_time_of_its_like(done, home, tmp_path):
    plan = plan_in(home, shutil.copytree(done[0].plan.out, tmp_path / "o"))
    text = plan_text(plan)
    assert "one worker's time to go: 0 s" in text
    assert UNKNOWN not in text
    shutil.rmtree(plan.nets[0].folder)
    assert UNKNOWN not in plan_text(plan)  # there are others of its kind
    for net in plan.nets[1:]:
        shutil.rmtree(net.folder)
    assert UNKNOWN in plan_text(plan)


def test_a_larger_run_takes_as_many_times_as_long_as_what_was_done(done, home, tmp_path):
    plan = plan_in(home, done[0].plan.out)
    name = plan.nets[0].name
    trained = sum(net.record().seconds for net in plan.nets if net.name == name)
    text = plan_text(plan, 5000)
    line = next(line for line in text.splitlines() if line.split()[0:1] == [name])
    assert line.endswith(duration(5000 * trained))
    total = next(line for line in text.splitlines() if "5000 times the images" in line)
    assert "unknown" not in total
    assert "not known" not in total
    assert UNKNOWN in plan_text(plan_in(home, tmp_path / "new"), 5000)


def test_an_interrupted_run_goes_on_and_ends_with_the_same_bytes(done, home, tmp_path):
    outcome, written = done
    plan = plan_in(home, tmp_path / "o")
    with pytest.raises(InterruptedRunError):
        carry_out(plan, Stops(InProcess(), 2))
    shutil.rmtree(plan.nets[1].folder)  # as if the training had been killed, too
    resumed = write(carry_out(plan))
    assert answers(plan.out) == answers(outcome.plan.out)
    ours, theirs = (
        [row for row in csv.DictReader(each.figures.open()) if row["measurement"] != "seconds"]
        for each in (resumed, written)
    )
    assert ours == theirs


def test_missing_data_are_all_named_and_nothing_is_written(home, tmp_path, monkeypatch):
    monkeypatch.delenv("ASSAY_DATA", raising=False)
    plan = plan_in(home, tmp_path / "o", "cpu")
    with pytest.raises(UserError, match=r"2 things are missing:\n  - data set mnist-train") as caught:
        carry_out(plan)
    assert "\n  - data set mnist-test" in str(caught.value)
    assert not (tmp_path / "o").exists()


def test_weights_that_may_be_fetched_are_not_missing(tmp_path, monkeypatch):
    for name in ("ASSAY_CACHE", "TORCH_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    for name in ("ASSAY_DATA", "ASSAY_DOWNLOAD"):
        monkeypatch.delenv(name, raising=False)
    paper, folder = load_paper("hamdi")
    plan = Reproduction(paper, "full", folder, tmp_path / "o")
    missing = [problem for problem in plan.problems() if problem.startswith("model ")]
    assert [problem.split(":")[0] for problem in missing] == [
        f"model {name}" for name in ("resnet50", "inception", "vgg11", "alexnet")
    ]
    assert all("ASSAY_DOWNLOAD=1" in problem for problem in missing)
    monkeypatch.setenv("ASSAY_DOWNLOAD", "1")
    assert not [problem for problem in plan.problems() if problem.startswith("model ")]


def test_a_spec_of_our_own_is_the_same_wherever_the_reproduction_lies(tmp_path):
    paper, folder = load_paper("dong")
    texts = []
    for out in (tmp_path / "here", tmp_path / "some" / "where" / "else"):
        plan = Reproduction(paper, "smoke", folder, out)
        plan.write_specs()
        spec = plan.own_spec("neurons")
        texts.append(spec.read_text())
        members = yaml.safe_load(texts[-1])["adversarial"]["ensemble"]
        found = [Path(named_in(spec.parent, name).removeprefix("trained:")).resolve() for name in members]
        assert found == [plan.net("regular", seed).folder for seed in plan.seeds("regular")]
    assert texts[0] == texts[1]


def test_a_spec_of_our_own_finds_the_hierarchy_of_the_one_that_it_was_made_of(tmp_path):
    paper, folder = load_paper("dong")
    plan = Reproduction(paper, "cpu-cifar10", folder, tmp_path / "out")
    plan.write_specs()
    ours, origin = (
        load_spec(str(plan.own_spec("neurons"))),
        load_spec(str(folder / "dong/cifar10-1000-consistency.yaml")),
    )
    found, wanted = ((each.folder / each.spec.hierarchy).read_bytes() for each in (ours, origin))
    assert found == wanted


def test_a_folder_of_something_else_is_left_alone(done, home, tmp_path):
    outcome, _ = done
    (tmp_path / "letter.txt").write_text("keep me")
    with pytest.raises(UserError, match="choose a new or empty --out"):
        carry_out(plan_in(home, tmp_path))
    marker = outcome.plan.out / "reproduction.json"
    before = marker.read_text()
    marker.write_text(json.dumps(json.loads(before) | {"scale": "full"}))
    try:
        with pytest.raises(UserError, match="holds another reproduction"):
            carry_out(plan_in(home, outcome.plan.out))
    finally:
        marker.write_text(before)


def test_a_failed_guard_casts_doubt_and_a_partial_result_is_none(done):
    outcome, _ = done
    guard = Guard(name="g", passed=False, detail="seen")
    marred = {key: result.model_copy(update={"guards": (guard,)}) for key, result in outcome.results.items()}
    assert measure(outcome.plan, marred, outcome.jobs)["clean"].doubt == "guard g failed"
    partial = {
        key: result.model_copy(update={"status": Status.PARTIAL, "reason": "2 units failed"})
        for key, result in outcome.results.items()
    }
    found = measure(outcome.plan, partial, outcome.jobs)["clean"]
    assert isinstance(found, MissingValue)
    assert "2 units failed" in found.reason


def test_a_weak_attack_casts_no_doubt_on_clean_accuracy(done):
    outcome, _ = done
    guards = (
        Guard(name="black_box_does_not_win", passed=False, detail="gradients mislead"),
        Guard(name="repeat_agrees", passed=False, detail="two passes differ"),
    )
    marred = {
        key: result.model_copy(update={"guards": guards[:1]}) for key, result in outcome.results.items()
    }
    found = measure(outcome.plan, marred, outcome.jobs)
    assert (found["clean"].doubt, found["robust"].doubt) == (
        "", "guard black_box_does_not_win failed",
    )  # fmt: skip
    marred = {key: result.model_copy(update={"guards": guards}) for key, result in outcome.results.items()}
    assert measure(outcome.plan, marred, outcome.jobs)["clean"].doubt == "guard repeat_agrees failed"


def test_seeds_that_agree_keep_the_interval_over_images():
    one = MeasuredValue(0.9, 0.8, 0.95, "proportion", 50)
    same = over_seeds({"0": one, "1": one, "2": one})
    assert (same.low, same.high) == pytest.approx((0.8, 0.95))
    apart = over_seeds({str(i): MeasuredValue(v, v, v, "logits", 1) for i, v in enumerate((1.0, 2.0, 6.0))})
    assert (apart.low, apart.high) == pytest.approx(student_interval((1.0, 2.0, 6.0)))


def test_the_interval_of_one_family_knows_its_images_too():
    scores = np.random.default_rng(0).random((3, 20))
    ids = [str(unit) for unit in range(20)]
    single = {
        str(seed): MeasuredValue(
            row.mean(),
            row.mean(),
            row.mean(),
            "logits",
            20,
            by_unit={u: (v,) for u, v in zip(ids, row, strict=True)},
        )
        for seed, row in enumerate(scores)
    }
    found = over_seeds(single)
    low, high = student_interval(list(scores.mean(axis=1)))
    half = np.hypot((high - low) / 2, half_over_images([scores.T]))
    assert (found.low, found.high) == pytest.approx((found.value - half, found.value + half))
    assert found.by_unit["7"] == tuple(scores[:, 7])


@pytest.mark.parametrize(
    ("unit", "ends"),
    [("proportion", (0, 1)), ("share of Theta", (0, 1)), ("s", (0, None)), ("logits", (None, None))],
)
def test_an_interval_over_seeds_keeps_to_what_its_unit_can_be(unit, ends):
    spread = over_seeds(
        {str(i): MeasuredValue(v, None, None, unit, 1) for i, v in enumerate((0.01, 0.5, 0.99))}
    )
    low, high = student_interval((0.01, 0.5, 0.99))
    assert low < 0
    assert high > 1
    assert (spread.low, spread.high) == tuple(
        limit if limit is not None else end for limit, end in zip(ends, (low, high), strict=True)
    )


RECIPE = """schema: 1
title: Digits
architecture: digits-cnn
input: {crop: [8, 8], mean: [0], std: [1]}
data:
  train: {manifest: digits, first: 100}
  test: {manifest: digits, skip: 1700}
optimiser: {name: adam, lr: 0.002}
epochs: 1
batch_size: 50
"""
METHODS = {
    "plain": "method: {name: regular}\n",
    "pupil": "method: {name: sat, eps: 1/20, alpha: 0.6, saliency: {source: teacher, method: gradient}}\n",
}


@pytest.fixture
def nets(tmp_path):
    """A teacher and its pupil."""
    for name, method in METHODS.items():
        (tmp_path / f"{name}.yaml").write_text(RECIPE + method)
    common = {"seed": 3, "nets": tmp_path / "nets", "home": tmp_path, "data_roots": ()}
    plain = Net("plain", RecipeModel(kind="recipe", recipe="plain.yaml", seeds=(3,)), **common)
    model = RecipeModel(kind="recipe", recipe="pupil.yaml", seeds=(3,), teacher="plain")
    return plain, Net("pupil", model, **common, teacher=plain)


def test_recipes_are_trained_teachers_first_and_found_by_their_hash(nets):
    plain, pupil = nets
    said = []
    train_missing([pupil, plain], 1, said.append)
    assert ["plain" in said[0], "pupil" in said[1]] == [True, True]
    assert pupil.record().seconds > 0
    assert pupil.zoo_name == f"trained:{pupil.folder}"
    train_missing([pupil, plain], 1, said.append)
    assert said[2:] == ["2 of 2 networks are trained already"]


@pytest.mark.parametrize(("device", "seconds"), [("cpu", 12), ("cuda", 102)])
def test_the_seconds_of_a_training_are_the_processor_s_where_that_is_what_trained(nets, device, seconds):
    """A busy machine lengthens the clock's seconds, and a claim on training time must not hang on that."""
    plain, _ = nets
    train_missing([plain], 1, lambda _line: None)
    card = read_card(plain.folder)
    spent = {"train_seconds": 100.0, "train_cpu_seconds": 10.0, "preparation_seconds": 2.0}
    write_card(
        plain.folder, card.model_copy(update={**spent, "made_with": card.made_with | {"device": device}})
    )
    assert plain.record().seconds == seconds


def test_a_plan_says_what_is_missing_and_writes_nothing(home, tmp_path, monkeypatch):
    monkeypatch.delenv("ASSAY_DATA", raising=False)
    text = plan_text(plan_in(home, tmp_path / "o", "cpu"))
    assert "data set mnist-train" in text
    assert not (tmp_path / "o").exists()


def test_another_recipe_seed_or_teacher_has_another_folder(nets, tmp_path):
    plain, pupil = nets
    folders = {plain.folder, pupil.folder}
    (tmp_path / "plain.yaml").write_text(RECIPE.replace("epochs: 1", "epochs: 2") + METHODS["plain"])
    changed = replace(plain)  # reads its recipe anew
    folders |= {changed.folder, replace(pupil, teacher=changed).folder, replace(plain, seed=4).folder}
    assert len(folders) == 5
