"""What changes no decision changes no headline: a factor or a constant of the logits, names of classes, any order."""

from dataclasses import replace

import numpy as np
import pytest

from assay.data.draw import Draw


@pytest.mark.parametrize("factory", ["tiny_logits", "huge_logits", "moved_logits"])
def test_a_factor_or_a_constant_of_the_logits_changes_no_headline(run_digits, factory):
    before, after = run_digits(limit=40), run_digits(limit=40, model=f"digits_models:{factory}")
    name = before.spec.headline_key
    assert 0.1 < before.metrics[name].value < 1
    assert after.metrics[name].value == pytest.approx(before.metrics[name].value, abs=0.01)


def test_neither_the_names_of_the_classes_nor_the_order_of_images_change_a_figure(run_digits):
    found = run_digits(limit=40, draw=Draw.BALANCED)
    order = np.random.default_rng(0).permutation(10).tolist()

    def renamed(values):
        answers = {name: [order[each] for each in own] for name, own in values["answers"].items()}
        label, predicted = order[values["label"]], order[values["predicted"]]
        return {**values, "answers": answers, "label": label, "predicted": predicted}

    others = [replace(record, values=renamed(record.values)) for record in found.records]
    for records in (others, found.records[::-1]):
        for metric in found.job.task.summarise(found.spec, records).metrics:
            assert metric.value == pytest.approx(found.metrics[metric.name].value), metric.name


def test_chunks_and_batches_change_no_headline(run_digits):
    whole, parted = run_digits(limit=40), run_digits(limit=40, batch_size=7)
    for name, metric in whole.metrics.items():
        assert parted.metrics[name].value == pytest.approx(metric.value), name
