"""The command line as a new user meets it: one sentence for what is wrong, nothing half-written, no torch for help."""

import csv
import io
import json
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from assay.common.resources import shipped_folder
from assay.results.document import Guard
from assay.training.recipe_files import shipped_recipes
from result_documents import document

SPEC = """schema: 1
family: adversarial
title: Digits under attack
data: {data}
eps: [0, 1/10]
attacks:
  - {{method: fgsm}}
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty working folder with a small valid spec, `t.yaml`."""
    monkeypatch.chdir(tmp_path)
    Path("t.yaml").write_text(SPEC.format(data="digits"))
    return tmp_path


def run_t(assay, *more, model="digits_models:linear", task="t.yaml", out="o"):
    return assay("run", "--model", model, "--task", task, "--out", out, "--quiet", *more)


def test_help_and_lists_of_tasks_do_not_import_torch():
    for verb in (["--help"], ["list", "tasks"]):
        code = (
            "import sys; from assay.cli import main\n"
            f"try: main({verb!r})\n"
            "except SystemExit: pass\n"
            "print('torch' in sys.modules, 'scipy' in sys.modules, file=sys.stderr)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stderr.strip() == "False False"


@pytest.mark.parametrize(
    "verb",
    ["run", "list", "validate", "show", "records", "report", "plan", "merge", "status", "fetch", "verify"],
)
def test_every_verb_s_help_has_an_example(assay, verb):
    code, out, _ = assay(verb, "--help")
    assert code == 0
    assert f"Example: assay {verb}" in " ".join(out.split())


def test_a_run_ends_in_card_csv_page_and_table_on_request(place, assay):
    code, card, _ = run_t(assay, "--limit", "12")
    assert code == 0
    assert card.splitlines()[0] == "digits_models:linear"
    assert "! limited" in card
    code, out, _ = assay("report", "o", "--table")
    assert code == 0
    assert "clean_accuracy" in out
    assert "repeat: assay run --model digits_models:linear --task t.yaml --limit 12" in out
    rows = list(csv.DictReader(io.StringIO(Path("o/results.csv").read_text())))
    assert {row["status"] for row in rows} == {"complete, limited"}
    assert "Digits under attack" in Path("o/index.html").read_text()
    result = Path("o/results/digits_models_linear/t.json")
    assert assay("show", result)[0] == 0
    assert assay("validate", result, "t.yaml")[0] == 0


def test_how_a_network_was_read_is_said_in_result_show_page_and_at_the_start(place, assay):
    note = "logits are output['logits'] of a dict"
    code, _, err = run_t(assay, "--limit", "2", model="digits_models:answers_dict")
    assert code == 0
    assert f"digits_models:answers_dict: {note}\n" in err
    result = Path("o/results/digits_models_answers_dict/t.json")
    assert json.loads(result.read_text())["model"]["notes"] == [note]
    assert f"digits_models:answers_dict: {note}\n" in assay("show", result)[1]
    assert f"Of it: {note}.".replace("'", "&#39;") in Path("o/index.html").read_text()
    run_t(assay, "--limit", "2", out="plain")
    assert "notes" not in json.loads(Path("plain/results/digits_models_linear/t.json").read_text())["model"]


@pytest.mark.parametrize("how", ["answers_dict", "writes_into_input"])
def test_how_a_network_answers_changes_no_figure(place, assay, how):
    run_t(assay, "--limit", "12", out="plain", model="digits_models:answers_plain")
    run_t(assay, "--limit", "12", model=f"digits_models:{how}")
    plain, other = (next(Path(out).rglob("results/*/t.json")) for out in ("plain", "o"))
    assert json.loads(other.read_text())["metrics"] == json.loads(plain.read_text())["metrics"]


def test_a_second_run_computes_nothing_and_changes_no_answer(place, assay):
    run_t(assay, "--limit", "12")
    before = {path: path.read_bytes() for path in Path("o").rglob("*") if path.is_file()}
    code, _, err = run_t(assay, "--limit", "12")
    assert code == 0
    assert "2 of 2 chunks are stored already, 0 to compute" in err
    assert {path: path.read_bytes() for path in Path("o").rglob("*") if path.is_file()} == before


def test_records_are_csv_with_the_promised_columns(place, assay):
    run_t(assay, "--limit", "3")
    code, out, _ = assay("records", "o", "--model", "digits_models:linear", "--task", "t")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert code == 0
    columns = (
        "unit_id,label,predicted,clean_correct,method,eps,adversarial_predicted,"
        "adversarial_correct,linf,steps_used,smallest_eps,error"
    )
    assert list(rows[0]) == columns.split(",")
    assert len(rows) == 3 * 2
    assert all(float(row["linf"]) <= float(row["eps"]) + 1e-6 for row in rows)


def test_lists_can_be_sorted_and_say_what_is_available(assay):
    code, out, _ = assay("list", "data", "--sort", "licence")
    assert code == 0
    assert "foolbox-imagenet20" in out
    code, _, err = assay("list", "data", "--sort", "size")
    assert code == 2
    assert "unknown column 'size'; choose one of name, label_space" in err


def test_a_list_is_filtered_by_text_and_by_column(assay):
    code, out, _ = assay("list", "tasks", "--filter", "DIGITS", "--filter", "family=verif", "--json")
    assert code == 0
    assert {row["family"] for row in json.loads(out)} == {"verification"}
    assert all("digits" in " ".join(row.values()).lower() for row in json.loads(out))
    assert assay("list", "tasks", "--filter", "zzz")[0::2] == (
        2,
        f"assay: --filter zzz: fits none of {len(json.loads(assay('list', 'tasks', '--json')[1]))} tasks; leave it out "
        "to see all\n",
    )
    code, _, err = assay("list", "models", "--filter", "nam=x")
    assert code == 2
    assert "unknown column 'nam'; choose one of name," in err


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (
            ("list", "model"),
            "'model' is not one of 'models', 'tasks', 'data', 'recipes', 'tracks' (see `assay list",
        ),
        (("train",), "Missing argument 'recipe' (see `assay train --help`)"),
        (("lst",), "No such command 'lst'. Did you mean 'list'? (see `assay --help`)"),
    ],
)
def test_what_the_parser_refuses_names_the_verb_whose_help_helps(assay, words, complaint):
    code, _, err = assay(*words)
    assert code == 2
    assert complaint in err
    assert "Value error" not in err


def test_what_failed_is_said_before_the_figures(assay, tmp_path):
    guards = (
        Guard(name="fine", passed=True, detail="d"),
        Guard(name="gradient_not_zero", passed=False, value=1, limit=0, detail="No gradient was seen."),
    )
    file = tmp_path / "r.json"
    file.write_text(document(guards=guards).to_json())
    lines = assay("show", file)[1].splitlines()
    assert lines[2] == "GUARD FAILED: gradient_not_zero: No gradient was seen."
    places = [next(place for place, line in enumerate(lines) if line.startswith(name)) for name in (
        "model", "gradient_not_zero", "fine",
    )]  # fmt: skip
    assert places == sorted(places)


def test_recipes_are_listed_with_what_they_need(place, assay, monkeypatch):
    monkeypatch.delenv("ASSAY_DATA", raising=False)
    code, out, _ = assay("list", "recipes", "--sort", "method")
    assert code == 0
    head, _, *lines = out.splitlines()
    rows = {line.split()[0]: line for line in lines}
    assert set(rows) == set(shipped_recipes())
    assert head.split() == ["name", "method", "saliency", "architecture", "data", "available", "title"]
    assert [line.split()[1] for line in lines] == sorted(line.split()[1] for line in lines)
    smoke = (
        "smoke/sat_gradient sat teacher (gradient) digits-cnn digits yes SAT by the gradient, 8 x 8 digits"
    )
    assert rows["smoke/sat_gradient"].split() == smoke.split()
    full = rows["karkehabadi/full-cifar10/regular"]
    assert "resnet18-imagenet cifar10-train, cifar10-test no" in " ".join(full.split())


def test_a_recipe_is_available_where_all_its_data_are(place, assay, monkeypatch):
    monkeypatch.delenv("ASSAY_DATA", raising=False)
    folder = place / "data" / "cifar-10-batches-bin"
    folder.mkdir(parents=True)

    def available():
        _, out, _ = assay("list", "recipes", "--data-root", "data")
        (row,) = (line for line in out.splitlines() if line.startswith("karkehabadi/full-cifar10/regular "))
        return " yes " in row

    for number in range(1, 6):
        (folder / f"data_batch_{number}.bin").touch()
    assert not available()  # the training images alone
    (folder / "test_batch.bin").touch()
    assert available()


def test_units_that_fail_leave_a_partial_result_and_exit_code_1(place, assay):
    code, out, err = run_t(assay, "--limit", "40", model="digits_models:nan_on_bright")
    assert code == 1
    assert "partial" in out
    assert "NaN" in err
    result = json.loads(Path("o/results/digits_models_nan_on_bright/t.json").read_text())
    assert 0 < result["coverage"]["errors"] < 40
    assert result["metrics"][0]["n"] == 40 - result["coverage"]["errors"]


def test_another_label_space_is_not_applicable(place, assay):
    code, out, _ = run_t(assay, model="efficientnet_lite0")
    assert code == 1  # no task had a meaning for any model
    assert "the data's labels are digits, the model's are imagenet-1k" in out
    assert "not_applicable" in Path("o/results.csv").read_text()


def _write_pickle(place):
    class Evil:
        def __reduce__(self):
            return (Path("pwned").touch, ())

    Path("evil.pth").write_bytes(pickle.dumps(Evil()))


def _write_manifest_data(place):
    """A folder-per-class data set of our own, `mine.yaml`, of two grey pictures."""
    for label, name in enumerate(("zero", "one")):
        (place / "mine" / name).mkdir(parents=True)
        Image.fromarray(np.full((8, 8), 90 * label, np.uint8)).save(place / "mine" / name / "a.png")


BAD = {
    "unknown model": (["--model", "efficientnet_lit0"], "did you mean efficientnet_lite0"),
    "unknown task": (["--task", "adversarial/imagenet2"], "did you mean adversarial/imagenet20"),
    "missing spec": (["--task", "none.yaml"], "there is no such file"),
    "unknown option": (["--taks", "x"], "No such option: --taks"),
    "batch of nothing": (["--batch-size", "0"], "--batch-size: expected a number from 1 or auto"),
    "batch of words": (["--batch-size", "many"], "--batch-size: expected a number from 1 or auto"),
    "limit of nothing": (["--limit", "0"], "--limit"),
    "unknown device": (["--device", "gpu"], "unknown device 'gpu'"),
    "missing weights": (["--weights", "none.pth"], "there is no such weight file"),
    "weights of no network": (
        ["--model", "resnet50", "--task", "adversarial/imagenet20"],
        "resnet50-11ad3fa6.pth",
    ),
    "code in a checkpoint": (
        ["--model", "efficientnet_lite0", "--task", "adversarial/imagenet20", "--weights", "evil.pth"],
        "would run code",
    ),
    "a model of NaN": (["--model", "digits_models:all_nan"], "NaN or infinite logits"),
    "probabilities": (["--model", "digits_models:probabilities"], "remove the final softmax"),
    "wrong number of classes": (["--model", "digits_models:too_few_classes"], "returns 7 logits"),
    "an out that is something else": (["--out", "full"], "is not a run of Assay"),
    "an out that can't be written": (["--out", "/proc/nowhere"], "cannot be written"),
    "data that are not there": (["--task", "no_data.yaml"], "unknown data set 'nowhere'"),
    "data with another hash": (["--task", "altered.yaml"], "expected"),
    "a factory that exits": (
        ["--model", "digits_models:quits"],
        "ended the program (SystemExit: no licence file)",
    ),
    "a forward that fails": (
        ["--model", "digits_models:fails_inside"],
        "KeyError: 'the layer that was renamed'",
    ),
    "a pointer for weights": (["--weights", "pointer.pth"], "is a Git LFS pointer"),
    "a page for weights": (["--weights", "page.pth"], "is an HTML page"),
    "a missing factory": (["--model", "digits_models:none"], "has no callable 'none'"),
    "a missing module": (["--model", "no_such_module:none"], "importing no_such_module failed"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence_and_exit_code_2(place, assay, case):
    _write_pickle(place)
    Path("pointer.pth").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 49\n")
    Path("page.pth").write_text("<!DOCTYPE html><title>404</title>")
    (place / "full").mkdir()
    (place / "full" / "thesis.tex").write_text("mine")
    Path("no_data.yaml").write_text(SPEC.format(data="nowhere"))
    Path("altered.yaml").write_text(SPEC.format(data="altered_data.yaml"))
    _write_altered_manifest()
    options = {"--model": "digits_models:linear", "--task": "t.yaml", "--out": "o"}
    wrong, complaint = BAD[case]
    options |= dict(zip(wrong[::2], wrong[1::2], strict=True))
    before = sorted(path for path in place.rglob("*"))
    code, out, err = assay("run", *[word for pair in options.items() for word in pair])
    assert code == 2
    assert complaint in err
    assert err.startswith("assay: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err + out
    assert sorted(path for path in place.rglob("*")) == before, "something was left behind"


def _write_altered_manifest():
    """The digits' own manifest with one character of a hash changed."""
    text = (shipped_folder("data_manifests") / "digits.yaml").read_text()
    match = re.search(r"\b[0-9a-f]{64}\b", text)
    wrong = ("0" if match[0][0] != "0" else "1") + match[0][1:]
    Path("altered_data.yaml").write_text(text.replace(match[0], wrong))


def test_an_image_that_cannot_be_used_is_an_error_of_its_unit_alone(place, assay):
    _write_manifest_data(place)
    (place / "mine" / "zero" / "b.png").write_bytes(b"no picture")
    rgba = np.zeros((8, 8, 4), np.uint8)
    Image.fromarray(rgba).save(place / "mine" / "one" / "b.png")
    Path("mine.yaml").write_text(
        "schema: 1\nname: mine\ntitle: mine\nlabel_space: mine\nnum_classes: 2\nlicence: mine\nsource: me\n"
        "get: draw them\nlocation: {folder: mine}\nlayout: {type: folder-per-class}\nfiles: unlisted\nalpha: refuse\n"
    )
    Path("m.yaml").write_text(SPEC.format(data="mine.yaml"))
    Path("two_classes.py").write_text(
        "import torch\n"
        "def net():\n"
        "    torch.manual_seed(0)\n"
        "    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 2))\n"
        "    return module, {'crop': (8, 8), 'mean': (0., 0., 0.), 'std': (1., 1., 1.)}\n"
    )
    code, _, err = assay("run", "--model", "two_classes:net", "--task", "m.yaml", "--out", "o", "--quiet")
    assert code == 1, err
    assert "mine: files left out: 1 unreadable" in err
    records = assay("records", "o", "--model", "two_classes:net", "--task", "m")[1]
    failed = [row for row in csv.DictReader(io.StringIO(records)) if row["error"]]
    assert len(failed) == 1
    assert "has transparency (RGBA), which its manifest refuses" in failed[0]["error"]


def test_show_and_report_refuse_what_is_no_result(place, assay):
    assert "not a result document" in assay("show", "t.yaml")[2]
    assert "is not a run of Assay" in assay("report", ".")[2]
    run_t(assay, "--limit", "2")
    code, _, err = assay("records", "o", "--model", "x", "--task", "t")
    assert code == 2
    assert "it holds: --model digits_models:linear --task t" in err


def test_validate_goes_through_all_files(place, assay):
    Path("bad.yaml").write_text(SPEC.format(data="digits").replace("eps:", "epsilon:"))
    Path("neither.yaml").write_text("a: 1\n")
    code, out, err = assay("validate", "bad.yaml", "t.yaml", "neither.yaml")
    assert code == 2
    assert "t.yaml: valid task spec" in out
    assert err.count("\n") == 2
