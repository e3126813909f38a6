"""What a command line asks for: models by pattern, list, file and checkpoint; tasks by family; fields of a task."""

from fractions import Fraction
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from typer.main import get_command

from assay.cli import app
from assay.commands.groups import GROUPS, _verbs
from assay.commands.requested_models import RequestedModel, asked_models
from assay.common.errors import UserError
from assay.results.document import read_result
from assay.results.tables import in_255ths
from assay.tasks.families import load_spec
from small_jobs import write_spec
from small_training import DIGITS_WEIGHTS

NET = "digits_fnn"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working folder with a small spec, `t.yaml`, and two checkpoints of one network."""
    monkeypatch.chdir(tmp_path)
    write_spec(tmp_path)
    state = load_file(DIGITS_WEIGHTS)
    save_file(state, "a.safetensors")
    save_file({name: 0.5 * value for name, value in state.items()}, "b.safetensors")
    return tmp_path


def run(assay, *arguments, out="o"):
    return assay("run", *arguments, "--limit", 4, "--out", out, "--quiet")


def names(out: str) -> list[str]:
    return sorted(path.parent.name for path in Path(out).glob("results/*/*.json"))


@pytest.mark.parametrize(
    ("given", "models"),
    [
        (["a,b", "a", "c"], [RequestedModel("a"), RequestedModel("b"), RequestedModel("c")]),
        (["mine=digits_fnn"], [RequestedModel("digits_fnn", "mine")]),
        (["x=m@w.pth, m@w.pth"], [RequestedModel("m", "x", "w.pth"), RequestedModel("m", None, "w.pth")]),
        (["trained:a@home", "pkg.mod:f"], [RequestedModel("trained:a@home"), RequestedModel("pkg.mod:f")]),
        (["digits_f*"], [RequestedModel("digits_fnn")]),
        (["mnist_?nn_[28]00"], [RequestedModel("mnist_fnn_200"), RequestedModel("mnist_fnn_800")]),
        (["*.safetensors"], [RequestedModel("a.safetensors"), RequestedModel("b.safetensors")]),
        (["onnx:n?t.onnx"], [RequestedModel("onnx:net.onnx")]),
        (["@all.txt"], [RequestedModel("a"), RequestedModel("b"), RequestedModel("c", "d")]),
        (["odd, name=1.onnx"], [RequestedModel("odd, name=1.onnx")]),
    ],
)
def test_what_a_model_option_means(place, given, models):
    for name in ("net.onnx", "odd, name=1.onnx"):
        Path(name).write_text("")
    Path("all.txt").write_text("# of today\na, b\n\nd=c  # the third\n")
    assert asked_models(given) == models


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ("nothing*", "no file and no known model fits this pattern"),
        ("@nowhere.txt", "cannot be read"),
        ("@empty.txt", "names no model"),
        ("x=mnist_fnn_*", "fits 2 models, which cannot share one name"),
        ("a b=digits_fnn", "expected a name of 1 to 80 letters"),
    ],
)
def test_what_means_nothing_is_one_sentence(place, given, complaint):
    Path("empty.txt").write_text("# none\n")
    with pytest.raises(UserError, match=complaint):
        asked_models([given])


def test_two_checkpoints_of_one_network_stand_beside_each_other(place, assay):
    both = f"a={NET}@a.safetensors,b={NET}@b.safetensors"
    assert run(assay, "--model", both, "--task", "t.yaml")[0] == 0
    assert names("o") == ["a", "b"]
    a, b = (read_result(Path(f"o/results/{name}/t.json")) for name in "ab")
    assert a.model.weights_sha256 != b.model.weights_sha256
    assert "--weights b.safetensors --name b" in b.command
    _, _, err = run(assay, "--model", f"{NET}@a.safetensors,{NET}@b.safetensors", "--task", "t.yaml", out="p")
    assert "is asked for twice" in err
    assert "--model NAME=MODEL@WEIGHTS" in err


def test_a_name_is_no_part_of_the_answer(place, assay):
    run(assay, "--model", NET, "--task", "t.yaml", out="plain")
    run(assay, "--model", NET, "--name", "mine", "--task", "t.yaml", out="named")
    plain, mine = (
        read_result(Path(f"{out}/results/{name}/t.json")) for out, name in (("plain", NET), ("named", "mine"))
    )
    assert (plain.job_key, plain.metrics) == (mine.job_key, mine.metrics)
    assert run(assay, "--name", "x", "--model", "a,b", "--task", "t.yaml")[0] == 2


def test_a_checkpoint_never_takes_another_s_place_unasked(place, assay):
    asked = ("--model", NET, "--task", "t.yaml")
    assert run(assay, *asked, "--weights", "a.safetensors")[0] == 0
    before = Path(f"o/results/{NET}/t.json").read_bytes()
    code, _, err = run(assay, *asked, "--weights", "b.safetensors")
    assert (code, Path(f"o/results/{NET}/t.json").read_bytes()) == (2, before)
    assert "has results of digits_fnn with other weights" in err
    assert "--name NAME" in err
    assert run(assay, *asked, "--weights", "b.safetensors", "--name", "b")[0] == 0
    assert run(assay, *asked, "--weights", "a.safetensors")[0] == 0
    assert names("o") == ["b", NET]


def test_another_network_of_a_name_is_refused_however_it_is_given(place, assay):
    asked = ("--name", "mine", "--task", "t.yaml")
    assert run(assay, "--model", NET, *asked)[0] == 0
    before = Path("o/results/mine/t.json").read_bytes()
    code, _, err = run(assay, "--model", "digits_models:linear", *asked)
    assert (code, Path("o/results/mine/t.json").read_bytes()) == (2, before)
    assert "has results of mine with other weights" in err
    assert "assay rm o --model mine" in err
    assert assay("rm", "o", "--model", "mine")[0] == 0
    assert run(assay, "--model", "digits_models:linear", *asked)[0] == 0


def test_two_spec_files_of_one_name_get_names_of_their_own(place, assay):
    for folder, eps in (("a", "1/50"), ("b", "1/5")):
        Path(folder).mkdir()
        Path(folder, "t.yaml").write_text(Path("t.yaml").read_text().replace("1/10", eps))
    _, _, err = run(assay, "--model", NET, "--task", "a/t.yaml", "--task", "b/t.yaml")
    assert "two spec files of one name by --task NAME=FILE" in err
    assert run(assay, "--model", NET, "--task", "weak=a/t.yaml", "--task", "strong=b/t.yaml")[0] == 0
    assert run(assay, "--model", NET, "--task", "a/t.yaml", out="p")[0] == 0
    weak, strong, alone = (
        read_result(Path(f"{place}/{NET}/{task}.json"))
        for place, task in (("o/results", "weak"), ("o/results", "strong"), ("p/results", "t"))
    )
    assert (weak.task, strong.task) == ("weak", "strong")
    assert weak.job_key == alone.job_key != strong.job_key
    assert "--task weak=a/t.yaml" in weak.command
    code, _, err = run(assay, "--model", NET, "--task", "we/ak=a/t.yaml")
    assert (code, "expected NAME=FILE" in err) == (2, True)


def test_a_family_is_its_tasks_of_the_model_s_labels_and_a_track_is_a_task_too(place, assay):
    planned = assay("plan", "--model", NET, "--task", "adversarial", "--calibrate", 0)[1]
    assert ("adversarial/digits " in planned, "adversarial/mnist" in planned) == (True, False)
    planned = assay("plan", "--model", NET, "--task", "digits", "--calibrate", 0)[1]
    assert all(f"{family}/digits" in planned for family in ("adversarial", "verification", "consistency"))
    code, _, err = assay("plan", "--model", NET, "--task", "srvr")
    assert (code, "none of its tasks has the label space 'digits'" in err) == (2, True)
    assert "a family's tasks need a --model" in assay("plan", "--task", "adversarial")[2]


def test_what_is_not_here_is_left_out_on_request(place, assay, monkeypatch):
    monkeypatch.delenv("ASSAY_DATA", raising=False)
    code, _, err = run(
        assay, "--model", NET, "--task", "adversarial/cifar10", "--task", "t.yaml", "--skip-unavailable"
    )
    assert code == 0
    assert f"{NET} · adversarial/cifar10: left out: " in err
    code, _, err = run(assay, "--model", NET, "--task", "adversarial/cifar10", "--skip-unavailable", out="p")
    assert (code, Path("p").exists()) == (1, False)
    assert "nothing ran" in err


def test_a_field_is_set_in_the_key_and_on_the_page(place, assay):
    asked = ("--model", NET, "--task", "t.yaml")
    run(assay, *asked, out="plain")
    code, _, _ = run(assay, *asked, "--set", "eps=3/255", "--set", "attacks=fgsm")
    assert code == 0
    plain, changed = (read_result(Path(f"{out}/results/{NET}/t.json")) for out in ("plain", "o"))
    assert plain.job_key != changed.job_key
    assert changed.title == "Digits under attack [here with eps=3/255, attacks=fgsm]"
    assert "eps=3/255" in Path("o/index.html").read_text()
    assert {metric.heading for metric in changed.metrics} >= {"Robust accuracy at 3/255, FGSM"}
    table = assay("report", "o", "--table")[1]
    assert ("3/255: " in table, "1/85" in table) == (True, False)
    assert "fgsm:robust_accuracy@3/255" in {metric.name for metric in changed.metrics}
    spec = load_spec("t.yaml", settings=("eps=3/255", "attacks=fgsm")).spec
    assert {metric.name for metric in changed.metrics} <= set(spec.metric_keys())
    assert not any("1/85" in Path("o", name).read_text() for name in ("index.html", "results.csv"))


def test_what_a_setting_means():
    shipped = load_spec("adversarial/digits").spec

    def spec(*settings):
        return load_spec("adversarial/digits", settings=settings).spec

    assert spec("eps=0,8/255").eps == (0, Fraction(8, 255))
    assert spec("eps=[0, 1/4]").eps == (0, Fraction(1, 4))
    assert spec("attacks=mim,fgsm").attacks == (shipped.attacks[3], shipped.attacks[0])
    assert spec("attacks={method: pgd, steps: 3, step_size: 0.5 eps}").attacks[0].steps == 3
    assert spec("certified=false", "seed=7").seed == 7
    assert load_spec("consistency/digits", settings=["adversarial.steps=2"]).spec.adversarial.steps == 2
    assert spec().sha256 == shipped.sha256 != spec("seed=7").sha256


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("eps", "expected KEY=VALUE"),
        ("data=mnist-test", "choose other pictures with --data"),
        ("epz=1", "unknown key `epz`"),
        ("attacks=pgdd", "did you mean pgd"),
        ("seed.of=1", "`seed` is no block of this task"),
        ("eps=lots", "expected a number such as 4/255"),
    ],
)
def test_a_setting_that_cannot_be_is_one_sentence(setting, complaint):
    with pytest.raises(UserError, match=complaint):
        load_spec("adversarial/digits", settings=[setting])


def test_nothing_ran_is_no_success(place, assay):
    card = "schema: 1\nname: mine\nnetwork: {factory: 'digits_models:linear'}\nlabel_space: Digit\nnum_classes: 10\n"
    Path("mine.yaml").write_text(card + "input: {size: [8, 8], channels: grey}\n")
    code, _, err = run(assay, "--model", "mine.yaml", "--task", "t.yaml")
    assert code == 1
    assert (
        "nothing ran: no task has a meaning for mine, whose label space is 'Digit'; did you mean digits?"
        in err
    )
    code, _, err = run(assay, "--model", "mine.yaml", out="p")
    assert (code, "did you mean digits?" in err) == (2, True)


def test_the_repeat_line_works_when_pasted(place, assay):
    out = "my runs"
    run(assay, "--model", NET, "--task", "t.yaml", "--set", "eps=1/4", out=out)
    (line,) = [
        each for each in assay("report", out, "--table")[1].splitlines() if each.startswith("repeat: ")
    ]
    assert line.endswith("--set eps=1/4 --limit 4 --out 'my runs'")
    shown = assay("show", f"{out}/results/{NET}/t.json")[1]
    assert f"--out '{place / out}'" in shown


def test_radii_are_written_as_the_field_writes_them():
    written = {
        "1/85": "3/255",
        "8/255": "8/255",
        "2/51": "10/255",
        "1/10": "1/10",
        "1/5": "1/5",
        "0": "0",
        "x": "x",
    }
    assert {text: in_255ths(text) for text in written} == written


def test_help_shows_every_verb_once_with_its_whole_sentence(assay):
    out = " ".join(assay("--help")[1].split())
    verbs = [name for modules in GROUPS.values() for module in modules for name in _verbs(module)]
    assert sorted(verbs) == sorted(get_command(app).commands)
    assert all(f"{title}:" in out for title in GROUPS)
    assert (
        "Show what a run would do: jobs, keys, chunks, what is stored, and estimates of time and memory."
        in out
    )
    assert "…" not in out
