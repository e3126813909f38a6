"""The trainer: seeded, resumable to the byte, and careful with what it has stored."""

import csv
import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from training_recipes import DOCUMENT, METHODS, recipe

import assay.training.trainer as trainer_module
from assay.common.errors import UserError
from assay.training.checkpoints import Checkpoints
from assay.training.pictures import chosen
from assay.training.recipe import Selection
from assay.training.train import Options, train, train_part
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
    # A file and its folder are flushed for each checkpoint: of 4 steps, the epoch's end and a step; the log's file is.
    room = iter(range(2 * 6 + 1))
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
    assert said == [f"{newest}: is damaged; the training goes on from the checkpoint of step 7 before it"]
    assert older.name == "0000000007.ckpt"
    assert weights(trained.folder) == weights(whole.folder)


def test_where_every_checkpoint_is_damaged_the_training_begins_anew(whole, tmp_path):
    train_part(recipe(), tmp_path, 1)
    (path,) = (tmp_path / "checkpoints").glob("*.ckpt")
    path.write_bytes(b"assay-checkpoint 1 ")
    said = []
    assert weights(train(recipe(), tmp_path, Options(say=said.append)).folder) == weights(whole.folder)
    assert said == [
        f"{path}: is damaged, and there is no whole checkpoint before it; the training starts again"
    ]


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


WILD = {"name": "sgd", "lr": 1e30}


def test_a_loss_that_diverges_names_the_step_and_keeps_the_last_good_checkpoint(tmp_path):
    wild = recipe(optimiser=WILD, epochs=2)
    with pytest.raises(DivergedError, match=r"(the loss is (nan|inf) at step|after step) \d+") as caught:
        train(wild, tmp_path, EVERY_STEP)
    state, _ = stored(tmp_path)
    assert all(tensor.isfinite().all() for tensor in state["net"].values())
    assert f"the checkpoint of step {state['position']['step']} is kept in {tmp_path}" in str(caught.value)
    assert "lower `optimiser.lr` and train into another folder with --out" in str(caught.value)
    assert not (tmp_path / "model.yaml").exists()


def test_a_loss_that_diverges_at_once_leaves_nothing_and_says_so(tmp_path):
    out = tmp_path / "new" / "out"
    with pytest.raises(DivergedError, match=r"no checkpoint had been stored: lower `optimiser\.lr`"):
        train(recipe(optimiser=WILD), out)
    assert not out.parent.exists()
    train(recipe(), out)  # the same folder takes another recipe


def test_a_short_training_that_diverges_keeps_the_end_of_its_first_epoch(tmp_path, monkeypatch):
    """Long before ``checkpoint_seconds``."""
    real = trainer_module.learning_rate
    monkeypatch.setattr(
        trainer_module, "learning_rate", lambda *given: 1e30 if given[1] >= 4 else real(*given)
    )
    with pytest.raises(DivergedError, match=r"\(epoch 2\).*; the checkpoint of step 4 is kept"):
        train(recipe(), tmp_path)
    assert stored(tmp_path)[0]["position"]["epoch"] == 1
    assert [row["epoch"] for row in log_rows(tmp_path)] == ["1"]


@pytest.fixture
def _listening():
    """Ctrl-C is heard here, also where the tests run in the background of a shell, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_listening")
def test_ctrl_c_stores_the_step_under_way_and_goes_on_to_the_same_bytes(whole, tmp_path, monkeypatch):
    interrupt_in_step(6, 1, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        train(recipe(), tmp_path)
    monkeypatch.undo()
    state, _ = stored(tmp_path)
    assert (state["position"]["epoch"], state["position"]["step"]) == (1, 2)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert weights(train(recipe(), tmp_path).folder) == weights(whole.folder)


@pytest.mark.usefixtures("_listening")
def test_a_second_ctrl_c_does_not_wait_and_stores_no_half_step(whole, tmp_path, monkeypatch):
    interrupt_in_step(6, 2, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        train(recipe(), tmp_path)
    monkeypatch.undo()
    assert stored(tmp_path)[0]["position"]["step"] == 0  # the end of the first epoch
    assert weights(train(recipe(), tmp_path).folder) == weights(whole.folder)


def interrupt_in_step(step, times, monkeypatch):
    """Ctrl-C in the midst of a step, with some of its weights changed."""
    real, count = torch.optim.Adam.step, iter(range(1, 1000))

    def interrupted(optimiser):
        real(optimiser)
        if next(count) == step:
            for _ in range(times):
                signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(torch.optim.Adam, "step", interrupted)


def test_within_an_epoch_progress_is_said_as_often_as_asked(tmp_path):
    told, said = [], []
    train(recipe(epochs=2), tmp_path / "a", Options(progress=told.append, progress_seconds=0))
    assert [(report.epoch, report.step, report.steps) for report in told][:5] == [
        *((1, step, 4) for step in (1, 2, 3, 4)),
        (2, 1, 4),
    ]
    assert all(report.loss > 0 and report.images_per_second > 0 for report in told)
    assert told[-1].seconds_to_go == 0 < told[0].seconds_to_go
    train(recipe(epochs=1), tmp_path / "b", Options(say=said.append, progress_seconds=0))
    assert said[0].startswith("epoch 1/1, step 1/4: loss ")
    said.clear()
    train(recipe(epochs=1), tmp_path / "c", Options(say=said.append))
    assert said == []  # an epoch of milliseconds has nothing to say


def test_the_log_has_a_row_an_epoch_through_an_interruption(tmp_path):
    mine = recipe(method=METHODS["saliency_guided"])
    train_part(mine, tmp_path, 1)
    assert [row["step"] for row in log_rows(tmp_path)] == ["4"]
    trained = train(mine, tmp_path)
    rows = log_rows(tmp_path)
    assert [(row["epoch"], row["step"]) for row in rows] == [("1", "4"), ("2", "8"), ("3", "12")]
    assert all(
        float(row["loss"]) == pytest.approx(float(row["cross_entropy"]) + float(row["divergence"]), rel=1e-4)
        for row in rows
    )
    assert float(rows[-1]["clean_accuracy"]) == pytest.approx(trained.card.accuracy, rel=1e-5)
    assert sum(float(row["seconds"]) for row in rows) == pytest.approx(trained.card.train_seconds, abs=0.01)
    assert not (tmp_path / "checkpoints").exists()


def log_rows(folder):
    return list(csv.DictReader((folder / "log.csv").read_text().splitlines()))


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
        (
            {"architecture": "resnet10", "batch_size": 199},
            "leave one image for an epoch's last step, and the batch norm of resnet10 at 8 x 8 pixels needs two",
        ),
        ({"architecture": "resnet10", "batch_size": 1}, "`batch_size: 1` and 200 training images leave one"),
        ({"architecture": "alexnet"}, "architecture alexnet takes RGB images of at least 64 x 64"),
        (
            {"data": {"train": {"manifest": "no-such"}, "test": {"manifest": "digits"}}},
            "unknown data set 'no-such'",
        ),
        ({"method": {**METHODS["sat"], "saliency": {"source": "annotation"}}}, "no boxes and no masks"),
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
