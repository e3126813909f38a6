"""What a dry run says: what would be trained and run, and times only where they follow from what is done."""

import json

import pytest

from assay.cli import main
from assay.papers.dry_run import UNKNOWN, plan_text
from assay.papers.plan import Reproduction
from assay.papers.spec.paper import load_paper


def plan_of(paper, scale, out):
    found, home = load_paper(paper)
    return Reproduction(found, scale, home, out)


def said(capsys, *words):
    with pytest.raises(SystemExit) as end:
        main(list(words))
    return end.value.code, *capsys.readouterr()


@pytest.mark.parametrize("paper", ["karkehabadi", "dong", "munakata"])
def test_before_anything_is_done_no_time_is_known_and_nothing_is_written(paper, tmp_path):
    text = plan_text(plan_of(paper, "smoke", tmp_path / "o"))
    assert UNKNOWN in text
    assert "unknown" in text
    assert not (tmp_path / "o").exists()


def test_plan_takes_a_paper_too(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(
        "assay.papers.dry_run.plan_text",
        lambda plan, times: json.dumps([plan.scale_name, str(plan.out), times]),
    )
    words = ("plan", "--paper", "dong", "--scale", "full")
    assert said(capsys, *words, "--out", "o")[:2] == (0, '["full", "o", null]\n')
    assert said(capsys, *words, "--out", "o", "--times", "100")[1] == '["full", "o", 100]\n'
    assert said(capsys, *words)[1] == said(capsys, "reproduce", "dong", "--scale", "full", "--dry-run")[1]
    code, _, err = said(capsys, "plan", "--task", "adversarial/imagenet20", "--times", "2")
    assert (code, "--times: goes with --paper alone" in err) == (2, True)
    for more in (("--task", "adversarial/imagenet20"), ("--json",)):
        code, _, err = said(capsys, *words, *more)
        assert (code, err.count("\n")) == (2, 1)
        assert "--paper" in err
