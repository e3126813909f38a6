"""A model card travels with a submission, and a stranger's card names no file outside its folder."""

import pytest
import yaml
from board_place import METADATA, TASK, Place, refused, rewrite

from assay.board.submissions.build import SubmitRequest, build_submissions
from assay.board.submissions.register import admit
from assay.common.errors import UserError
from assay.runner.jobs import JobRequest
from assay.runner.plan import plan_jobs
from assay.runner.run import run_jobs

CARD = {
    "schema": 1,
    "name": "mine",
    "network": {"factory": "digits_models:linear"},
    "label_space": "digits",
    "input": {"size": [8, 8], "channels": "grey"},
    "clean_accuracy": {"value": 0.93, "data": "digits"},
}


def with_card(**changes):
    return yaml.safe_dump(CARD | {"name": "digits-models-linear"} | changes).encode()


def test_the_card_that_brought_the_model_in_is_submitted_with_it(tmp_path):
    card = tmp_path / "mine.yaml"
    card.write_text(yaml.safe_dump(CARD))
    (tmp_path / "about.yaml").write_text(METADATA)
    place = Place(tmp_path / "leaderboard", tmp_path / "run", tmp_path / "about.yaml")
    run_jobs(plan_jobs([JobRequest(str(card), TASK, batch_size=256)]), place.run)
    admit(place.board, TASK, ())
    (folder,) = build_submissions(SubmitRequest(place.run, place.metadata), place.board)
    assert (folder / "card.yaml").read_bytes() == card.read_bytes()
    assert place.check(folder) == []
    card.write_text(yaml.safe_dump(CARD | {"weights": {"file": "../mine.pth"}}))
    with pytest.raises(
        UserError, match=r"`weights\.file` names '\.\./mine\.pth', which leaves the card's folder"
    ):
        build_submissions(SubmitRequest(place.run, place.metadata), place.board)
    card.write_text(yaml.safe_dump(CARD | {"name": "another"}))
    with pytest.raises(UserError, match="is the card of another by now, where the run has mine"):
        build_submissions(SubmitRequest(place.run, place.metadata), place.board)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"network": {"onnx": "/etc/passwd"}}, ("card.yaml", "leaves the card's folder")),
        ({"network": {"onnx": "../other/net.onnx"}}, ("card.yaml", "leaves the card's folder")),
        ({"weights": {"file": "../../w.pth"}}, ("card.yaml", "leaves the card's folder")),
        ({"name": "another"}, ("card.yaml", "name", "another")),
        ({"source": "<script>alert(1)</script>"}, ("card.yaml", "markup")),
        ({"network": {}}, ("card.yaml", "network names nothing")),
    ],
)
def test_a_strangers_card_is_refused_in_one_line(place, changes, words):
    rewrite(place.submission, {"card.yaml": with_card(**changes)})
    refused(place, *words)
