"""A paper as data: its published figures with their places, its claims, and what to run at each scale.

Nothing in such a file is executed: nets are trained by recipes, tasks run through the runner, and a claim is one of the
few tests of :data:`Test`.
"""

from assay.papers.spec.claims import (
    AllOf,
    Claim,
    Occurs,
    Ordering,
    Pair,
    Ratio,
    Test,
    Threshold,
    Within,
    names_in,
)
from assay.papers.spec.measurements import (
    AlignmentMeasurement,
    Cell,
    CurveMeasurement,
    Measurement,
    MetricMeasurement,
    RegionsMeasurement,
    TrainingMeasurement,
)
from assay.papers.spec.paper import Paper, load_paper, shipped_papers, task_at
from assay.papers.spec.scales import SCALES, PaperScale, RecipeModel, ScaleName, ZooModel

__all__ = [
    "SCALES",
    "AlignmentMeasurement",
    "AllOf",
    "Cell",
    "Claim",
    "CurveMeasurement",
    "Measurement",
    "MetricMeasurement",
    "Occurs",
    "Ordering",
    "Pair",
    "Paper",
    "PaperScale",
    "Ratio",
    "RecipeModel",
    "RegionsMeasurement",
    "ScaleName",
    "Test",
    "Threshold",
    "TrainingMeasurement",
    "Within",
    "ZooModel",
    "load_paper",
    "names_in",
    "shipped_papers",
    "task_at",
]
