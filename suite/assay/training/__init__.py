"""Recipes and the one trainer: declarative, seeded, resumable; a trained network is a zoo entry, ``trained:DIR``."""

from assay.training.recipe import Recipe, load_recipe
from assay.training.train import Options, Training, train, train_part

__all__ = ["Options", "Recipe", "Training", "load_recipe", "train", "train_part"]
