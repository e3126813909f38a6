"""Manifest → verified files → samples with stable ids. Nothing here imports torch."""
