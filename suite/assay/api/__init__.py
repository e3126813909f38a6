"""What ``import assay`` offers: evaluate a network, read a run, compare two, and ask one picture a question.

Everything here computes in the caller's process and leaves no folder behind unless one is asked for.
"""

from assay.api.attacking import attack
from assay.api.evaluation import evaluate
from assay.api.proving import verify
from assay.api.run import Run, compare, load
from assay.saliency.explain import saliency

__all__ = ["Run", "attack", "compare", "evaluate", "load", "saliency", "verify"]
