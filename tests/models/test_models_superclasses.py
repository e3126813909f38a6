"""A network asked about groups of its classes: its answer is right exactly where its own is in the right group."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from assay.common.errors import UserError
from assay.data.dataset import open_dataset
from assay.data.manifest import load_manifest
from assay.models.zoo import load_model
from assay.results.document import read_result
from small_jobs import write_spec

CARD = {
    "schema": 1, "name": "parity", "network": {"factory": "digits_models:linear"}, "label_space": "digits",
    "num_classes": 10, "input": {"size": [8, 8], "channels": "grey"},
}  # fmt: skip
PARITY = {"even": [0, "2", 4, 6, 8], "odd": ["1", 3, 5, 7, 9]}


@pytest.fixture
def load(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def loaded(superclasses):
        Path("card.yaml").write_text(json.dumps(CARD | {"superclasses": superclasses}))
        return load_model("card.yaml")

    return loaded


def digits(count):
    data = open_dataset(load_manifest("digits-test"))
    return [(data.image(sample), sample) for sample in data.samples[:count]]


def test_it_answers_the_group_of_its_own_answer(load):
    whole, parity = load_model("digits_models:linear"), load(PARITY)
    pixels = torch.stack([whole.prepare(image) for image, _ in digits(100)])
    own, grouped = whole.module(pixels).argmax(1), parity.module(pixels).argmax(1)
    assert (grouped == own % 2).all()
    assert parity.info.classes == ("even", "odd")
    assert parity.info.structure_sha256 != load({"even": [0], "odd": [1]}).info.structure_sha256


def test_what_is_in_no_group_is_other(load):
    whole, some = load_model("digits_models:linear"), load({"round": [0, 6, 8, 9], "one": [1]})
    pixels = torch.stack([whole.prepare(image) for image, _ in digits(100)])
    own, answered = whole.module(pixels).argmax(1), some.module(pixels).argmax(1)
    expected = [0 if label in (0, 6, 8, 9) else 1 if label == 1 else 2 for label in own.tolist()]
    assert answered.tolist() == expected
    assert some.info.classes == ("round", "one", "other")


def test_a_network_of_the_zoo_is_asked_by_its_name(tmp_path, monkeypatch, assay):
    monkeypatch.chdir(tmp_path)
    card = {"schema": 1, "name": "parity", "network": {"zoo": "digits_fnn"}, "superclasses": PARITY}
    Path("card.yaml").write_text(json.dumps(card))
    whole, parity = load_model("digits_fnn"), load_model("card.yaml")
    pixels = torch.stack([whole.prepare(image) for image, _ in digits(100)])
    assert (parity.module(pixels).argmax(1) == whole.module(pixels).argmax(1) % 2).all()
    assert (parity.info.name, parity.info.weights_sha256) == ("parity", whole.info.weights_sha256)
    assert parity.info.source == whole.info.source
    assert assay("validate", "card.yaml")[:2] == (0, "card.yaml: valid model card\n")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        (
            {"superclasses": None},
            "for `superclasses`; without them name the model itself: --model digits_fnn",
        ),
        ({"num_classes": 10}, "`num_classes` of a network of the zoo is known; leave it out"),
        ({"network": {"zoo": "digits_fn"}}, "unknown model 'digits_fn'; did you mean digits_fnn"),
        ({"network": {"zoo": "digits_models:linear"}}, "which the zoo does not have"),
        ({"network": {"zoo": "card.yaml"}}, "which the zoo does not have"),
    ],
)
def test_what_is_no_network_of_the_zoo_is_one_sentence(tmp_path, monkeypatch, changes, complaint):
    monkeypatch.chdir(tmp_path)
    card = {"schema": 1, "name": "parity", "network": {"zoo": "digits_fnn"}, "superclasses": PARITY} | changes
    Path("card.yaml").write_text(json.dumps({key: value for key, value in card.items() if value is not None}))
    with pytest.raises(UserError, match=complaint):
        load_model("card.yaml")


def test_a_folder_of_superclasses_is_scored_by_them(load, assay):
    load(PARITY)
    right = 0
    whole = load_model("digits_models:linear")
    for image, sample in digits(30):
        place = Path("photos", "odd" if sample.label % 2 else "even")
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[:, :, 0]).save(place / f"{sample.unit_id}.png")
        own = int(whole.module(whole.prepare(image)[None]).argmax())
        right += own % 2 == sample.label % 2
    spec = write_spec(Path())
    code, _, _ = assay(
        "run", "--model", "card.yaml", "--data", "photos", "--task", spec, "--out", "o", "--quiet"
    )
    result = read_result(Path("o/results/parity/t.json"))
    clean = next(metric for metric in result.metrics if metric.name == "clean_accuracy")
    assert (code, clean.n, clean.value) == (0, 30, right / 30)


@pytest.mark.parametrize(
    ("superclasses", "complaint"),
    [
        ({"a": [0], "b": [0, 1]}, "names the class 0 twice"),
        ({"a": [0], "b": [10]}, "has the classes 0..9, not 10"),
        ({"a": [0], "b": ["eleven"]}, "the class 'eleven' of parity is none"),
        ({"a": [0]}, "superclasses"),
        ({"a": [0], "b": []}, "superclasses"),
    ],
)
def test_what_is_no_group_is_one_sentence(load, superclasses, complaint):
    with pytest.raises(UserError, match=complaint):
        load(superclasses)
