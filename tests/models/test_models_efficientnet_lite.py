"""The default models: trained weights, strict key mapping, and what they answer on real labelled images."""

import csv
import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from assay.models.entries.efficientnet_lite import timm_names
from assay.models.loaded import LoadedModel
from assay.models.zoo import load_model


@pytest.fixture(scope="module")
def lite0() -> LoadedModel:
    return load_model("efficientnet_lite0")


def imagenet_samples() -> list[Path]:
    spec = importlib.util.find_spec("foolbox")
    assert spec is not None
    assert spec.origin is not None
    return sorted((Path(spec.origin).parent / "data").glob("imagenet_*"))


def correct_answers(model: LoadedModel, k: int) -> int:
    """How many of foolbox's 20 labelled ImageNet images have their label among the first k answers."""
    correct = 0
    for path in imagenet_samples():
        pixels = model.prepare(np.asarray(Image.open(path).convert("RGB")))
        best = model.module(pixels[None]).topk(k).indices[0]
        correct += int(path.stem.split("_")[-1]) in best.tolist()
    return correct


def test_lite0_gets_18_of_20_images_right_and_19_in_its_first_five(lite0: LoadedModel) -> None:
    assert (correct_answers(lite0, 1), correct_answers(lite0, 5)) == (18, 19)


def test_direct_resize_is_a_model_of_its_own_with_the_same_weights(lite0: LoadedModel) -> None:
    direct = load_model("efficientnet_lite0-direct")
    assert direct.info.weights_sha256 == lite0.info.weights_sha256
    assert direct.info.preprocessing == lite0.with_resize("direct").info.preprocessing
    assert direct.info.preprocessing != lite0.info.preprocessing


@pytest.mark.parametrize(("name", "side"), [("efficientnet_lite1", 240), ("efficientnet_lite2", 260)])
def test_larger_variants_load_strictly_and_classify(name: str, side: int) -> None:
    model = load_model(name)
    assert model.info.input_shape == (3, side, side)
    assert correct_answers(model, 1) >= 17


def test_the_card_names_the_weight_file_by_the_hash_in_its_published_name(lite0: LoadedModel) -> None:
    assert lite0.info.weights_sha256.startswith("57934424")
    assert lite0.info.piecewise_linear


def test_module_is_in_eval_mode_without_parameter_gradients(lite0: LoadedModel) -> None:
    assert not any(layer.training for layer in lite0.module.modules())
    assert not any(parameter.requires_grad for parameter in lite0.module.parameters())


def test_a_published_name_that_follows_no_rule_is_kept_for_the_strict_loading_to_refuse() -> None:
    state = {"_blocks.99._bn0.weight": torch.zeros(1), "extra": torch.zeros(1)}
    assert set(timm_names(state, repeats=(1,))) == set(state)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "correct"), [("efficientnet_lite0", 266), ("efficientnet_lite0-direct", 272)]
)
def test_lite0_has_the_known_accuracy_on_the_300_nips2017_images(
    name: str, correct: int, shared_data: Path
) -> None:
    model = load_model(name)
    folder = shared_data / "nips2017_dev"
    with (folder / "labels.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    found = 0
    for start in range(0, len(rows), 50):
        batch = rows[start : start + 50]
        images = [Image.open(folder / row["file"]).convert("RGB") for row in batch]
        answers = model.module(torch.stack([model.prepare(np.asarray(image)) for image in images])).argmax(
            dim=1
        )
        found += sum(int(row["label"]) == answer for row, answer in zip(batch, answers.tolist(), strict=True))
    assert found == correct
