"""The result document: its published schema, its round trip, its refusals, its tables."""

import csv
import io
import json
from importlib.resources import files

import jsonschema
import pytest

from assay.common.errors import UserError
from assay.results.document import Coverage, Guard, Status, read_result, result_schema
from assay.results.tables import RESULT_COLUMNS, results_csv, terminal_table
from result_documents import document


def test_the_published_schema_is_the_document_s():
    published = json.loads((files("assay.results") / "result.schema.json").read_text())
    assert published == result_schema(), "write it again with `make schema`"


def test_a_document_fits_the_schema_and_reads_back(tmp_path):
    path = tmp_path / "r.json"
    path.write_text(document().to_json())
    jsonschema.validate(json.loads(path.read_text()), result_schema())
    assert read_result(path) == document()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "not a result document"),
        ("[]", "not a result document"),
        (document().to_json().replace('"schema_version": 1', '"schema_version": 2'), "schema_version"),
        (document().to_json().replace('"n": 4', '"n": "four"'), r"metrics\.0\.n"),
        (document().to_json().replace('"value": 0.75', '"value": NaN'), "not a result document"),
        (document().to_json().replace('"value": 0.75', '"value": 1e999'), "finite"),
        (document().to_json().replace('"command"', '"commando"'), "command"),
    ],
)
def test_a_wrong_document_is_refused_with_its_field(tmp_path, text, complaint):
    path = tmp_path / "r.json"
    path.write_text(text)
    with pytest.raises(UserError, match=complaint):
        read_result(path)


def test_a_missing_document_is_refused(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        read_result(tmp_path / "none.json")


def test_the_csv_has_a_row_a_metric_and_hides_no_result():
    nothing = document(status=Status.NOT_APPLICABLE, reason="other labels", metrics=())
    rows = list(csv.DictReader(io.StringIO(results_csv([document(), nothing]))))
    assert tuple(rows[0]) == RESULT_COLUMNS
    assert [row["metric"] for row in rows] == ["clean_accuracy", "(none)"]
    assert rows[0]["value"] == "0.75"
    assert rows[1]["status"] == "not_applicable"
    assert "other labels" in terminal_table([nothing])


def test_a_failed_guard_marks_every_row_and_the_table():
    guard = Guard(name="inside_the_ball", passed=False, value=1.0, limit=0.0, detail="d")
    marked = document(guards=(guard,))
    assert "guard failed (inside_the_ball)" in results_csv([marked])
    assert "guard failed (inside_the_ball)" in terminal_table([marked])


def test_a_limited_result_says_so():
    limited = document(coverage=Coverage(units=9, done=4, errors=0, limited=True))
    assert "complete, limited" in results_csv([limited])


@pytest.mark.parametrize(("count", "passed"), [(0, True), (1, False)])
def test_a_guard_that_counts_passes_only_for_none(count, passed):
    guard = Guard.none_found("no_gap", count, "gaps")
    assert (guard.passed, guard.value, guard.limit) == (passed, count, 0)
