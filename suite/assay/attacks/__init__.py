"""Attacks on image classifiers as pure functions.

``methods`` has one strict model per attack, without importing torch: how is attacked. ``images`` has what is attacked
and what comes back; ``run.run_attack`` carries an attack out. A model is any callable from pixels in [0, 1] to logits.
"""
