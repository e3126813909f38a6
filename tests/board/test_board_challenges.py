"""Adversarial images from elsewhere: they lower a row if they hold, and are refused with one sentence if not."""

import io
import json
import pickle
import zipfile

import numpy as np
import pytest
from board_place import METADATA
from PIL import Image
from sent_images import clean_and_broken, npz
from sent_runs import TASK, copy_of

from assay.board.site.build import build_site
from assay.board.submissions.build import SubmitRequest, build_submissions
from assay.board.submissions.challenges import Sent, challenge, place_of, write_challenges
from assay.board.submissions.check import Board, other_names, read_records
from assay.board.submissions.folder import open_folder
from assay.board.submissions.register import admit, read_register
from assay.common.errors import UserError
from assay.tasks.families import load_spec
from assay.tasks.shared.png import png_bytes

pytestmark = pytest.mark.usefixtures("saved_data", "looked_at_here")
RANKED = "worst:robust_accuracy@1/10"


@pytest.fixture(scope="module")
def benchmarks(saving_task):
    return saving_task


@pytest.fixture
def place(told, tmp_path):
    """A board with one submission whose first attacks alone were told: PGD's outcomes are those of FGSM."""
    sent = copy_of(told, tmp_path / "run")
    board = tmp_path / "leaderboard"
    admit(board, TASK, ())
    (tmp_path / "about.yaml").write_text(METADATA)
    (folder,) = build_submissions(SubmitRequest(sent, tmp_path / "about.yaml", name="digits_fnn"), board)
    return board, folder, Board(read_register(board), other_names(board / "submissions"))


def records_of(folder):
    files, _ = open_folder(folder)
    return read_records(files, TASK, load_spec(TASK).spec)


def challenged(place, path, by="Ada"):
    board, folder, against = place
    document = place_of(board, folder)
    answer = challenge(folder, against, (), Sent(path, by, "2026-11-27", "digits_fnn"), document)
    write_challenges(document, answer)
    return answer.tasks[TASK]


def test_images_from_elsewhere_lower_the_row_with_who_and_when(place, benchmarks, tmp_path):
    board, folder, _ = place
    found = clean_and_broken(records_of(folder), benchmarks, 1 / 10)
    assert len(found) >= 3
    answer = challenged(place, npz(tmp_path / "sent.npz", found))
    assert set(answer.earlier) == {name for name, _, _ in found}
    figure = answer.figures[RANKED]
    records = records_of(folder)
    assert figure.value == pytest.approx(figure.stated - len(found) / len(records))
    assert "worst:mean_radius" in answer.figures
    assert answer.credits() == [f"{len(found)} broken by Ada on 2026-11-27"]
    build_site(board, tmp_path / "site")
    page = (tmp_path / "site" / "models" / "digits_fnn.html").read_text()
    assert f"{len(found)} broken by Ada on 2026-11-27" in page


def test_a_second_challenge_adds_to_the_first_and_the_nearest_image_is_named(place, benchmarks, tmp_path):
    _, folder, _ = place
    found = clean_and_broken(records_of(folder), benchmarks, 1 / 10)
    first = challenged(place, npz(tmp_path / "first.npz", found[:2]))
    again = challenged(place, npz(tmp_path / "again.npz", found[1:]), by="Emmy")
    assert len(first.earlier) == 2
    assert set(again.earlier) == {name for name, _, _ in found}
    assert [again.best[found[at][0]].by for at in (0, 1, 2)] == ["Ada", "Ada", "Emmy"]


def test_pngs_of_8_bit_are_taken_where_they_lie_in_the_ball(place, benchmarks, tmp_path):
    _, folder, _ = place
    found = clean_and_broken(records_of(folder), benchmarks, 0.09)
    sent = tmp_path / "pngs"
    sent.mkdir()
    for name, _, image in found[:1]:
        (sent / f"{name.replace('/', '%2F')}.png").write_bytes(png_bytes(image))
    answer = challenged(place, sent)
    assert answer.earlier == (found[0][0],)
    assert answer.best[found[0][0]].distance <= 0.1


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda name, clean, _bad: (name, clean, clean), "answered as labelled"),
        (lambda name, clean, _bad: (name, clean, 1 - clean), "the largest ball has the radius 1/10"),
        (lambda name, clean, bad: (name, clean, bad * float("nan")), r"not in \[0, 1\]"),
        (lambda name, clean, bad: (name, clean, bad + 1), r"not in \[0, 1\]"),
        (lambda name, clean, bad: (name, clean, bad[:, :7]), "has the shape"),
        (lambda _name, clean, bad: ("no such", clean, bad), "no unit of the records"),
    ],
)
def test_an_image_that_does_not_hold_is_refused_and_named(place, benchmarks, tmp_path, change, complaint):
    board, folder, _ = place
    found = clean_and_broken(records_of(folder), benchmarks, 1 / 10)[:1]
    with pytest.raises(UserError, match=complaint) as caught:
        challenged(place, npz(tmp_path / "sent.npz", [change(*one) for one in found]))
    assert "\n" not in str(caught.value)
    assert not place_of(board, folder).exists()


def test_what_is_pickled_is_not_opened(place, tmp_path):
    np.savez(tmp_path / "sent.npz", unit_ids=np.array(["a"], dtype=object), images=np.zeros((1, 1, 8, 8)))
    with pytest.raises(UserError, match="nothing pickled"):
        challenged(place, tmp_path / "sent.npz")
    (tmp_path / "bare.npz").write_bytes(pickle.dumps({"unit_ids": []}))
    with pytest.raises(UserError, match="expected a folder of PNGs, or an npz"):
        challenged(place, tmp_path / "bare.npz")


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


PICTURE = npy(np.zeros((1, 1, 8, 8), np.float32))
GIANT = npy(np.zeros(4, np.float32)).replace(b"(4,), }            ", b"(4000000000000,), }")
NO_HEADER = b"\x93NUMPY\x01\x00\x76\x00" + b"(" * 118


def flagged(place, value):
    """An archive in whose directory one byte says something else of the first array."""

    def flag(data):
        at = data.find(b"PK\x01\x02") + place
        return data[:at] + bytes([value]) + data[at + 1 :]

    return flag


@pytest.mark.parametrize(
    ("images", "change"),
    [(GIANT, bytes), (NO_HEADER, bytes), (PICTURE, flagged(8, 1)), (PICTURE, flagged(10, 99))],
    ids=["an array of terabytes", "no header", "encrypted", "packed in an unknown way"],
)
def test_an_archive_that_numpy_cannot_read_is_one_sentence(place, tmp_path, images, change):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("unit_ids.npy", npy(np.array(["00000"])))
        archive.writestr("images.npy", images)
    (tmp_path / "sent.npz").write_bytes(change(buffer.getvalue()))
    with pytest.raises(UserError, match="expected a folder of PNGs, or an npz file") as caught:
        challenged(place, tmp_path / "sent.npz")
    assert "\n" not in str(caught.value)


def test_a_giant_picture_is_not_unpacked(place, tmp_path):
    """A few kilobytes that would fill a gigabyte."""
    (tmp_path / "pngs").mkdir()
    Image.new("L", (9000, 9000)).save(tmp_path / "pngs" / "00000.png")
    with pytest.raises(UserError, match="cannot be read as a PNG"):
        challenged(place, tmp_path / "pngs")


def test_a_damaged_document_of_earlier_challenges_is_one_sentence(place, benchmarks, tmp_path):
    board, folder, _ = place
    sent = npz(tmp_path / "sent.npz", clean_and_broken(records_of(folder), benchmarks, 1 / 10))
    place_of(board, folder).parent.mkdir(parents=True)
    place_of(board, folder).write_text("{")
    with pytest.raises(UserError, match="put back what was committed") as caught:
        challenged(place, sent)
    assert "\n" not in str(caught.value)


def test_challenges_of_another_manifest_do_not_count(place, benchmarks, tmp_path):
    board, folder, _ = place
    found = clean_and_broken(records_of(folder), benchmarks, 1 / 10)
    challenged(place, npz(tmp_path / "sent.npz", found))
    path = place_of(board, folder)
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "manifest_sha256": "0" * 64}))
    build_site(board, tmp_path / "site")
    assert "Challenged" not in (tmp_path / "site" / "models" / "digits_fnn.html").read_text()
