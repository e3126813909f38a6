"""A second opinion by foolbox, attacks that only it has, and transfer from another model."""

import adversarial_models
import pytest

from assay.cli import main
from assay.runner.jobs import JobRequest
from assay.runner.plan import plan_jobs

LINEAR = "digits_models:linear"
PGD = "method: pgd, steps: 10, step_size: 0.2 eps"


def test_foolbox_breaks_no_image_that_ours_leaves_standing(run_digits):
    run = run_digits(
        LINEAR, f"eps: [0, 1/20, 1/10]\nattacks: [{{{PGD}}}, {{{PGD}, name: theirs, backend: foolbox}}]"
    )
    ours, theirs = (
        [record.values["attacks"][name]["1/10"]["correct"] for record in run.records]
        for name in ("pgd", "theirs")
    )
    assert sum(ours) <= sum(theirs)
    # Starts differ by their seeds, steps do not: a linear net's image falls to both or to neither.
    assert sum(a != b for a, b in zip(ours, theirs, strict=True)) <= 1


def test_deepfool_s_distances_make_a_curve_and_a_minimal_norm(run_digits):
    run = run_digits(
        LINEAR,
        "norm: l2\neps: [0, 1/5, 1/2, 2]\nprobe_queries: 0\n"
        "attacks: [{method: L2DeepFoolAttack, name: deepfool, backend: foolbox}]",
    )
    values = [run.metrics[f"deepfool:robust_accuracy@{eps}"].value for eps in run.spec.radii]
    assert values == sorted(values, reverse=True)
    assert values[-1] < 0.2 < values[0]
    relative = run.metrics["deepfool:mean_relative_l2"]
    assert 0 < relative.value < 0.5
    assert relative.n > 20
    assert run.guards["inside_the_ball"].passed


def test_deepfool_runs_from_the_command_line_to_the_page(tmp_path, monkeypatch, capsys):
    """A stored spec, which has every field, is read again for the report."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.yaml").write_text(
        "schema: 1\nfamily: adversarial\ntitle: t\ndata: digits\nnorm: l2\neps: [0, 1/2]\n"
        "attacks: [{method: L2DeepFoolAttack, name: deepfool, backend: foolbox, options: {steps: 20}}]\n"
    )
    with pytest.raises(SystemExit) as caught:
        main(["run", "--model", LINEAR, "--task", "t.yaml", "--out", "o", "--limit", "4", "--quiet"])
    assert caught.value.code == 0, capsys.readouterr().err
    assert "deepfool:mean_relative_l2" in (tmp_path / "o" / "results.csv").read_text()
    assert (tmp_path / "o" / "index.html").is_file()


def test_outcomes_of_foolbox_do_not_depend_on_the_batch(run_digits):
    lines = "eps: [0, 1/10]\nprobe_queries: 0\nattacks: [{method: LinfAdditiveUniformNoiseAttack, backend: foolbox}]"
    one = run_digits(LINEAR, lines, limit=8, batch_size=1)
    many = run_digits(LINEAR, lines, limit=8, batch_size=8)
    for alone, together in zip(one.records, many.records, strict=True):
        first, second = (
            record.values["attacks"]["LinfAdditiveUniformNoiseAttack"]["1/10"] for record in (alone, together)
        )
        assert first["distance"] == pytest.approx(second["distance"], abs=1e-6)


def test_an_image_made_on_one_model_is_scored_on_another(run_digits):
    lines = (
        f"eps: [0, 1/5]\nprobe_queries: 0\nattacks: [{{{PGD}}}, "
        f"{{{PGD}, name: transfer, transfer_from: 'adversarial_models:relu_chain'}}]"
    )
    run = run_digits(LINEAR, lines)
    own, transfer = (run.metrics[f"{name}:robust_accuracy@1/5"].value for name in ("pgd", "transfer"))
    assert own <= transfer + 1 / 40  # both start at random, and one image more may stand by luck
    assert transfer < run.metrics["clean_accuracy"].value
    assert not any(record.values["attacks"]["transfer"]["1/5"]["claimed"] for record in run.records)


@pytest.mark.parametrize(("part", "value"), [("SCALE", 2.0), ("MEAN", 0.1)])
def test_what_lies_behind_the_name_of_a_source_is_in_the_key(tmp_path, monkeypatch, part, value):
    spec = tmp_path / "t.yaml"
    spec.write_text(
        "schema: 1\nfamily: adversarial\ntitle: t\ndata: digits\neps: [1/10]\n"
        "attacks: [{method: fgsm, transfer_from: 'adversarial_models:source'}]\n"
    )
    request = JobRequest(LINEAR, str(spec), trusted=("adversarial_models:source",))
    request = JobRequest(LINEAR, str(spec), trusted=("adversarial_models:source",))
    before, same = (plan_jobs([request])[0].key for _ in range(2))
    monkeypatch.setattr(adversarial_models, part, value)
    (after,) = plan_jobs([request])
    assert before == same != after.key
