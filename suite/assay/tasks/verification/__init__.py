"""Attention and classification robustness, decided exactly over semantic perturbations."""
