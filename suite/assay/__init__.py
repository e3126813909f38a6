"""Assay: how far an image classifier's answer, and what it looks at, can be trusted when the input changes."""

__version__ = "0.1.0"
