"""A paper as data: its published figures with their places, its claims, and what to run at each scale.

Nothing in such a file is executed: nets are trained by recipes, tasks run through the runner, and a claim is one of the
few tests of :data:`assay.papers.spec.claims.Test`.
"""
