"""The guard on clean accuracy where real images have the labels that the network is to answer."""

from dataclasses import replace

from plausible_guard import plausible_guard


def test_a_network_that_answers_as_labelled_passes(outcome):
    job, records, _ = outcome()
    guard = plausible_guard(job, records, stated=1.0, n=120)
    assert (guard.passed, guard.value) == (True, 1.0)
    assert "of 120 images; chance 33.3 %" in guard.detail


def test_one_that_answers_the_same_whatever_it_sees_reaches_chance(outcome):
    job, records, _ = outcome("stubborn")
    guard = plausible_guard(job, records)
    assert not guard.passed
    assert "reaches down to chance, 33.3 %; `assay doctor" in guard.detail


def test_one_that_falls_short_of_its_card_is_told(outcome):
    job, records, _ = outcome()
    first, *others = records
    real = first.values["real"]
    spoilt = replace(
        first, values={**first.values, "real": real | {"correct": [False] * len(real["correct"])}}
    )
    guard = plausible_guard(job, [spoilt, *others], stated=0.99, n=5000)
    assert not guard.passed
    assert "lies wholly below what the card states, 99 % on held-out (5000 images)" in guard.detail


def test_concepts_are_no_labels_of_the_networks(outcome):
    job, records, _ = outcome()
    unlabelled = [
        replace(record, values={**record.values, "real": record.values["real"] | {"correct": None}})
        for record in records
    ]
    assert plausible_guard(job, unlabelled) is None
