"""`--data FOLDER`: a user's own pictures, one folder a class, through plan, run, resume, report and repetition."""

import json
import shlex
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from assay.common.errors import UserError
from assay.data.draw import Draw
from assay.runner.assemble import stored_jobs
from assay.runner.plan import plan_jobs
from small_jobs import LINEAR, SPEC, request, run, write_spec

COUNT = 30
VERIFICATION = """schema: 1
family: verification
title: Digits proved
data: digits
combinations: [[brightness:0:0.01]]
deltas: [1]
timeout_s: 20
"""
CONSISTENCY = """schema: 1
family: consistency
title: Digits' neurons
data: digits
hierarchy: flat
layers: ["0"]
adversarial: {ensemble: [digits_models:linear], targets: 1, steps: 1}
"""


def digit_pixels(row: int) -> np.ndarray:
    """As the data set `digits` has them."""
    return ((load_digits().images[row] * 255 + 8) // 16).astype(np.uint8)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """The first digits, one folder a class, every other one stored in colour; and what is no digit."""
    folder = tmp_path / "My Digits"
    for row in range(COUNT):
        place = folder / str(load_digits().target[row])
        place.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(digit_pixels(row))
        (image.convert("RGB") if row % 2 else image).save(place / f"{row:05d}.png")
    (folder / "other").mkdir()
    shutil.copy(folder / "0" / "00000.png", folder / "other")
    Image.fromarray(digit_pixels(0)).save(folder / "0" / "moving.gif")
    return folder


def records(folder):
    (job,) = stored_jobs(folder)
    return {record.unit_id.rpartition("/")[2].removesuffix(".png"): record.values for record in job.records()}


def answers(folder):
    """Values but for the figures of the checks, which are float noise: it depends on the images beside one."""
    return {
        unit: {name: value for name, value in values.items() if name != "checks"}
        | {"certainty": pytest.approx(values["certainty"], abs=1e-6)}
        for unit, values in records(folder).items()
    }


def result_of(out: Path) -> dict:
    (path,) = out.glob("results/*/*.json")
    return json.loads(path.read_text())


def test_the_answers_are_those_of_the_data_set_that_the_pictures_come_from(pictures, task, tmp_path):
    own = run([request(task, data=str(pictures), limit=None)], tmp_path / "own")
    shipped = run([request(task, limit=COUNT, draw=Draw.FIRST)], tmp_path / "shipped")
    expected = answers(shipped)
    found = {
        unit: values | {"certainty": records(own)[unit]["certainty"]} for unit, values in answers(own).items()
    }
    assert found == expected
    assert len(records(own)) == COUNT


def test_the_result_says_how_the_folder_was_read(pictures, task, tmp_path):
    run([request(task, data=str(pictures), limit=None)], tmp_path / "o")
    result = result_of(tmp_path / "o")
    assert result["status"] == "complete"
    assert result["coverage"] == {"units": COUNT, "done": COUNT, "errors": 0, "limited": False}
    assert result["title"] == "Digits under attack [here on my-digits instead of digits]"
    card = result["data"]
    assert (card["name"], card["title"]) == ("my-digits", "Own pictures: folder my-digits")
    assert card["left_out"] == {".gif": 1, "folder 'other' is no class": 1}
    assert card["converted"] == {"colour to grey": COUNT // 2}
    assert card["classes"] == {str(digit): digit for digit in range(10)}


def test_plan_run_resume_show_and_the_printed_command_agree(assay, pictures, task, tmp_path):
    chosen = ("--model", LINEAR, "--task", task, "--data", pictures)
    code, output, errors = assay("plan", *chosen, "--json", "--calibrate", 0)
    assert code == 0
    assert "files left out: 1 .gif, 1 folder 'other' is no class" in errors
    (planned,) = json.loads(output)["jobs"]
    (tmp_path / "plan.json").write_text(output)
    plan = ("run", "--plan", tmp_path / "plan.json", "--out", tmp_path / "a", "--quiet")
    assert assay(*plan)[0] == 2  # what is not Assay's own is named again
    assert assay(*plan, *chosen)[0] == 0
    code, output, errors = assay("run", *chosen, "--out", tmp_path / "a", "--quiet")
    assert code == 0
    assert "3 of 3 chunks are stored already, 0 to compute" in errors
    result = result_of(tmp_path / "a")
    assert result["job_key"] == planned["key"]
    command = shlex.split(result["command"])
    assert command[:2] == ["assay", "run"]
    assert assay(*command[1:-1], tmp_path / "b", "--quiet")[0] == 0
    assert result_of(tmp_path / "b") == result
    (path,) = (tmp_path / "a").glob("results/*/*.json")
    shown = assay("show", path)[1]
    assert "files left out: 1 .gif" in shown
    assert "class folders (10): 0 = 0, 1 = 1" in shown
    page = (tmp_path / "a" / "index.html").read_text()
    assert "files left out: 1 .gif" in page
    assert assay("report", tmp_path / "a")[0] == 0
    assert (tmp_path / "a" / "index.html").read_text() == page


def test_worker_processes_read_the_same_folder(assay, pictures, task, tmp_path):
    chosen = ("run", "--model", LINEAR, "--task", task, "--data", pictures, "--quiet", "--out")
    assert assay(*chosen, tmp_path / "here")[0] == 0
    assert assay(*chosen, tmp_path / "pool", "--executor", "pool")[0] == 0
    assert result_of(tmp_path / "here") == result_of(tmp_path / "pool")


def key(task, folder, **fields):
    (job,) = plan_jobs([request(task, data=str(folder), limit=None, **fields)])
    return job.key


def test_the_key_follows_the_pictures_and_not_the_place_or_what_is_left_out(pictures, task, tmp_path):
    before = key(task, pictures)
    moved = tmp_path / "elsewhere"
    shutil.copytree(pictures, moved)
    assert key(task, moved) == before
    (moved / "notes.gif").write_bytes(b"")
    assert key(task, moved) == before
    Image.new("L", (8, 8)).save(moved / "3" / "more.png")
    assert key(task, moved) != before
    (moved / "3" / "more.png").rename(moved / "4" / "more.png")
    third = key(task, moved)
    (moved / "4" / "more.png").rename(moved / "3" / "more.png")
    assert third != key(task, moved)


def test_a_changed_picture_is_computed_anew(assay, pictures, task, tmp_path):
    chosen = (
        "run",
        "--model",
        LINEAR,
        "--task",
        task,
        "--data",
        pictures,
        "--out",
        tmp_path / "o",
        "--quiet",
    )
    assay(*chosen)
    Image.new("L", (8, 8), 255).save(pictures / "0" / "00000.png")
    assert "differs from the stored run in data_sha256" in assay(*chosen)[2]


def test_other_families_take_own_pictures_too(pictures, tmp_path):
    for name, text in (("v", VERIFICATION), ("c", CONSISTENCY)):
        folder = run(
            [request(write_spec(tmp_path, name, text), data=str(pictures), limit=2, trusted=(LINEAR,))],
            tmp_path / f"out-{name}",
        )
        result = result_of(tmp_path / f"out-{name}")
        assert result["status"] == "complete"
        assert result["data"]["left_out"] == {".gif": 1, "folder 'other' is no class": 1}
        assert folder.index()


def test_a_manifest_or_a_data_set_s_name_may_stand_for_the_folder(task, tmp_path):
    (own,) = plan_jobs([request(task, data="digits")])
    (spec_s,) = plan_jobs([request(task)])
    assert own.key == spec_s.key


def test_real_pictures_are_matched_by_wordnet_id_and_name(tmp_path):
    """Three of foolbox's pictures in folders of the user's naming give the records that foolbox's own set gives."""
    shipped = Path(next(iter(find_spec("foolbox").submodule_search_locations))) / "data"
    names = {
        "imagenet_00_243.jpg": "bull mastiff",
        "imagenet_01_559.jpg": "Folding_Chair",
        "imagenet_02_438.jpg": "n02815834",
    }
    for file, folder in names.items():
        (tmp_path / "mine" / folder).mkdir(parents=True)
        shutil.copy(shipped / file, tmp_path / "mine" / folder)
    spec = write_spec(tmp_path, "i", SPEC.replace("digits", "foolbox-imagenet20").replace("1/10", "1/255"))
    model = "efficientnet_lite0"
    own = run([request(spec, model=model, data=str(tmp_path / "mine"), limit=None)], tmp_path / "own")
    other = run([request(spec, model=model, limit=3, draw=Draw.FIRST)], tmp_path / "shipped")
    mine = {name.removesuffix(".jpg"): values["attacks"] for name, values in records(own).items()}
    theirs = {name.removesuffix(".jpg"): values["attacks"] for name, values in records(other).items()}
    assert mine == theirs
    assert result_of(tmp_path / "own")["data"]["classes"] == {
        "Folding_Chair": 559,
        "bull mastiff": 243,
        "n02815834": 438,
    }


COUNTING = """
import torch
from torch import nn
def net():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, {classes}))
    return net, {{"crop": (8, 8), "mean": (0.0,), "std": (1.0,)}}
"""


def counting(tmp_path, monkeypatch, classes):
    """A model that says nothing of its classes but how many there are."""
    name = f"counting_{classes}_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(COUNTING.format(classes=classes))
    monkeypatch.syspath_prepend(tmp_path)
    return f"{name}:net"


def folders(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).mkdir(parents=True)
        Image.fromarray(digit_pixels(0)).save(root / name / "a.png")
    return root


@pytest.mark.parametrize(
    ("names", "classes", "expected"),
    [
        (("dog", "cat"), 2, {"cat": 0, "dog": 1}),  # as torchvision's ImageFolder counts
        (("n04118538", "n02085620"), 2, {"n02085620": 0, "n04118538": 1}),
        (("3", "7"), 12, {"3": 3, "7": 7}),
        (("00", "01", "02"), 3, {"00": 0, "01": 1, "02": 2}),
    ],
)
def test_folders_of_a_model_without_names_are_counted_off(
    task, tmp_path, monkeypatch, names, classes, expected
):
    data = folders(tmp_path / "data", *names)
    (job,) = plan_jobs([request(task, model=counting(tmp_path, monkeypatch, classes), data=str(data))])
    assert job.question.data.facts.classes == expected
    assert {sample.label for sample in job.question.data.samples} == set(expected.values())


WRONG = {
    "no match": (LINEAR, ("cat", "dog"), r"no folder is named like a class .* there are cat, dog; .* such as 0, 1"),
    "ambiguous": ("efficientnet_lite0", ("crane",), r"crane: its name fits several classes, 134 \(n02012849.*or 517 "),
    "no folders": (LINEAR, (), "has no folders; put the pictures of each class into a folder"),
    "hidden only": (LINEAR, (".git",), "has no folders"),
    "counted": (3, ("a", "b"), r"has 2 folders \(a, b\) where .* has 3 classes, whose names it does not say"),
    "numbers": (11, [str(number) for number in range(11)], "numbers of classes, or counted off in alphabetical order"),
    "too high": (4, ("3", "4"), "has 2 folders"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_a_folder_that_cannot_be_understood_is_one_sentence(task, tmp_path, monkeypatch, case):
    model, names, complaint = WRONG[case]
    data = folders(tmp_path / "data", *names)
    data.mkdir(exist_ok=True)
    name = model if isinstance(model, str) else counting(tmp_path, monkeypatch, model)
    with pytest.raises(UserError, match=complaint) as caught:
        plan_jobs([request(task, model=name, data=str(data))])
    assert "\n" not in str(caught.value)


def test_class_folders_without_pictures_are_an_error(task, tmp_path):
    (tmp_path / "data" / "3").mkdir(parents=True)
    with pytest.raises(UserError, match="the class folders 3 have no picture"):
        plan_jobs([request(task, data=str(tmp_path / "data"))])


def test_what_is_no_folder_writes_nothing(assay, task, tmp_path):
    code, _, errors = assay(
        "run", "--model", LINEAR, "--task", task, "--data", tmp_path / "none", "--out", tmp_path / "o"
    )
    assert code == 2
    assert "no such folder or manifest, and unknown data set" in errors
    assert not (tmp_path / "o").exists()


def test_shapes_are_no_pictures(assay, pictures, tmp_path):
    code, _, errors = assay("run", "--task", "srvr/embedded", "--data", pictures, "--out", tmp_path / "o")
    assert code == 2
    assert "--data: srvr/embedded takes no pictures: it renders 3-D shapes" in errors
    assert not (tmp_path / "o").exists()


def test_an_adversarial_set_made_elsewhere_does_not_go_with_own_pictures(pictures, tmp_path):
    text = CONSISTENCY.replace(CONSISTENCY.splitlines()[-1], "adversarial_data: there.yaml")
    with pytest.raises(UserError, match=r"there\.yaml\) were made from other pictures"):
        plan_jobs([request(write_spec(tmp_path, "c", text), data=str(pictures))])


def test_alignment_and_saliency_read_the_folder_too(assay, pictures, tmp_path):
    code, output, _ = assay("alignment", LINEAR, pictures, "--json")
    assert code == 0
    assert json.loads(output)["n"] + json.loads(output)["undefined"] == COUNT
    code, output, _ = assay(
        "saliency",
        LINEAR,
        "0/00000.png",
        "--data",
        pictures,
        "--method",
        "gradient",
        "--out",
        tmp_path / "m.png",
    )
    assert code == 0
