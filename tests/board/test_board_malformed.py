"""Records of another shape, in a run or a submission whose hashes agree: each verb says one sentence, exit code 2."""

import json
from copy import deepcopy
from dataclasses import replace

import pytest
from board_place import lines, put_lines, use_specs
from sent_runs import TASK as SAVED
from sent_runs import copy_of, forge

MALFORMED = {
    "a boolean for a class": lambda values: values | {"label": True},
    "no attack": lambda values: values | {"attacks": {}},
    "an attack that is a number": lambda values: values | {"attacks": dict.fromkeys(values["attacks"], 3)},
    "no certificate key": lambda values: {name: each for name, each in values.items() if name != "certified"},
}


def refused(assay, *words):
    code, out, err = assay(*words)
    assert (code, err.count("\n")) == (2, 1), (code, out, err)
    assert err.startswith("assay: ")
    assert "Traceback" not in out + err


@pytest.mark.parametrize("kind", MALFORMED)
def test_a_submission_is_neither_compared_nor_accepted(place, assay, kind):
    first, *rest = map(json.loads, lines(place))
    changed = [first | {"values": MALFORMED[kind](deepcopy(first["values"]))}, *rest]
    put_lines(place, [json.dumps(each).encode() + b"\n" for each in changed])
    refused(assay, "compare", f"{place.run}@digits_models:linear", place.submission)
    assert any("values" in problem for problem in place.check())


@pytest.mark.parametrize("kind", MALFORMED)
def test_a_run_is_one_sentence_to_every_verb(honest_run, saving_task, tmp_path, assay, kind, monkeypatch):
    use_specs(monkeypatch, saving_task)
    run = copy_of(honest_run, tmp_path / "run")
    forge(run, lambda record: replace(record, values=MALFORMED[kind](deepcopy(dict(record.values)))))
    for words in (
        ("report", run),
        ("records", run, "--model", "digits_fnn", "--task", SAVED),
        ("compare", run, run),
        ("verify-adversarial", run),
        ("export", run, "--to", "latex", "--out", tmp_path / "t.tex"),
    ):
        refused(assay, *words)
