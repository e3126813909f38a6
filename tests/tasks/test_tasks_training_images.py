"""The guard against scoring a network on its own training pictures, with a planted case for each family."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.common.canonical import canonical_sha256
from assay.data import contents
from assay.data.contents import content_hash, content_hashes, hash_of, read_hashes
from assay.data.dataset import open_dataset
from assay.data.draw import Draw
from assay.data.manifest import load_manifest
from assay.models.info import TrainedOn
from assay.results.document import TrainingOverlap, read_result
from assay.results.tables import format_value
from assay.runner.assemble import result_path
from assay.runner.identity import job_identity
from assay.runner.jobs import Job
from assay.runner.plan import plan_jobs
from assay.tasks.families import families
from assay.tasks.shared.training_images import GUARD, TOLERATED, not_trained_on
from assay.training.train import train
from small_jobs import JobRequest, request, run, write_spec
from training.training_recipes import recipe

MODELS = "training_models"
FAMILIES = {
    "adversarial": "data: digits\neps: [0, 1/10]\nattacks: [{method: fgsm}]\nchunk_units: 100",
    "verification": (
        "data: digits\nimages: 3\ncombinations: [['brightness:0:0.01']]\ndeltas: [1]\nlabels: predicted\ntimeout_s: 20"
    ),
    "consistency": (
        "data: digits\nhierarchy: flat\nsigmas: [1]\nheadline_sigma: 1\n"
        "adversarial: {ensemble: [digits_fnn], targets: 1, steps: 1, step_size: 1/10}"
    ),
    "corruptions": "data: digits\nsettings: cifar-10-c\ncorruptions: [gaussian_noise]",
    "srvr": (
        "data: embedded-shapes\nclasses: [mug]\nfunction: map\nmethods: [{method: naive, steps: 2, step_size: 0.25}]\n"
        "parameters:\n- {name: azimuth_deg, low: 0, high: 360, step: 180}\n"
        "- {name: elevation_deg, low: 0, high: 80, step: 40}\ninitial: [[180, 40]]"
    ),
}


def test_a_picture_s_hash_is_of_what_it_shows():
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8, 1)
    assert content_hash(grey) == content_hash(grey.repeat(3, 2))
    others = [grey.reshape(16, 4, 1), grey[::-1], np.concatenate([grey, grey, grey + 1], 2)]
    assert len({content_hash(each) for each in (grey, *others)}) == 4


def test_the_digits_have_two_parts_that_share_no_picture():
    whole, train_part, test_part = (
        open_dataset(load_manifest(name)) for name in ("digits", "digits-train", "digits-test")
    )
    assert train_part.samples + test_part.samples == whole.samples
    seen, unseen = (content_hashes(part, part.samples) for part in (train_part, test_part))
    assert (len(seen), len(unseen), seen & unseen) == (1347, 450, set())


@given(st.integers(0, 400), st.integers(1, 400))
def test_it_fails_exactly_above_the_share_that_public_data_sets_share(seen, units):
    ids = [str(number) for number in range(units)]
    guard = not_trained_on(TrainingOverlap(data="d", units=tuple(ids[:seen])), ids, lambda: None)
    assert guard.passed == (min(seen, units) <= TOLERATED * units)
    assert guard.value == min(seen, units)


def guard_of(folder, model, task):
    result = read_result(result_path(folder.path, model, task))
    return next((guard for guard in result.guards if guard.name == GUARD), None), result


@pytest.mark.parametrize(
    ("family", "model"),
    [
        ("adversarial", f"{MODELS}:on_digits_train"),
        ("verification", "digits_fnn"),
        ("corruptions", "digits_fnn"),
        ("consistency", f"{MODELS}:convolutional"),
        ("srvr", f"{MODELS}:on_shapes"),
    ],
)
def test_each_family_refuses_the_pictures_of_the_training(tmp_path, family, model):
    text = f"schema: 1\nfamily: {family}\ntitle: t\n{FAMILIES[family]}\n"
    limit = {"adversarial": 40, "consistency": 2, "corruptions": 20}.get(family)
    asked = JobRequest(model, write_spec(tmp_path, "t", text), limit=limit, draw=Draw.FIRST)
    guard, result = guard_of(run([asked], tmp_path / "out"), model, "t")
    assert not guard.passed
    assert guard.value == result.coverage.done > 0
    assert "; no other unit is left" in guard.detail


def test_no_family_is_left_out():
    """A new family needs its planted case: what its units are about may be no plain picture of its data set."""
    assert set(FAMILIES) == set(families())


def test_it_says_the_figure_of_the_other_units(tmp_path):
    """Of 1,347 and of 450 digits together, and of the 450 alone: the same headline."""
    model = f"{MODELS}:on_digits_train"
    spec = write_spec(tmp_path, "t", f"schema: 1\nfamily: adversarial\ntitle: t\n{FAMILIES['adversarial']}\n")
    guard, _ = guard_of(run([request(spec, model=model, limit=None)], tmp_path / "all"), model, "t")
    test_part = request(spec, model=model, limit=None, data="digits-test")
    passed, alone = guard_of(run([test_part], tmp_path / "test"), model, "t")
    assert (guard.value, guard.passed, passed.value, passed.passed) == (1347, False, 0, True)
    figure = alone.headline_metric
    assert f"on the other 450 units: {figure.heading} {format_value(figure)}" in guard.detail


def test_a_training_here_lists_its_pictures_and_the_list_is_checked(tmp_path, assay):
    trained = train(recipe(epochs=1), tmp_path / "net")
    listed = read_hashes(tmp_path / "net/trained_on.txt")
    digits = open_dataset(load_manifest("digits"))
    assert listed == content_hashes(digits, digits.samples[:200])
    (job,) = plan_jobs([request(write_spec(tmp_path), model=trained.model, limit=300, draw=Draw.FIRST)])
    assert job.training.units == tuple(sample.unit_id for sample in digits.samples[:200])
    (tmp_path / "net/trained_on.txt").write_text("")
    code, _, err = assay(
        "run", "--model", trained.model, "--task", "adversarial/digits", "--out", tmp_path / "o"
    )
    assert code == 2
    assert "trained_on.txt: is not the file that model.yaml beside it describes" in err


def test_the_key_changes_with_what_the_guard_says_and_the_seeds_do_not(tmp_path):
    (job,) = plan_jobs([request(write_spec(tmp_path))])
    assert job.training is None
    assert "training" not in job.identity
    knows = [
        Job(job.request, job.question, job.info.model_copy(update={"trained_on": TrainedOn(data=data)}))
        for data in ("digits-test", "digits-train")
    ]
    assert len({job.key, *(each.key for each in knows)}) == 3
    assert {job.seed_root} == {each.seed_root for each in knows}


def test_pictures_are_looked_at_once_however_many_chunks_a_run_has(tmp_path, monkeypatch):
    """A job is opened again for each chunk; its pictures' hashes are not computed again."""
    hashed = []
    monkeypatch.setattr(
        contents, "hash_of", lambda data, sample: hashed.append(sample) or hash_of(data, sample)
    )
    asked = request(write_spec(tmp_path), model="digits_fnn", limit=60)
    run([asked], tmp_path / "out")
    assert len(list((tmp_path / "out").glob("jobs/*/chunks/*"))) > 1
    assert len(hashed) == 60


def test_what_is_not_here_is_said_and_not_guessed(tmp_path, assay):
    spec = write_spec(tmp_path)
    asked = ("--model", f"{MODELS}:elsewhere", "--task", spec, "--limit", 10)
    _, _, err = assay("run", *asked, "--out", tmp_path / "o")
    assert "was trained on imagenet-train, which is not here (--data-root): nobody looked" in err
    result = read_result(result_path(tmp_path / "o", f"{MODELS}:elsewhere", "t"))
    assert result.training is None
    assert GUARD not in {guard.name for guard in result.guards}


def test_a_model_card_may_state_a_list(tmp_path, assay):
    train(recipe(epochs=1), tmp_path / "net")
    card = {
        "schema": 1, "name": "mine", "network": {"factory": "digits_models:linear"}, "trained_on": "net/trained_on.txt",
        "input": {"size": [8, 8], "channels": "grey"},
    }  # fmt: skip
    (tmp_path / "mine.yaml").write_text(json.dumps(card))
    (job,) = plan_jobs([request(write_spec(tmp_path), model=str(tmp_path / "mine.yaml"), draw=Draw.FIRST)])
    assert len(job.training.units) == 60
    (tmp_path / "mine.yaml").write_text(json.dumps(card | {"trained_on": "nowhere.txt"}))
    code, _, err = assay(
        "run", "--model", tmp_path / "mine.yaml", "--task", "adversarial/digits", "--out", "o"
    )
    assert (code, "nowhere.txt" in err) == (2, True)


def test_what_a_document_states_of_it_is_in_its_key(tmp_path):
    """So a submission cannot leave the overlap out and keep its key."""
    asked = request(write_spec(tmp_path), model="digits_fnn")
    _, result = guard_of(run([asked], tmp_path / "o"), "digits_fnn", "t")
    (job,) = plan_jobs([asked])
    card = result.model.model_dump(mode="json")
    stated, hidden = (
        canonical_sha256(job_identity(job.question.identity, card, result.precision, None, each))
        for each in (result.training, None)
    )
    assert stated == result.job_key != hidden
