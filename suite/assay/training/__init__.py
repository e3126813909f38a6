"""Recipes and the one trainer: declarative, seeded, resumable; a trained network is a zoo entry, ``trained:DIR``."""
