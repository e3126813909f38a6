"""Attention robustness, proved (Munakata et al.)."""
