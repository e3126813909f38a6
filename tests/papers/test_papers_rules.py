"""Entries that are alike are written once, and read as if each were written out."""

import pytest

from assay.common.errors import UserError
from assay.papers.spec.rules import with_figures, without_rules

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


WORDS = {
    "method": {"original": {"text": "Original", "recipe": "regular"}, "sat": "SAT", "pgd": "PGD"},
    "set": {"": {"text": "Tiny"}, "_flower": "Flower"},
}


def measured(rule):
    return without_rules({"words": WORDS, "measurements": {"each": rule}}, "p.yaml")["measurements"]


def test_words_are_names_that_rules_share_and_need_not_be_repeated():
    put = {"{method}{set}": {"text": "{set.text}, {method.text}", "recipe": "{method.recipe}"}}
    found = measured({"for": {"method": "all", "set": "all"}, "put": put})
    assert list(found) == ["original", "original_flower", "sat", "sat_flower", "pgd", "pgd_flower"]
    assert found["original_flower"] == {"text": "Flower, Original", "recipe": "regular"}
    assert found["sat"] == {"text": "Tiny, SAT", "recipe": "sat"}  # its own name where it has no such text
    assert measured({"for": {"method": ["sat"], "set": [""]}, "put": put}) == {"sat": found["sat"]}
    own = measured({"for": {"method": {"sat": "another"}, "set": [""]}, "put": put})
    assert own["sat"]["text"] == "Tiny, another"


def test_a_scale_s_rules_know_the_paper_s_words_and_no_word_stays_in_the_document():
    rule = {"for": {"method": ["pgd"]}, "put": {"{method}": {"text": "{method.text}"}}}
    found = without_rules({"words": WORDS, "scales": {"cpu": {"models": {"each": rule}}}}, "p.yaml")
    assert found == {"scales": {"cpu": {"models": {"pgd": {"text": "PGD"}}}}}


def test_claims_have_rules_and_stand_under_their_place():
    rule = {
        "for": {"method": ["sat", "pgd"]},
        "put": [{"id": "{method}-a", "text": "{method.text}"}, {"id": "{method}-b"}],
    }
    document = {"words": WORDS, "claims": {"Table 1": [{"id": "first"}, rule], "Fig. 2": [{"id": "last"}]}}
    found = without_rules(document, "p.yaml")["claims"]
    assert [claim["id"] for claim in found] == ["first", "sat-a", "sat-b", "pgd-a", "pgd-b", "last"]
    assert [claim["place"] for claim in found] == ["Table 1"] * 5 + ["Fig. 2"]
    assert found[1] == {"place": "Table 1", "id": "sat-a", "text": "SAT"}


def test_tables_have_rules_as_claims_have():
    rule = {"for": {"method": ["sat", "pgd"]}, "put": [{"id": "{method}", "figures": "{method}.csv"}]}
    found = without_rules({"words": WORDS, "tables": {"Table 1": [rule]}}, "p.yaml")["tables"]
    assert found == [{"place": "Table 1", "id": name, "figures": f"{name}.csv"} for name in ("sat", "pgd")]


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({"words": {"a": ["x"]}}, "`words`: expected lists of names"),
        ({"words": 3}, "`words`: expected lists of names"),
        ({"claims": [{"for": {"a": [1]}, "put": {}}]}, "claims: a rule is written"),
        ({"claims": [{"for": {"a": "all"}, "put": [{"id": "x"}]}]}, "`for.a`: expected a list of names"),
    ],
)
def test_words_and_claims_that_cannot_be_read_are_a_sentence(document, says):
    with pytest.raises(UserError, match=f"p.yaml: .*{says}"):
        without_rules(document, "p.yaml")


def test_figures_of_a_table_may_lie_beside_the_paper(tmp_path):
    table = {"id": "t", "figures": "t.csv"}
    (tmp_path / "t.csv").write_text('row,1/255,2/255\n"SAT, Std.",20.5,\nPGD,1,2\n')
    found = with_figures({"tables": [table]}, tmp_path / "p.yaml")["tables"][0]
    assert found == {
        "id": "t", "columns": ["1/255", "2/255"], "rows": {"SAT, Std.": [20.5, None], "PGD": [1.0, 2.0]},
    }  # fmt: skip
    for text, says in [
        ("row,a\nPGD,one\n", "expected a line of columns"),
        ("", "expected a line of columns"),
    ]:
        (tmp_path / "t.csv").write_text(text)
        with pytest.raises(UserError, match=rf"t\.csv: {says}") as caught:
            with_figures({"tables": [table]}, tmp_path / "p.yaml")
        assert "\n" not in str(caught.value)
    (tmp_path / "t.csv").unlink()
    with pytest.raises(UserError, match=r"t\.csv: cannot be read"):
        with_figures({"tables": [table]}, tmp_path / "p.yaml")
