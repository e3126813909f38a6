"""Semantic robustness over 3-D renders (Hamdi and Ghanem)."""
