"""Any task takes a corrupted data set by name: what it reads is the corrupted pictures, and its result says so."""

import pytest
import torch
from PIL import Image

from assay.data.dataset import open_dataset
from assay.data.manifest import load_manifest
from assay.models.zoo import load_model
from assay.results.document import ModelCard, StatedAccuracyField, read_result
from assay.runner.assemble import result_path, stored_jobs
from assay.runner.job_document import model_card
from assay.tasks.shared.plausible import ExpectedAccuracy, plausible_accuracy
from small_jobs import JobRequest, run, write_spec

NAME = "digits-test~contrast:5"
SPECS = {
    "adversarial": "eps: [0, 1/10]\nattacks: [{method: fgsm}]\nchunk_units: 100",
    "verification": "images: 2\ncombinations: [['brightness:0:0.01']]\ndeltas: [1]\nlabels: predicted\ntimeout_s: 20",
    "corruptions": "settings: cifar-10-c\ncorruptions: [gaussian_noise]",
}


def spec(folder, family, data):
    text = f"schema: 1\nfamily: {family}\ntitle: t\ndata: {data}\n{SPECS[family]}\n"
    return write_spec(folder, f"{family}{abs(hash(data))}", text)


def finished(folder, task):
    return read_result(result_path(folder.path, "digits_fnn", task))


@pytest.fixture(scope="module")
def answers():
    """The classes that the network gives to the first pictures of a data set."""
    model = load_model("digits_fnn")

    def ask(name, count):
        data = open_dataset(load_manifest(name))
        images = torch.stack([model.prepare(data.image(sample)) for sample in data.samples[:count]])
        labels = [sample.label for sample in data.samples[:count]]
        return model.module(images).argmax(1).tolist(), labels

    return ask


def test_an_attack_begins_at_the_corrupted_pictures(tmp_path, answers):
    folder = run([JobRequest("digits_fnn", spec(tmp_path, "adversarial", NAME))], tmp_path / "out")
    (job,) = stored_jobs(folder)
    found, labels = answers(NAME, None)
    right = [answer == label for answer, label in zip(found, labels, strict=True)]
    assert [record.values["clean_correct"] for record in job.records()] == right
    clean, _ = answers("digits-test", None)
    assert clean != found


@pytest.mark.parametrize("family", SPECS)
def test_the_result_says_that_its_pictures_were_corrupted(tmp_path, family):
    tasks = [spec(tmp_path, family, name) for name in ("digits-test", NAME)]
    folder = run([JobRequest("digits_fnn", task, limit=2) for task in tasks], tmp_path / "out")
    clean, corrupted = (finished(folder, task.rpartition("/")[2].removesuffix(".yaml")) for task in tasks)
    assert corrupted.coverage.done == clean.coverage.done
    assert corrupted.coverage.errors == 0
    assert corrupted.data.name == NAME
    assert corrupted.data.title.endswith("under contrast of severity 5")
    assert corrupted.job_key != clean.job_key
    assert corrupted.data.sha256 != clean.data.sha256


def test_the_option_takes_the_name_too_and_the_command_repeats_it(tmp_path):
    task = spec(tmp_path, "adversarial", "digits-test")
    folder = run([JobRequest("digits_fnn", task, limit=5, data=NAME)], tmp_path / "out")
    result = finished(folder, task.rpartition("/")[2].removesuffix(".yaml"))
    assert result.title == f"t [here on {NAME} instead of digits-test]"
    assert f"--data '{NAME}'" in result.command or f"--data {NAME}" in result.command


def test_a_stated_accuracy_is_not_held_against_corrupted_pictures(answers):
    """A card speaks of clean ones; chance is still asked."""
    card = ModelCard.model_validate(model_card(load_model("digits_fnn").info))
    stated = card.model_copy(update={"clean_accuracy": StatedAccuracyField(value=0.97, data="digits-test")})
    blurred = "digits-test~gaussian_blur:5"
    found, labels = answers(blurred, 400)
    right = [answer == label for answer, label in zip(found, labels, strict=True)]
    assert not plausible_accuracy(right, ExpectedAccuracy.of(stated, "digits-test")).passed
    guard = plausible_accuracy(right, ExpectedAccuracy.of(stated, blurred))
    assert guard.passed
    assert "states" not in guard.detail
    assert not plausible_accuracy([False] * 400, ExpectedAccuracy.of(stated, blurred)).passed


def test_own_folders_and_manifests_are_corrupted_by_name_wherever_the_spec_lies(tmp_path, monkeypatch):
    data = open_dataset(load_manifest("digits-test"))
    for sample in data.samples[:12]:
        place = tmp_path / "mine" / str(sample.label)
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(data.image(sample)[..., 0]).save(place / f"{sample.unit_id.replace('/', '-')}.png")
    (tmp_path / "specs").mkdir()
    task = spec(tmp_path / "specs", "adversarial", "digits-test")
    (tmp_path / "mine.yaml").write_text(
        "schema: 1\nname: mine\ntitle: Mine\nlabel_space: digits\nnum_classes: 10\nlicence: CC0\nsource: s\nget: g\n"
        "location: {folder: mine}\nchannels: 1\nto_grey: convert\nfiles: unlisted\n"
        "layout: {type: folder-per-class, labels: "
        + "{" + ", ".join(f"'{label}': {label}" for label in range(10)) + "}}\n"
    )  # fmt: skip
    monkeypatch.chdir(tmp_path)
    hashes = []
    for name in ("mine~contrast:2", "mine.yaml~contrast:2", "mine.yaml"):
        folder = run([JobRequest("digits_fnn", task, data=name)], tmp_path / f"out{len(hashes)}")
        result = finished(folder, task.rpartition("/")[2].removesuffix(".yaml"))
        assert (result.coverage.done, result.coverage.errors) == (12, 0)
        assert result.data.name == name.replace(".yaml", "")
        hashes.append(result.data.sha256)
    assert len(set(hashes)) >= 2
    assert hashes[1] != hashes[2]


def test_training_pictures_are_known_again_when_corrupted(tmp_path):
    task = spec(tmp_path, "adversarial", "digits-train~contrast:4")
    folder = run([JobRequest("digits_fnn", task, limit=40)], tmp_path / "out")
    result = finished(folder, task.rpartition("/")[2].removesuffix(".yaml"))
    (guard,) = (guard for guard in result.guards if guard.name == "not_trained_on")
    assert (guard.passed, guard.value) == (False, 40)
