"""Every paper at its smallest scale, as a user calls it."""

import csv

import pytest

from assay.papers.spec.paper import shipped_papers

LONG = {"mangla"}  # twenty-seven trainings


@pytest.mark.parametrize(
    "name", [pytest.param(each, marks=pytest.mark.slow if each in LONG else ()) for each in shipped_papers()]
)
def test_smoke(name, assay, tmp_path):
    assert assay("reproduce", name, "--scale", "smoke", "--out", tmp_path / "o", "--quiet")[0] == 0
    rows = list(csv.DictReader((tmp_path / "o" / "claims.csv").open()))
    assert any(row["verdict"] != "not testable at this scale" for row in rows)
    assert (tmp_path / "o" / "index.html").is_file()
