"""A small result document, for tests that change it."""

from assay.results.document import Coverage, DataCard, Metric, ModelCard, ResultDocument, Status

SHA = "0" * 64


def document(**changes):
    fields = {
        "task": "adversarial/t",
        "family": "adversarial",
        "title": "T",
        "spec": {"schema": 1},
        "spec_sha256": SHA,
        "model": ModelCard(
            name="m", source="s", licence="l", architecture="a", weights_sha256=SHA, label_space="digits",
            num_classes=10, input_shape=(1, 8, 8), preprocessing={},
        ),
        "data": DataCard(name="d", title="D", licence="l", sha256=SHA),
        "precision": {"dtype": "float32"},
        "job_key": SHA,
        "status": Status.COMPLETE,
        "coverage": Coverage(units=4, done=4, errors=0, limited=False),
        "metrics": (
            Metric(name="clean_accuracy", value=0.75, ci_low=0.3, ci_high=0.95, n=4, unit="proportion", headline=True),
        ),
        "guards": (),
        "command": "assay run",
    }  # fmt: skip
    return ResultDocument(**(fields | changes))
