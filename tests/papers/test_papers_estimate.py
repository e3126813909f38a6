"""What a plan says of time: measured on shapes alone, each once, and said to be so."""

import json

import pytest

from assay.cli import main
from assay.papers import calibrate
from assay.papers.calibrate import seconds_an_image, step_seconds
from assay.papers.estimate import UNTRAINED, Rates, plan_text
from assay.papers.plan import Reproduction
from assay.papers.spec import load_paper
from assay.training.recipe_files import load_recipe


def plan_of(paper, scale, out):
    found, home = load_paper(paper)
    return Reproduction(found, scale, home, out)


def said(capsys, *words):
    with pytest.raises(SystemExit) as end:
        main(list(words))
    return end.value.code, *capsys.readouterr()


@pytest.mark.parametrize("most", [1, 2, 64, 256])
def test_what_a_step_costs_whatever_its_size_is_shared_by_its_images(monkeypatch, most):
    sizes = []
    monkeypatch.setattr(calibrate, "_seconds", lambda run, _, images: run(images) or 3.0 + 0.1 * images)
    assert seconds_an_image(sizes.append, most, "cpu", 10.0) == pytest.approx((3.0 + 0.1 * most) / most)
    assert max(sizes) <= most


def test_a_run_that_outlasts_the_budget_is_not_repeated(monkeypatch):
    sizes = []
    monkeypatch.setattr(calibrate, "_seconds", lambda run, _, images: run(images) or 60.0)
    assert seconds_an_image(sizes.append, 64, "cpu", 1.0) == 30.0
    assert sizes == [2]


def test_a_long_climb_follows_from_its_first_two_steps(monkeypatch):
    recipe = load_recipe("smoke/pgd")
    steps = []

    longer = recipe.model_copy(update={"method": recipe.method.model_copy(update={"steps": 40})})
    inner = calibrate.step_seconds

    def counted(one, device, budget):
        steps.append(one.method.steps)
        return float(one.method.steps) + 2.0

    monkeypatch.setattr(calibrate, "step_seconds", counted)
    assert inner(longer, "cpu", 0.1) == 42.0
    assert steps == [1, 2]


def test_trainings_that_differ_in_their_saliency_alone_are_measured_once(monkeypatch):
    asked = []
    monkeypatch.setattr("assay.papers.estimate.step_seconds", lambda recipe, *_: asked.append(recipe) or 1.0)
    monkeypatch.setattr("assay.papers.estimate.saliency_seconds", lambda *_: asked.append("map") or 2.0)
    rates = Rates()
    for name in ("sat_guided_backprop", "sat_smoothgrad", "sat_smoothgrad"):
        recipe = load_recipe(f"mangla/cpu-fashion/{name}")
        assert (rates.of_steps(recipe, "cpu"), rates.of_saliency(recipe, "cpu")) == (1.0, 2.0)
    assert [each for each in asked if each == "map"] == ["map", "map"]
    assert len(asked) == 3


def test_the_teacher_s_maps_are_estimated_and_what_needs_none_costs_none():
    assert calibrate.saliency_seconds(load_recipe("mangla/cpu-fashion/sat_guided_backprop"), "cpu", 0.1) > 0
    assert calibrate.saliency_seconds(load_recipe("smoke/sat"), "cpu", 0.1) == 0
    assert step_seconds(load_recipe("mangla/cpu-fashion/sat_guided_backprop"), "cpu", 0.1) > 0


@pytest.mark.parametrize("paper", ["karkehabadi", "dong", "munakata"])
def test_tasks_on_networks_to_come_are_timed_with_random_weights_that_are_said_and_gone(paper, tmp_path):
    text = plan_text(plan_of(paper, "smoke", tmp_path / "o"))
    assert "unknown" not in text
    assert UNTRAINED in text
    assert not (tmp_path / "o").exists()


def test_a_training_needs_no_data_to_be_estimated(tmp_path, monkeypatch):
    monkeypatch.delenv("ASSAY_DATA", raising=False)
    lines = plan_text(plan_of("karkehabadi", "cpu", tmp_path / "o")).splitlines()
    assert [line.endswith("unknown") for line in lines if line.startswith("regular ")] == [False]
    assert [line.endswith("unknown") for line in lines if line.startswith("attacks on ")] == [True, True]


def test_plan_takes_a_paper_too(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(
        "assay.papers.estimate.plan_text", lambda plan: json.dumps([plan.scale_name, str(plan.out)])
    )
    words = ("plan", "--paper", "dong", "--scale", "full")
    assert said(capsys, *words, "--out", "o")[:2] == (0, '["full", "o"]\n')
    assert said(capsys, *words)[1] == said(capsys, "reproduce", "dong", "--scale", "full", "--dry-run")[1]
    for more in (("--task", "adversarial/imagenet20"), ("--json",)):
        code, _, err = said(capsys, *words, *more)
        assert (code, err.count("\n")) == (2, 1)
        assert "--paper" in err
