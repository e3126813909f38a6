"""A device is measured on one that is not there: its records are the CPU's, and every row is filled."""

import json
import sys

import pytest

from assay.cli import main
from pretend_device import DEVICE, pretend_device


@pytest.mark.parametrize("name", ["cpu", DEVICE])
def test_one_command_writes_one_document_and_one_page(name, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torchattacks", None)  # as where it is not installed
    with pretend_device(), pytest.raises(SystemExit) as ended:
        main(["bench-device", "--device", name, "--out", str(tmp_path / "o"), "--quiet"])
    assert ended.value.code == 0, capsys.readouterr()
    document = json.loads((tmp_path / "o" / "device.json").read_text())
    assert document["small"]
    assert {case["task"].split("/")[0] for case in document["equality"]} == {
        "adversarial", "consistency", "corruptions", "srvr", "verification",
    }  # fmt: skip
    assert all(case["within"] == case["units"] and case["largest"] == 0 for case in document["equality"])
    rows = {(row["program"], row["arithmetic"]): row for row in document["speed"]["measured"]}
    assert rows["assay", "float32"]["images_per_second"] > 0
    assert rows["assay", "float32"]["broken"] > 0
    assert rows["torchattacks", "float32"]["note"] == "is not installed"
    assert rows["assay", "tf32"]["images_per_second"] is None
    assert document["speed"]["network"] == "digits_fnn"
    page = (tmp_path / "o" / "device.html").read_text()
    assert "the CPU's answers" in page
    assert "<script" not in page
