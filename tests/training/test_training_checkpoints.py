"""Checkpoints: the newest whole one is never dropped, and other tools' files are left alone."""

import pytest
import torch

from assay.training.checkpoints import Checkpoints

FOREIGN = ("best.ckpt", "last.ckpt", "epoch-3.ckpt", "12.ckpt", "99999999999.ckpt.bak")


@pytest.fixture
def checkpoints(tmp_path):
    return Checkpoints(tmp_path, "a key")


def save(checkpoints, *steps):
    for step in steps:
        checkpoints.save(step, {"net": torch.tensor(step)})


def names(checkpoints):
    return sorted(path.name for path in checkpoints.folder.iterdir())


def file_of(checkpoints, step):
    return checkpoints.folder / f"{step:010d}.ckpt"


def newest(folder):
    state, _ = Checkpoints(folder, "a key").newest()
    return None if state is None else int(state["net"])


def test_the_last_two_are_kept(checkpoints):
    assert checkpoints.newest_steps is None
    save(checkpoints, 1, 2, 3)
    assert names(checkpoints) == ["0000000002.ckpt", "0000000003.ckpt"]
    assert checkpoints.newest_steps == newest(checkpoints.folder) == 3


def test_a_checkpoint_survives_damaged_ones_of_later_steps(checkpoints):
    for step in (8, 9):
        file_of(checkpoints, step).write_bytes(b"")
    state, complaints = checkpoints.newest()
    assert state is None
    assert len(complaints) == 2
    assert all(text.endswith("the training starts again") for text in complaints)
    save(checkpoints, 1)
    assert names(checkpoints) == ["0000000001.ckpt"]
    assert newest(checkpoints.folder) == 1


def test_damaged_ones_stay_until_a_good_one_takes_their_place(checkpoints):
    save(checkpoints, 4, 5)
    file_of(checkpoints, 5).write_bytes(b"")
    _, complaints = checkpoints.newest()
    assert complaints == [
        f"{file_of(checkpoints, 5)}: is damaged; the training goes on from the checkpoint of step 4 before it"
    ]
    assert names(checkpoints) == ["0000000004.ckpt", "0000000005.ckpt"]
    save(checkpoints, 6)
    assert names(checkpoints) == ["0000000004.ckpt", "0000000006.ckpt"]  # not 5, although it is newer than 4


def test_a_damaged_one_that_is_written_again_is_whole(checkpoints):
    save(checkpoints, 4, 5)
    file_of(checkpoints, 5).write_bytes(b"")
    checkpoints.newest()
    assert checkpoints.newest_steps == 4
    save(checkpoints, 5)
    assert checkpoints.newest_steps == newest(checkpoints.folder) == 5


def test_files_of_other_tools_are_neither_read_nor_dropped(checkpoints):
    for name in FOREIGN:
        (checkpoints.folder / name).write_text("mine")
    assert checkpoints.newest() == (None, [])
    save(checkpoints, 1, 2, 3)
    assert newest(checkpoints.folder) == 3
    checkpoints.clear()
    assert names(checkpoints) == sorted(FOREIGN)
    assert {(checkpoints.folder / name).read_text() for name in FOREIGN} == {"mine"}


def test_steps_are_ordered_as_numbers(checkpoints):
    save(checkpoints, 9_999_999_999, 10_000_000_000)
    assert newest(checkpoints.folder) == 10_000_000_000
