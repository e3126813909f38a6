"""Attacks on image classifiers as pure functions.

``settings`` and ``methods`` say what an attack is and which combinations make sense, without importing torch;
``run.run_job`` carries one out. A model is any callable from pixels in [0, 1] to logits.
"""
