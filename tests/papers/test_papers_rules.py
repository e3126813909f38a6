"""Entries that are alike are written once, and read as if each were written out."""

import pytest

from assay.common.errors import UserError
from assay.papers.spec.rules import without_rules

RULE = {
    "for": {"model": {"sat": "SAT", "pgd": "PGD"}, "point": [1, 2]},
    "put": {
        "{model}_{point}": {"text": "{model.text} at {point}", "model": "{model}", "data": "{images}", "n": 3}
    },
}


def test_a_rule_gives_an_entry_for_every_choice():
    found = without_rules({"measurements": {"each": [RULE]}}, "p.yaml")["measurements"]
    assert list(found) == ["sat_1", "sat_2", "pgd_1", "pgd_2"]
    assert found["pgd_2"] == {"text": "PGD at 2", "model": "pgd", "data": "{images}", "n": 3}


def test_an_entry_of_its_own_wins_and_scales_have_rules_too():
    document = {
        "title": "t",
        "scales": {"cpu": {"models": {"each": RULE, "sat_1": {"own": True}}, "tasks": {}}},
    }
    found = without_rules(document, "p.yaml")
    assert found["title"] == "t"
    assert found["scales"]["cpu"]["models"]["sat_1"] == {"own": True}
    assert found["scales"]["cpu"]["models"]["sat_2"]["model"] == "sat"
    assert "each" not in found["scales"]["cpu"]["models"]


def test_a_document_without_rules_is_itself():
    document = {"measurements": {"a": {"text": "t"}}, "scales": {"cpu": {"models": {}}}, "claims": []}
    assert without_rules(document, "p.yaml") == document


@pytest.mark.parametrize(
    ("each", "says"),
    [
        (3, "a rule is written"),
        ([{"for": {"a": [1]}}], "a rule is written"),
        ([{"for": {"a": [1]}, "put": {}}], "a rule is written"),
        ([{"for": {"a": 1}, "put": {"x": 1}}], "`for.a`: expected a list of names"),
        ([{"for": {"a": []}, "put": {"x": 1}}], "`for.a`: expected a list of names"),
        ([{"for": {"a": [1, 2]}, "put": {"x": 1}}], "two rules give 'x'"),
    ],
)
def test_a_rule_that_cannot_be_read_is_a_sentence_that_names_the_place(each, says):
    with pytest.raises(UserError, match=f"p.yaml: `scales.cpu`: each: {says}"):
        without_rules({"scales": {"cpu": {"measurements": {"each": each}}}}, "p.yaml")
