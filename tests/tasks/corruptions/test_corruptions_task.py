"""From a spec to records and figures, on a real network of digits; each figure is counted again by hand."""

import csv
import io
from itertools import pairwise

import numpy as np
import pytest
import torch

from assay.data.corrupting.corrupt import corrupt
from assay.data.corrupting.level import Level, picture_seed
from assay.data.corrupting.names import COMMON, SEVERITIES
from assay.results.tables import csv_text
from assay.tasks.corruptions.baseline import ALEXNET_ERRORS
from assay.tasks.corruptions.pictures import CorruptedPicture
from assay.tasks.corruptions.spec import CorruptionsSpec
from assay.tasks.corruptions.summary import corruption_error
from assay.tasks.corruptions.task import TASK


def spec_of(**fields):
    document = {"schema": 1, "family": "corruptions", "title": "t", "data": "d"}
    return CorruptionsSpec.model_validate(document | fields, strict=False)


def test_a_record_holds_the_networks_answer_to_each_picture(run_digits):
    found = run_digits()
    model, data = found.job.model, found.job.data
    for record, sample in zip(found.records, data.samples, strict=False):
        for name, answers in record.values["answers"].items():
            for severity, answer in zip(found.spec.severities, answers, strict=True):
                level = Level(name, severity, "cifar-10-c", 0)
                random = np.random.default_rng(picture_seed(level, sample.unit_id))
                pixels = corrupt(data.image(sample), name, severity, "cifar-10-c", random)
                image = torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1)[None] / 255
                assert answer == int(model.module(image).argmax())


def test_figures_are_what_counting_the_records_gives(run_digits):
    found = run_digits(limit=30)
    labels = [record.values["label"] for record in found.records]
    right = {
        (name, severity): [
            record.values["answers"][name][place] == label
            for record, label in zip(found.records, labels, strict=True)
        ]
        for name in found.spec.corruptions
        for place, severity in enumerate(found.spec.severities)
    }
    values = {name: metric.value for name, metric in found.metrics.items()}
    for (name, severity), hits in right.items():
        assert values[f"{name}:accuracy@{severity}"] == pytest.approx(sum(hits) / 30)
    mean = np.mean(list(right.values()))
    clean = np.mean([record.values["clean_correct"] for record in found.records])
    assert values["mean_accuracy"] == pytest.approx(mean)
    assert values["drop_from_clean"] == pytest.approx(clean - mean)
    by_name = [np.mean([right[name, level] for level in SEVERITIES]) for name in found.spec.corruptions]
    assert values["worst_corruption_accuracy"] == pytest.approx(min(by_name))
    flips = [
        before != after
        for record in found.records
        for answers in record.values["answers"].values()
        for before, after in pairwise([record.values["predicted"], *answers])
    ]
    assert values["flips"] == pytest.approx(np.mean(flips))
    headline = found.metrics["mean_accuracy"]
    assert headline.ci_low < headline.value < headline.ci_high


def test_every_figure_that_a_spec_names_is_there_with_a_title_and_the_other_way_round(run_digits):
    found = run_digits()
    assert set(found.metrics) == set(found.spec.metric_keys())
    assert all(metric.title for metric in found.metrics.values())


def test_batches_and_the_loader_change_no_answer(run_digits):
    one, other = run_digits(batch_size=3), run_digits(batch_size=100)
    for first, second in zip(one.records, other.records, strict=True):
        assert first.values["answers"] == second.values["answers"]
        for name, changes in first.values["changes"].items():
            assert changes == pytest.approx(second.values["changes"][name])


def test_two_networks_meet_the_same_pictures(run_digits):
    one, other = run_digits(), run_digits(model="digits_models:blurred")
    assert [record.values["changes"] for record in one.records] == [
        record.values["changes"] for record in other.records
    ]


def test_the_seed_is_the_specs(run_digits):
    one = run_digits().records[0].values["changes"]
    other = run_digits(lines="corruptions: [gaussian_noise, contrast]\nsettings: cifar-10-c\nseed: 1")
    changes = other.records[0].values["changes"]
    assert changes["gaussian_noise"] != one["gaussian_noise"]
    assert changes["contrast"] == one["contrast"]


def test_pictures_are_announced_in_the_order_in_which_they_are_taken(run_digits):
    job = run_digits().job
    (unit,) = job.chunk(0)
    pictures = job.task.pictures(job.spec.spec, job.model, job.data, unit)
    assert len(pictures) == 1 + 4 * 5
    assert [type(picture) is CorruptedPicture for picture in pictures] == [False] + [True] * 20
    assert len({picture.key for picture in pictures}) == len(pictures)


def test_alexnets_own_errors_are_a_corruption_error_of_1():
    spec = spec_of(corruptions=list(COMMON), baseline="alexnet", pictures="published")
    assert len(spec.of_baseline) == 15
    accuracies = 1 - np.array([ALEXNET_ERRORS[name] for name in COMMON])
    assert corruption_error(spec, accuracies) == pytest.approx(1)
    assert corruption_error(spec, np.ones((15, 5))) == 0


def test_what_is_made_otherwise_than_alexnets_pictures_is_not_held_against_it():
    made = spec_of(corruptions=list(COMMON), baseline="alexnet").of_baseline
    assert set(COMMON) - set(made) == {"elastic_transform"}


def test_alexnets_means_are_the_printed_denominators():
    printed = [88.6, 89.4, 92.3, 82.0, 82.6, 78.6, 79.8, 86.7, 82.7, 81.9, 56.5, 85.3, 64.6, 71.8, 60.7]
    means = [100 * np.mean(ALEXNET_ERRORS[name]) for name in COMMON]
    assert means == pytest.approx(printed, abs=0.06)


def test_the_corruption_error_is_a_mean_over_images():
    spec = spec_of(corruptions=["fog", "snow", "saturate"], severities=[2, 4], baseline="alexnet")
    correct = np.random.default_rng(0).random((50, 3, 2)) < 0.5
    assert corruption_error(spec, correct.astype(float)).mean() == pytest.approx(
        corruption_error(spec, correct.mean(0))
    )


def test_rows_are_a_picture_each_and_fit_the_columns(run_digits):
    found = run_digits(limit=2)
    rows = list(TASK.rows(found.spec, found.records))
    assert len(rows) == 2 * (1 + 4 * 5)
    assert [row["severity"] for row in rows[:6]] == [0, 1, 2, 3, 4, 5]
    (header, *_) = csv.reader(io.StringIO(csv_text(TASK.record_columns, rows)))
    assert tuple(header) == TASK.record_columns


def test_records_keep_to_their_declared_values(run_digits):
    for record in run_digits(limit=3).records:
        TASK.record_values.validate_python(dict(record.values))


def test_an_image_that_cannot_be_scored_is_an_error_of_its_own(run_digits):
    found = run_digits(model="digits_models:nan_on_bright", limit=20)
    failed = [record for record in found.records if record.error is not None]
    assert len(failed) > 0
    assert all("NaN" in record.error or "nan" in record.error for record in failed)
