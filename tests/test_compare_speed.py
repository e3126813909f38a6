"""`make perf-compare`: ratios of two files of pytest-benchmark; what is kept of one names no machine."""

import copy
import importlib.util
import json
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
MEASURED = {
    "machine_info": {"node": "secret-host", "cpu": {"brand_raw": "A Processor"}},
    "commit_info": {"author_name": "Somebody", "id": "abc123"},
    "datetime": "2026-11-27T00:00:00",
    "benchmarks": [
        {
            "name": "test_a", "fullname": "tests/performance/test_x.py::test_a", "params": None,
            "extra_info": {"ours_over_bare": 1.25, "where": "text"},
            "stats": {"median": 0.5, "iqr": 0.01, "rounds": 3, "data": [0.5, 0.5, 0.51]},
        }
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def script():
    path = REPOSITORY / "scripts" / "compare_speed.py"
    if not path.is_file():
        pytest.skip("the script is part of the checkout, not of an installed package")
    spec = importlib.util.spec_from_file_location("compare_speed", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_file_beside_itself_has_ratios_of_one(script):
    slim = script.kept(MEASURED)
    assert list(script.rows(slim, slim)) == [
        ["test_a", "ours_over_bare", "1.25", "1.25", "1.00"],
        ["test_a", "median seconds", "0.5", "0.5", "1.00"],
    ]


def test_twice_as_slow_is_2_and_a_test_of_one_file_alone_is_said(script):
    slower = copy.deepcopy(MEASURED)
    slower["benchmarks"][0]["extra_info"]["ours_over_bare"] = 2.5
    slower["benchmarks"].append(copy.deepcopy(MEASURED["benchmarks"][0]) | {"fullname": "x::test_b"})
    rows = list(script.rows(script.kept(MEASURED), slower))
    assert [row[-1] for row in rows] == ["2.00", "1.00", "only new"]
    assert [row[-1] for row in script.rows(slower, script.kept(MEASURED))][-1] == "not run now"


def test_what_is_kept_names_no_machine_and_nobody(script, tmp_path):
    (tmp_path / "new.json").write_text(json.dumps(MEASURED))
    assert script.main(["--keep", str(tmp_path / "new.json"), str(tmp_path / "0.1.0.json")]) == 0
    text = (tmp_path / "0.1.0.json").read_text()
    assert ("secret-host" in text, "Somebody" in text) == (False, False)
    assert script.main([str(tmp_path / "0.1.0.json"), str(tmp_path / "new.json")]) == 0
    assert script.main(["one"]) == 2


def test_a_release_s_file_says_its_commit_and_may_be_of_several_measurements(script, tmp_path):
    other = MEASURED | {"benchmarks": [MEASURED["benchmarks"][0] | {"fullname": "x::test_b"}]}
    for name, document in (("a", MEASURED), ("b", other)):
        (tmp_path / f"{name}.json").write_text(json.dumps(document))
    kept = tmp_path / "releases" / "0.1.0.json"
    assert script.main(["--keep", str(tmp_path / "a.json"), str(tmp_path / "b.json"), str(kept)]) == 0
    document = json.loads(kept.read_text())
    assert document["commit"] == "abc123"
    assert [each["fullname"].rpartition("::")[2] for each in document["benchmarks"]] == ["test_a", "test_b"]


def test_every_release_s_file_in_the_repository_is_of_that_form(script):
    files = sorted((REPOSITORY / "tests" / "performance" / "releases").glob("*.json"))
    for path in files:
        document = json.loads(path.read_text())
        assert set(document) == {"processor", "commit", "datetime", "benchmarks"}
        assert list(script.rows(document, document))
