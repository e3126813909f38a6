"""What real rows met at the gate: a task that does not apply to a network, and a hash that looks like a number."""

import shutil
from pathlib import Path

import pytest

from assay.board.submissions.build import SubmitRequest, submit
from assay.board.submissions.reader import UnreadableError, parse_json
from assay.results.document import Status, read_results
from small_jobs import JobRequest, run

REPO = Path(__file__).resolve().parents[2]
METADATA = (
    "schema: 1\npaper: none\ncode: assay\nlicence: Apache-2.0\ncontact: maintainers\nweights: not public\n"
)


@pytest.fixture(autouse=True)
def _shipped_tasks():
    """The shipped tracks and tasks, in the place of the other tests' small task."""


def test_a_result_that_does_not_apply_is_submitted_with_its_reason(tmp_path):
    """Of a network whose training pictures are known, so that they would be in the key of a result that applies."""
    run([JobRequest("digits_fnn", "consistency/digits")], tmp_path / "out")
    board = tmp_path / "board"
    (board / "submissions").mkdir(parents=True)
    shutil.copy(REPO / "leaderboard" / "tasks.yaml", board)
    (tmp_path / "about.yaml").write_text(METADATA)
    (sent,) = submit(SubmitRequest(tmp_path / "out", tmp_path / "about.yaml"), board)
    assert [str(problem) for problem in sent.problems] == []
    (result,) = read_results(sent.folder)
    assert result.status is Status.NOT_APPLICABLE
    assert "no convolution" in result.reason
    assert not (sent.folder / "provenance").exists()


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        (b'{"source": "recipe 620caff13e468, data 0de"}', True),  # a hash, as one in some hundred has it
        (b'{"source": "a \\"3e468, ", "b": [3e4, "6e999]"]}', True),
        (b'{"source": "recipe 13e468, data", "b": 3e468}', False),
        (b'{"a\\\\": [3E468], "b": ""}', False),
    ],
)
def test_a_hash_that_looks_like_a_large_number_is_a_text(text, fits):
    if fits:
        assert parse_json("a.json", text)
        return
    with pytest.raises(UnreadableError, match="exponent of three digits"):
        parse_json("a.json", text)
