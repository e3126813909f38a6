"""A tier is not to be had for nothing: forged records and pictures, consistent in all that arithmetic can see."""

import csv
import json
from dataclasses import replace

import pytest
import torch
from board_place import METADATA
from sent_runs import (
    TASK,
    UNITS,
    copy_of,
    edit_job,
    forge,
    noise,
    rename_model,
    stands,
    the_clean_one,
)

from assay.board.site.build import build_site
from assay.board.submissions import images
from assay.board.submissions.build import SubmitRequest, build_submissions
from assay.board.submissions.check import Board, check_submission, other_names
from assay.board.submissions.images import SavedImages
from assay.board.submissions.register import admit, read_register
from assay.board.submissions.tiers import rerun, rescore, write_finding
from assay.common.errors import UserError
from assay.runner.jobs import JobRequest
from assay.runner.store import RunFolder
from assay.tasks.adversarial.objections import too_many
from assay.tasks.shared.png import png_bytes

pytestmark = pytest.mark.usefixtures("saved_data")
RANKED = "worst:robust_accuracy@1/10"


@pytest.fixture(scope="module")
def benchmarks(saving_task):
    return saving_task


@pytest.fixture(autouse=True)
def _here(request, monkeypatch):
    """Look at pictures in this process, which takes a tenth of the time; one test takes the way through others."""
    if request.function is not test_an_honest_run_s_pictures_give_the_tier:
        monkeypatch.setattr(images, "elsewhere", lambda look, sent: look(sent))


@pytest.fixture
def send(honest_run, tmp_path):
    """Send a run in which ``change`` was made to each record, as a submission that passes every check."""

    def send_(change=None, name="digits_fnn"):
        run = copy_of(honest_run, tmp_path / name / "run")
        if change is not None:
            forge(run, change)
        board = tmp_path / "leaderboard"
        if not (board / "tasks.yaml").is_file():
            admit(board, TASK, ())
        (tmp_path / "about.yaml").write_text(METADATA)
        (folder,) = build_submissions(SubmitRequest(run, tmp_path / "about.yaml", name=name), board)
        against = Board(read_register(board), other_names(board / "submissions"))
        assert list(map(str, check_submission(folder, against))) == []  # arithmetic finds nothing
        return folder, against, run

    return send_


def looked_at(sent, **fields):
    folder, against, run = sent
    saved = SavedImages(**{"run": run, "model": "digits_fnn", "salt": "fixed"} | fields)
    return rescore(folder, against, (), saved).tasks[TASK]


def test_an_honest_run_s_pictures_give_the_tier(send):
    finding = looked_at(send())
    assert finding.differences == ()
    assert finding.images_compared == 9 * UNITS
    assert finding.supports("re-scored")
    assert finding.spot_check.images >= 20
    assert not too_many(finding.spot_check.broken, finding.spot_check.images)


def test_without_pictures_no_tier_is_given(send):
    folder, against, _ = send()
    finding = rescore(folder, against, ()).tasks[TASK]
    assert finding.differences == ()
    assert not finding.supports("re-scored")


def test_clean_pictures_in_the_place_of_adversarial_ones(send):
    """The case of the issue: nothing falls, all hashes and figures agree, the job names a network of the zoo."""
    finding = looked_at(send(lambda record: stands(record, the_clean_one)))
    assert not finding.supports("re-scored")
    assert any("another one than the record's" in text for text in finding.differences)
    assert any("fall to a short attack" in text for text in finding.differences)


def test_clean_pictures_of_attacks_that_are_said_not_to_have_moved_them(send):
    finding = looked_at(send(lambda record: stands(record, the_clean_one, at_linf=0.0)))
    assert any("never taken to the attack's end" in text for text in finding.differences)


def test_pictures_that_no_attack_made_fall_to_the_spot_check_alone(send):
    finding = looked_at(send(lambda record: stands(record, noise)))
    assert any("fall to a short attack" in text for text in finding.differences)
    assert finding.spot_check.broken > 1
    assert not finding.supports("re-scored")


def test_a_picture_outside_of_its_ball(send):
    def further(record):
        return stands(record, lambda radius, clean: noise(radius * 3, clean), share=0.1)

    assert any("outside of its ball" in text for text in looked_at(send(further)).differences)


def test_an_image_that_is_said_to_fall_and_does_not(send):
    """Worse than it is helps nobody, but shows that the network's answers are looked at."""

    def weaker(record):
        outcome = record.values["attacks"]["pgd"]["1/10"] | {"correct_8bit": False}
        attacks = record.values["attacks"]
        return type(record)(
            record.unit_id, record.values | {"attacks": attacks | {"pgd": attacks["pgd"] | {"1/10": outcome}}},
            files=record.files,
        )  # fmt: skip

    assert any("the network's answer is not wrong" in text for text in looked_at(send(weaker)).differences)


def test_pictures_that_are_missing_or_damaged(send):
    sent = send()
    pictures = sorted(sent[2].glob("jobs/*/files/adversarial/pgd/1_10/*.png"))
    pictures[0].write_bytes(b"<svg onload=alert(1)>")
    pictures[1].unlink()
    (store,) = sent[2].glob("jobs/*")
    assert store.is_dir()
    differences = looked_at(sent).differences
    assert any("cannot be read" in text for text in differences)
    assert any("no picture was sent" in text for text in differences)


TWICE_AS_WIDE = png_bytes(torch.zeros(1, 8, 16))


@pytest.mark.parametrize("picture", [b"", b"<svg onload=alert(1)>", TWICE_AS_WIDE[:60], TWICE_AS_WIDE])
def test_a_damaged_picture_of_the_hash_that_its_record_states_is_one_sentence(
    honest_run, tmp_path, assay, picture
):
    run = copy_of(honest_run, tmp_path / "run")
    forge(run, lambda record: replace(record, files=dict.fromkeys(record.files, picture)))
    code, out, err = assay("verify-adversarial", run)
    assert (code, out) == (2, "")
    assert "a picture" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("top_k", ["1", 1.5, None, -1, [1]])
def test_a_spec_of_a_sent_job_is_read_as_strictly_as_any(honest_run, tmp_path, assay, top_k):
    run = copy_of(honest_run, tmp_path / "run")
    edit_job(run, lambda document: document["spec"].update(top_k=top_k))
    code, out, err = assay("verify-adversarial", run)
    assert (code, out) == (2, "")
    assert "top_k" in err


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda document: document["spec"].update(top_k=9), "spec"),
        (lambda document: document["model"].update(weights_sha256="0" * 64), "model"),
        (lambda document: document["data"].update(sha256="0" * 64), "data"),
    ],
)
def test_a_job_document_that_says_something_else_than_the_submission(send, change, field):
    sent = send()
    edit_job(sent[2], change)
    assert any(f"another `{field}` than the submission" in text for text in looked_at(sent).differences)


def test_a_network_of_other_weights_is_not_asked(send):
    """The submission's own hash counts, whatever the sent job names."""
    sent = send()
    rename_model(sent[2], "efficientnet_lite0")
    with pytest.raises(UserError, match=r"`weights_sha256` is .* give the network of the records"):
        looked_at(sent, model="digits_models:linear")
    assert any("another `model`" in text for text in looked_at(sent).differences)


def test_a_run_of_another_job_says_nothing(send, tmp_path):
    folder, against, _ = send()
    with pytest.raises(UserError, match="saved no images of a job of"):
        rescore(folder, against, (), SavedImages(RunFolder(tmp_path / "other").path, "digits_fnn"))


def test_the_sample_changes_with_the_salt_and_stays_with_it(send):
    from assay.board.submissions.images import seed_of

    assert seed_of("a" * 64, "x") == seed_of("a" * 64, "x")
    assert len({seed_of("a" * 64, "x"), seed_of("a" * 64, "y"), seed_of("b" * 64, "x")}) == 3


def test_a_figure_that_was_raised_within_its_interval_is_not_what_a_re_run_finds(send, tmp_path):
    """Where units are few an interval is wide: eight of 120 images more leave the figure inside of it."""
    left = 8

    def raised(record):
        nonlocal left
        fell = not all(by_eps["1/10"]["correct"] for by_eps in record.values["attacks"].values())
        if left and fell and record.values["clean_correct"]:
            left -= 1
            return stands(record, noise)
        return record

    folder, against, _ = send(raised)
    again = rerun(folder, against, JobRequest("digits_fnn", "", batch_size=256), tmp_path / "again")
    differences = again.tasks[TASK].differences
    assert f"{RANKED}: 8 units were stated better than they are now, and 0 worse" in differences
    assert not any(text.startswith(RANKED) and "outside the stated" in text for text in differences)


def test_a_forged_row_stands_below_and_has_no_place(send, tmp_path):
    """Forged submissions look as honest ones do until somebody computes: so none of both is ranked before."""
    honest, against, _ = send()
    forged, _, _ = send(lambda record: stands(record, noise), name="forged")
    board = tmp_path / "leaderboard"
    again = rerun(honest, against, JobRequest("digits_fnn", "", batch_size=256), tmp_path / "again")
    assert again.tasks[TASK].supports("re-run")
    write_finding(board, honest, again)
    write_finding(
        board, forged, rescore(forged, against, ())
    )  # arithmetic: agrees with itself, and gives nothing
    build_site(board, tmp_path / "site")
    rows = {row["model"]: row for row in csv.DictReader((board / "leaderboard.csv").open())}
    assert float(rows["forged"][f"{TASK} {RANKED}"]) > float(rows["digits_fnn"][f"{TASK} {RANKED}"])
    assert (rows["forged"][f"{TASK} places"], rows["forged"][f"{TASK} tier"]) == ("", "submitted")
    # Alone among what the maintainers computed, so without a place of its own either.
    assert (rows["digits_fnn"][f"{TASK} places"], rows["digits_fnn"][f"{TASK} tier"]) == ("", "re-run")
    overview = json.loads((tmp_path / "site" / "leaderboard.json").read_text())["rows"]
    assert overview["forged"][TASK][4:] == [None, None]
    tiers = {row["model"]: row["tier"] for row in csv.DictReader((board / "results_long.csv").open())}
    assert tiers == {"forged": "submitted", "digits_fnn": "re-run"}
    assert "by arithmetic only" in (tmp_path / "site" / "models" / "forged.html").read_text()
