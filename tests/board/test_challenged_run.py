"""Images from elsewhere, held against a run: its records name the best known result of each image."""

import csv
import io
import json

import pytest
from sent_images import clean_and_broken, npz
from sent_runs import TASK, copy_of

from assay.board.submissions.challenged_run import challenge_run, found_elsewhere, model_of
from assay.board.submissions.challenges import Sent
from assay.common.errors import UserError
from assay.runner.assemble import records_csv, stored_jobs, write_report
from assay.runner.store import RunFolder

pytestmark = pytest.mark.usefixtures("saved_data", "looked_at_here")


@pytest.fixture(scope="module")
def benchmarks(saving_task):
    return saving_task


@pytest.fixture
def run(told, tmp_path):
    return copy_of(told, tmp_path / "run")


def job_of(run):
    (job,) = stored_jobs(RunFolder(run))
    return job


@pytest.fixture(scope="module")
def found(told, benchmarks):
    """What a long attack breaks of those images that the run's first attack left."""
    return clean_and_broken(job_of(told).records(), benchmarks, 1 / 10)


def challenge(run, path, by="Ada"):
    return challenge_run(run, (), Sent(path, by, "2026-11-27", model_of(run)))


def rows_of(run, method):
    job = job_of(run)
    rows = csv.DictReader(io.StringIO(records_csv(job, found_elsewhere(job))))
    return {(row["unit_id"], float(row["eps"])): row for row in rows if row["method"] == method}


def test_the_best_known_of_each_image_is_named_over_attacks_and_uploads(run, found, tmp_path):
    assert len(found) >= 3
    (answer,) = challenge(run, npz(tmp_path / "sent.npz", found)).values()
    sent = {name for name, _, _ in found}
    assert set(answer.earlier) == sent
    worst, best = rows_of(run, "worst"), rows_of(run, "best known")
    assert best.keys() == worst.keys()
    for (unit, eps), row in best.items():
        if unit in sent and eps == 0.1:
            assert (row["adversarial_correct"], row["broken_by"]) == ("false", "Ada, 2026-11-27")
            assert float(row["smallest_eps"]) == 0.1 < float(row["linf"]) + 1e-6
        else:
            kept = ("adversarial_correct", "broken_by", "adversarial_predicted", "linf")
            assert [row[name] for name in kept] == [worst[unit, eps][name] for name in kept]
    stands = sum(row["adversarial_correct"] == "true" for (_, eps), row in worst.items() if eps == 0.1)
    left = sum(row["adversarial_correct"] == "true" for (_, eps), row in best.items() if eps == 0.1)
    assert left == stands - len(found)
    lowered = {name: figure.value for name, figure in answer.figures.items()}
    assert lowered["worst:robust_accuracy@1/10"] == pytest.approx(left / len(job_of(run).records()))


def test_an_attack_of_the_run_that_broke_an_image_stays_the_one_named(run, found, tmp_path):
    broken = [
        record for record in job_of(run).records() if not record.values["attacks"]["fgsm"]["1/20"]["correct"]
    ]
    unit = next(record.unit_id for record in broken if record.values["clean_correct"])
    challenge(run, npz(tmp_path / "sent.npz", found))
    assert rows_of(run, "best known")[unit, 0.05]["broken_by"] == "fgsm"


def test_the_figures_and_the_bytes_of_the_run_stay(run, found, tmp_path):
    before = records_csv(job_of(run))
    result = job_of(run).result(job_of(run).records()).to_json()
    challenge(run, npz(tmp_path / "sent.npz", found))
    write_report(RunFolder(run))
    assert records_csv(job_of(run)) == before
    assert job_of(run).result(job_of(run).records()).to_json() == result
    assert records_csv(job_of(run), found_elsewhere(job_of(run))).startswith(before)


def test_the_nearest_of_several_challenges_counts(run, found, benchmarks, tmp_path):
    near = clean_and_broken(job_of(run).records(), benchmarks, 0.09)
    challenge(run, npz(tmp_path / "far.npz", found))
    challenge(run, npz(tmp_path / "near.npz", near[:1]), by="Emmy")
    best = found_elsewhere(job_of(run))
    assert best[near[0][0]].by == "Emmy"
    assert {each.by for unit, each in best.items() if unit != near[0][0]} == {"Ada"}


def test_another_job_s_challenges_do_not_count(run, found, tmp_path):
    challenge(run, npz(tmp_path / "sent.npz", found))
    path = job_of(run).store.path / "challenges.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "job_key": "0" * 64}))
    assert found_elsewhere(job_of(run)) == {}


def test_a_damaged_file_is_one_sentence(run, found, tmp_path):
    challenge(run, npz(tmp_path / "sent.npz", found))
    path = job_of(run).store.path / "challenges.json"
    path.write_text(path.read_text()[:-20])
    with pytest.raises(UserError, match=r"challenges\.json.*delete the file") as caught:
        found_elsewhere(job_of(run))
    assert "\n" not in str(caught.value)


def test_what_does_not_hold_is_refused_and_leaves_nothing(run, found, tmp_path):
    (name, clean, _), *_ = found
    with pytest.raises(UserError, match="answered as labelled"):
        challenge(run, npz(tmp_path / "clean.npz", [(name, clean, clean)]))
    with pytest.raises(UserError, match="no unit of the records"):
        challenge(run, npz(tmp_path / "other.npz", [("no such", clean, clean)]))
    with pytest.raises(UserError, match="expected words"):
        challenge(run, tmp_path / "clean.npz", by="=1+1")
    assert found_elsewhere(job_of(run)) == {}


def test_a_run_on_other_data_is_refused(run, found, tmp_path):
    sent = npz(tmp_path / "sent.npz", found)
    path = next((run / "jobs").glob("*/job-*.json"))
    document = json.loads(path.read_text())
    document["data"]["sha256"] = "0" * 64
    path.write_text(json.dumps(document))
    with pytest.raises(UserError, match=r"SHA-256 0000.*--data-root"):
        challenge(run, sent)


def test_the_network_of_a_run_is_followed_by_its_name_only_where_it_is_built_in(run):
    assert model_of(run) == "digits_fnn"
    index = json.loads((run / "index.json").read_text())
    (run / "index.json").write_text(json.dumps([{**index[0], "model": "strangers_code:net"}]))
    with pytest.raises(UserError, match="not followed"):
        model_of(run)
    assert model_of(run, "onnx:mine.onnx") == "onnx:mine.onnx"
    (run / "index.json").write_text(json.dumps([index[0], {**index[0], "model": "other"}]))
    with pytest.raises(UserError, match="has 2 models; say with --model"):
        model_of(run)


def test_an_incomplete_run_takes_none(run, found, tmp_path):
    sent = npz(tmp_path / "sent.npz", found)
    next((run / "jobs").glob("*/chunks/000001.jsonl")).unlink()
    with pytest.raises(UserError, match="no complete result"):
        challenge(run, sent)


def test_the_lines_for_people_name_what_is_lowered(run, found, tmp_path):
    from assay.board.submissions.challenges import texts_of

    lines = list(texts_of(challenge(run, npz(tmp_path / "sent.npz", found))))
    assert lines[0] == f"digits_fnn · {TASK}: {len(found)} images taken, {len(found)} break what stood"
    assert any(
        line.startswith(f"lowered: digits_fnn · {TASK}: worst:robust_accuracy@1/10: ") for line in lines
    )
