"""Every paper at its smallest scale, as a user calls it."""

import csv

import pytest

from assay.cli import main
from assay.papers.spec import shipped_papers


@pytest.mark.slow
@pytest.mark.parametrize("name", shipped_papers())
def test_smoke(name, tmp_path):
    with pytest.raises(SystemExit) as ended:
        main(["reproduce", name, "--scale", "smoke", "--out", str(tmp_path / "o"), "--quiet"])
    assert ended.value.code == 0
    rows = list(csv.DictReader((tmp_path / "o" / "claims.csv").open()))
    assert any(row["verdict"] != "not testable at this scale" for row in rows)
    assert (tmp_path / "o" / "index.html").is_file()
