"""Small recipes on the embedded digits."""

from typing import Any

from assay.common.validation import validate
from assay.training.recipe import Recipe

DOCUMENT: dict[str, Any] = {
    "schema": 1,
    "title": "a small recipe",
    "method": {"name": "regular"},
    "architecture": "digits-cnn",
    "input": {"crop": [8, 8], "mean": [0.3], "std": [0.4]},
    "data": {
        "train": {"manifest": "digits", "first": 200},
        "test": {"manifest": "digits", "skip": 1600},
    },
    "optimiser": {"name": "adam", "lr": 0.01},
    "epochs": 3,
    "batch_size": 64,
}


def recipe(**changes: Any) -> Recipe:
    """The small recipe with some keys changed."""
    return validate(Recipe, DOCUMENT | changes, "recipe.yaml")


def climb(name: str, steps: int = 2, **more: Any) -> dict[str, Any]:
    """A method with an inner maximisation."""
    return {"name": name, "eps": "1/10", "steps": steps, "step_size": "0.5 eps", **more}


FOREGROUND = {"saliency": {"source": "foreground", "above": "1/2"}, "alpha": 0.8}
METHODS: dict[str, dict[str, Any]] = {
    "regular": {"name": "regular"},
    "saliency_guided": {"name": "saliency_guided"},
    "noise": {"name": "noise", "eps": "1/10"},
    "sat": {"name": "sat", "eps": "1/10", **FOREGROUND},
    "pgd": climb("pgd"),
    "pgd_noise": climb("pgd_noise"),
    "pgd_sat": climb("pgd_sat", **FOREGROUND),
    "trades": climb("trades"),
    "trades_noise": climb("trades_noise"),
    "trades_sat": climb("trades_sat", **FOREGROUND),
    "fgsm_adversarial": {"name": "fgsm_adversarial", "eps": "1/10"},
    "fgsm_consistent": {"name": "fgsm_consistent", "eps": "1/10"},
}
