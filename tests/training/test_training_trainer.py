"""The trainer: seeded, resumable to the byte, and careful with what it has stored."""

import csv
import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from training_recipes import DOCUMENT, METHODS, recipe

from assay.errors import UserError
from assay.training import Options, train, train_part
from assay.training.checkpoints import Checkpoints
from assay.training.pictures import chosen
from assay.training.recipe import Selection
from assay.training.trainer import DivergedError

EVERY_STEP = Options(checkpoint_seconds=0)


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The small recipe trained without an interruption."""
    torch.set_num_threads(1)
    return train(recipe(), tmp_path_factory.mktemp("whole"))


def test_the_same_recipe_gives_the_same_bytes_whatever_was_drawn_before(whole, tmp_path):
    torch.manual_seed(99)
    torch.rand(3)
    before = torch.get_rng_state()
    assert weights(train(recipe(), tmp_path / "again").folder) == weights(whole.folder)
    assert torch.equal(torch.get_rng_state(), before)


def test_another_seed_gives_other_weights(whole, tmp_path):
    assert weights(train(recipe(seed=1), tmp_path).folder) != weights(whole.folder)


OFTEN = ("saliency_guided", "pgd_sat", "fgsm_consistent")


@pytest.mark.parametrize(
    "name",
    [name if name in OFTEN else pytest.param(name, marks=pytest.mark.slow) for name in sorted(METHODS)],
)
def test_every_method_resumes_to_the_byte_and_learns(name, tmp_path):
    """Dropout's chance, the methods' own and the optimiser's memory all come back."""
    mine = recipe(method=METHODS[name], architecture="mnist-cnn", epochs=2, data=SMALL)
    train_part(mine, tmp_path / "parts", 1)
    assert not (tmp_path / "parts" / "model.yaml").exists()
    reports = []
    parts = train(mine, tmp_path / "parts", Options(report=reports.append))
    assert [report.epoch for report in reports] == [2]
    whole = train(mine, tmp_path / "whole")
    assert weights(parts.folder) == weights(whole.folder)
    assert parts.card.accuracy == whole.card.accuracy > 0.2


SMALL = {"train": {"manifest": "digits", "first": 150}, "test": {"manifest": "digits", "skip": 1700}}


@pytest.mark.parametrize(
    "optimiser",
    [
        {"name": "sgd", "lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-4},
        {"name": "adadelta", "lr": 1.0},
    ],
    ids=lambda optimiser: optimiser["name"],
)
def test_every_optimiser_resumes_to_the_byte(optimiser, tmp_path):
    mine = recipe(optimiser=optimiser, schedule={"name": "cosine", "warmup": 0.2}, data=SMALL)
    train_part(mine, tmp_path / "parts", 2)
    parts, whole = train(mine, tmp_path / "parts"), train(mine, tmp_path / "whole")
    assert weights(parts.folder) == weights(whole.folder)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_training_that_is_killed_again_and_again_ends_with_the_same_bytes(whole, tmp_path):
    """SIGKILL at any step of writing, a checkpoint after every training step."""
    here = Path(__file__).parent
    driver = [sys.executable, str(here / "training_kill_loop.py"), str(tmp_path / "out"), "4", "1"]
    places = [str(here), str(here.parent), *sys.path]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(places), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(driver, env=environment, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 3
    assert weights(tmp_path / "out") == weights(whole.folder)


def test_a_disk_that_fills_up_leaves_the_older_checkpoint(whole, tmp_path, monkeypatch):
    room = iter(range(2 * 5))  # a file and its folder are flushed for each checkpoint
    real = os.fsync

    def fsync(descriptor):
        if next(room, None) is None:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(UserError, match="the disk is full; what was stored before is whole"):
        train(recipe(), tmp_path, EVERY_STEP)
    monkeypatch.undo()
    state, complaints = stored(tmp_path)
    assert state["position"]["epoch"] * 4 + state["position"]["step"] == 5
    assert complaints == []
    assert weights(train(recipe(), tmp_path).folder) == weights(whole.folder)


def stored(folder):
    key = torch.load(_body(sorted((folder / "checkpoints").glob("*.ckpt"))[0]), weights_only=True)["key"]
    return Checkpoints(folder / "checkpoints", key).newest()


def _body(path):
    import io

    return io.BytesIO(path.read_bytes().split(b"\n", 1)[1])


@pytest.mark.parametrize("harm", ["truncate", "flip", "empty"])
def test_a_damaged_checkpoint_is_found_and_the_one_before_it_used(whole, tmp_path, harm):
    train_part(recipe(), tmp_path, 2, EVERY_STEP)
    older, newest = sorted((tmp_path / "checkpoints").glob("*.ckpt"))
    content = bytearray(newest.read_bytes())
    if harm == "flip":
        content[len(content) // 2] ^= 1
    newest.write_bytes({"truncate": content[:-100], "flip": content, "empty": b""}[harm])
    said = []
    trained = train(recipe(), tmp_path, Options(say=said.append))
    assert said == [f"{newest}: is damaged; the checkpoint before it is used"]
    assert older.name == "0000000007.ckpt"
    assert weights(trained.folder) == weights(whole.folder)


def test_where_every_checkpoint_is_damaged_the_training_begins_anew(whole, tmp_path):
    train_part(recipe(), tmp_path, 1)
    for path in (tmp_path / "checkpoints").glob("*.ckpt"):
        path.write_bytes(b"assay-checkpoint 1 ")
    assert weights(train(recipe(), tmp_path).folder) == weights(whole.folder)


def test_a_checkpoint_of_another_recipe_is_refused_and_kept(tmp_path):
    train_part(recipe(), tmp_path, 1)
    (stored_before,) = (tmp_path / "checkpoints").glob("*.ckpt")
    with pytest.raises(UserError, match="is a checkpoint of another recipe"):
        train(recipe(seed=1), tmp_path)
    other_data = {**DOCUMENT["data"], "test": {"manifest": "digits", "skip": 1601}}
    with pytest.raises(UserError, match="is a checkpoint of another recipe"):
        train(recipe(data=other_data), tmp_path)
    assert stored_before.is_file()


def test_a_finished_folder_is_not_trained_again_and_refuses_another_recipe(whole):
    said = []
    again = train(recipe(), whole.folder, Options(say=said.append))
    assert again == whole
    assert said == [f"{whole.folder}: is trained already"]
    with pytest.raises(UserError, match="holds a network of another recipe"):
        train(recipe(seed=1), whole.folder)


def test_a_loss_that_diverges_names_the_step_and_keeps_the_last_good_checkpoint(tmp_path):
    wild = recipe(optimiser={"name": "sgd", "lr": 1e30}, epochs=2)
    with pytest.raises(DivergedError, match=r"(the loss is (nan|inf) at step|after step) \d+") as caught:
        train(wild, tmp_path, EVERY_STEP)
    assert "lower `optimiser.lr`" in str(caught.value)
    state, _ = stored(tmp_path)
    assert all(tensor.isfinite().all() for tensor in state["net"].values())
    assert not (tmp_path / "model.yaml").exists()


def test_the_log_has_a_row_an_epoch_through_an_interruption(tmp_path):
    mine = recipe(method=METHODS["saliency_guided"])
    train_part(mine, tmp_path, 1)
    trained = train(mine, tmp_path)
    rows = list(csv.DictReader((tmp_path / "log.csv").read_text().splitlines()))
    assert [(row["epoch"], row["step"]) for row in rows] == [("1", "4"), ("2", "8"), ("3", "12")]
    assert all(
        float(row["loss"]) == pytest.approx(float(row["cross_entropy"]) + float(row["divergence"]), rel=1e-4)
        for row in rows
    )
    assert float(rows[-1]["clean_accuracy"]) == pytest.approx(trained.card.accuracy, rel=1e-5)
    assert sum(float(row["seconds"]) for row in rows) == pytest.approx(trained.card.train_seconds, abs=0.01)
    assert not (tmp_path / "checkpoints").exists()


def test_weights_are_stored_without_the_normalisation_that_the_card_describes(whole):
    assert sorted(load_file(whole.folder / "model.safetensors"))[0] == "0.bias"
    assert whole.card.preprocessing.mean == (0.3,)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"data": {**DOCUMENT["data"], "test": {"manifest": "digits", "skip": 1797}}}, "no image is left"),
        (
            {"data": {**DOCUMENT["data"], "test": {"manifest": "foolbox-mnist"}}},
            "choose two parts of one data set",
        ),
        ({"input": {"crop": [9, 8], "mean": [0], "std": [1]}}, "takes 9 x 8 pixels and does not enlarge"),
        ({"input": {"crop": [8, 8], "mean": [0, 0], "std": [1, 1]}}, "takes images of 2 channels"),
        ({"architecture": "alexnet"}, "architecture alexnet takes RGB images of at least 64 x 64"),
        (
            {"data": {"train": {"manifest": "no-such"}, "test": {"manifest": "digits"}}},
            "unknown data set 'no-such'",
        ),
        ({"method": {**METHODS["sat"], "saliency": {"source": "annotation"}}}, "neither boxes nor masks"),
        (
            {"method": {**METHODS["sat"], "saliency": {"source": "teacher", "method": "gradient"}}},
            "name the network whose saliency is followed, with --teacher trained:DIR",
        ),
    ],
)
def test_data_that_a_recipe_cannot_use_are_refused_in_one_sentence(changes, says, tmp_path):
    with pytest.raises(UserError, match=says) as caught:
        train(recipe(**changes), tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_selection_skips_then_takes_some_of_each_class_then_the_first():
    from assay.data.dataset import Sample

    samples = [Sample(str(index), index % 2, None, index) for index in range(10)]

    def ids(**keys):
        return [sample.unit_id for sample in chosen(samples, Selection(manifest="m", **keys))]

    assert ids(skip=7) == ["7", "8", "9"]
    assert ids(per_class=2) == ["0", "1", "2", "3"]
    assert ids(skip=1, per_class=2, first=3) == ["1", "2", "3"]
