"""A model's card refuses what does not fit together."""

import pytest
from pydantic import ValidationError

from assay.models.info import ModelInfo, Preprocessing

PLAIN = Preprocessing(crop=(28, 28), mean=(0.0,), std=(1.0,))


def card(**changes: object) -> ModelInfo:
    fields: dict[str, object] = {
        "name": "net",
        "source": "here",
        "licence": "MIT",
        "weights_sha256": "0" * 64,
        "architecture": "net",
        "label_space": "mnist",
        "num_classes": 10,
        "input_shape": (1, 28, 28),
        "preprocessing": PLAIN,
        "piecewise_linear": True,
    }
    return ModelInfo.model_validate(fields | changes)


def test_a_card_survives_json() -> None:
    assert ModelInfo.model_validate_json(card().model_dump_json()) == card()


@pytest.mark.parametrize(
    "changes",
    [
        {"weights_sha256": "abc"},
        {"num_classes": 0},
        {"input_shape": (1, 32, 32)},
        {"input_shape": (3, 28, 28)},
        {"unknown": 1},
    ],
)
def test_a_card_that_does_not_fit_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        card(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"resize": 27},
        {"resize": "squash"},
        {"std": (0.0,)},
        {"std": (1.0, 1.0)},
        {"interpolation": "cubic"},
        {"crop": (0, 28)},
        {"resize": (28, 28)},
        {"resize": (27, 30)},
        {"resize": (30, 30), "fit": "contain"},
        {"resize": 30, "fit": "cover"},
        {"fit": "cover"},
        {"pad": (256,)},
        {"pad": (0, 0)},
    ],
)
def test_preprocessing_that_does_not_fit_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Preprocessing.model_validate(PLAIN.model_dump() | changes)


def test_a_field_that_came_later_is_silent_until_it_says_something() -> None:
    """Keys and result documents of before hold the first five fields."""
    assert list(PLAIN.model_dump(mode="json")) == ["resize", "crop", "interpolation", "mean", "std"]
    padded = PLAIN.model_copy(update={"resize": (30, 20), "pad": (0,)})
    assert padded.model_dump(mode="json") == {**PLAIN.model_dump(mode="json"), "resize": [30, 20], "pad": [0]}
    assert Preprocessing.model_validate_json(padded.model_dump_json()) == padded
    assert card(preprocessing=PLAIN).model_dump(mode="json")["preprocessing"] == PLAIN.model_dump(mode="json")
