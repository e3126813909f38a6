"""What a figure rests on: nothing that was searched for is called proved, and the sign says where the truth is."""

import pytest

from assay.results.evidence import sign_of, word_of
from assay.tasks.families import family, load_spec
from assay.tasks.task_spec import shipped_specs

SPECS = sorted(shipped_specs())


def evidences(task):
    """Of every figure of a task: its metric and what it rests on."""
    spec = load_spec(task).spec
    own = family(spec.family)
    return spec, [(metric, own.evidence(metric.name)) for metric in own.summarise(spec, ()).metrics]


@pytest.mark.parametrize("task", [task for task in SPECS if task.startswith("verification/")])
def test_a_search_proves_nothing_and_a_proof_is_not_found(task):
    spec, known = evidences(task)
    assert known
    if spec.verifier == "search":
        assert {evidence for _, evidence in known} == {"found", "looked at"}
    else:
        assert {evidence for _, evidence in known} == {"proved", ""}
        assert {metric.name: evidence for metric, evidence in known}[spec.headline] == "proved"


@pytest.mark.parametrize("task", [task for task in SPECS if task.startswith("adversarial/")])
def test_what_an_attack_left_is_at_most_so_much_and_clean_answers_are_measured(task):
    for metric, evidence in evidences(task)[1]:
        if metric.name == "clean_accuracy" or metric.name.endswith("@0"):
            assert evidence in {"", "proved"}
        elif metric.name.startswith("certified_"):
            assert evidence == "proved"
        elif metric.name.startswith("worst:"):
            assert (word_of(evidence), sign_of(evidence, metric.direction)) == ("found", "≤ ")


@pytest.mark.parametrize(
    "task", [task for task in SPECS if task.startswith(("corruptions/", "srvr/", "consistency/"))]
)
def test_other_families_measure(task):
    assert {evidence for _, evidence in evidences(task)[1]} <= {""}


def test_a_share_of_the_points_looked_at_bounds_nothing():
    """The range has other points, of which as many or as few may be within."""
    own = family("verification")
    assert own.evidence("brightness:0:1:attention_within_quarter_where_looked") == "looked at"
    assert sign_of("looked at", "up") == ""
    assert sign_of(own.evidence("brightness:0:1:CR:found_broken"), "down") == "≥ "
