"""Accuracy when pictures get noisy, blurred, foggy or come from another place, as a family of the task protocol."""
