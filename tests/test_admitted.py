"""What the board takes: the register that ships, and how the program says so."""

from pathlib import Path

from assay.board.submissions.register import read_register, shipped_register, unit_ids_sha256
from assay.data.dataset import open_dataset
from assay.data.manifest import load_manifest
from assay.tasks.families import family, load_spec
from assay.tasks.task_spec import shipped_specs
from assay.tasks.tracks import shipped_tracks

REPO = Path(__file__).resolve().parents[1]

#: Tasks of tracks that are not admitted, each for its reason.
NOT_ADMITTED = {
    "adversarial/imagenet-val5000", "corruptions/imagenet-val5000", "srvr/shapenet10-6deg",  # data behind terms
    "consistency/cifar10", "consistency/mnist", "consistency/fashion-mnist",  # images made with a network and the data
    "consistency/imagenet20", "consistency/cifar10-20",  # demonstrations, which show no figure
}  # fmt: skip


def test_the_tracks_are_admitted_but_for_what_nobody_could_admit_here():
    asked = {task for track in shipped_tracks().values() for task in track.tasks}
    assert asked - set(shipped_register().tasks) == NOT_ADMITTED


def test_every_admitted_task_ships_and_has_a_headline():
    for task in shipped_register().tasks:
        spec = load_spec(task).spec
        assert task in shipped_specs()
        assert spec.headline_key is not None
        assert spec.demonstration is None


def test_the_shipped_register_is_the_board_s():
    assert shipped_register() == read_register(REPO / "leaderboard")


def test_cifar_10_s_entries_follow_from_the_published_hashes(tmp_path):
    """Nobody needs the pictures for that: their hash is listed, and the ids of units are places in the file."""
    manifest = load_manifest("cifar10-test")
    folder = tmp_path / manifest.location.folder
    folder.mkdir()
    (folder / "test_batch.bin").write_bytes(bytes(10_000 * 3073))
    as_large = open_dataset(manifest.model_copy(update={"files": "unlisted"}), [tmp_path])
    for task in ("adversarial/cifar10", "corruptions/cifar10", "verification/cifar10"):
        entry, spec = shipped_register().tasks[task], load_spec(task).spec
        ids = [unit.id for unit in family(spec.family).units(spec, as_large)]
        assert entry.data_sha256 == manifest.identity_sha256(manifest.files)
        assert (entry.units, entry.unit_ids_sha256) == (len(ids), unit_ids_sha256(ids))


def test_the_list_of_tasks_and_a_run_say_what_the_board_takes(assay, tmp_path):
    code, out, _ = assay("list", "tasks")
    rows = {line.split()[0]: line.split() for line in out.splitlines()[2:]}
    assert code == 0
    assert ("yes" in rows["adversarial/cifar10"], "yes" in rows["consistency/imagenet20"]) == (True, False)
    run = ("run", "--model", "digits_fnn", "--task", "corruptions/digits", "--out", tmp_path / "o")
    code, _, err = assay(*run, "--limit", "5")
    assert code == 0
    assert "leaderboard: takes corruptions/digits, but no changed or partial run of it" in err


def test_a_demonstration_is_not_admitted(assay, tmp_path):
    code, _, err = assay("admit", "consistency/imagenet20", "--board", tmp_path)
    assert (code, "shows no figure" in err) == (2, True)
