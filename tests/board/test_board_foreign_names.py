"""No verb that reads what others sent imports, runs or opens what it names: planted factories stay asleep."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import yaml
from board_place import rewrite, use_specs
from sent_runs import RECIPE, SAVING, TASK, as_only_shard, copy_of, plant, rename_model

from assay.board.submissions.build import SubmitRequest, build_submissions
from assay.board.submissions.register import admit
from assay.board.submissions.tiers import model_of
from assay.common.errors import UserError
from assay.common.resources import shipped_folder
from assay.models.foreign import NOBODY, SHIPPED, NamePolicy, load_named, own

pytestmark = pytest.mark.usefixtures("saved_data")
EVIL = "sent_run.evil:net"
SUBMISSION = "leaderboard/submissions/digits_fnn"
NAMES = [
    EVIL,
    "evil:net",
    "os:getcwd",
    "onnx:sent_run/net.onnx",
    "trained:sent_run/net",
    "trained:.",
    "card.yaml",
    "hf-hub:somebody/net",
    "onnx:/etc/passwd",
]


@pytest.fixture(scope="module")
def benchmarks(saving_task):
    return saving_task


@pytest.fixture(scope="module")
def honest(tmp_path_factory, honest_run, benchmarks):
    """A workplace: a leaderboard with an honest submission of a zoo network, and the run that it was made of."""
    root = tmp_path_factory.mktemp("workplace")
    copy_of(honest_run, root / "sent_run")
    with pytest.MonkeyPatch.context() as patch:
        use_specs(patch, benchmarks)
        admit(root / "leaderboard", TASK, ())
        (root / "about.yaml").write_text(
            "schema: 1\npaper: none\ncode: assay\nlicence: Apache-2.0\ncontact: someone@example.org\n"
        )
        build_submissions(SubmitRequest(root / "sent_run", root / "about.yaml"), root / "leaderboard")
    return root


@pytest.fixture(scope="module")
def workplace(honest, benchmarks, tmp_path_factory):
    """A copy in which all that a stranger sent names a factory in the sent folder; and the file that it would write."""
    place = copy_of(honest, tmp_path_factory.mktemp("strange") / "work")
    marker = place.parent / "marker"
    rename_model(place / "sent_run", EVIL)
    submission = place / SUBMISSION
    about = yaml.safe_load((submission / "metadata.yaml").read_text()) | {"model": EVIL}
    result = json.loads((submission / f"results/{TASK}.json").read_text())
    result["model"]["name"] = EVIL
    result["command"] = f"assay run --model {EVIL} --task {TASK} --save-adversarial --out out"
    rewrite(submission, {
        "metadata.yaml": yaml.safe_dump(about).encode(),
        f"results/{TASK}.json": (json.dumps(result, indent=1, ensure_ascii=False) + "\n").encode(),
    })  # fmt: skip
    as_only_shard(copy_of(place / "sent_run", place / "sent_shard"))
    (place / "plan.json").write_text(plan_of(EVIL, trusted=[EVIL]))
    (place / "weights.json").write_text(plan_of("digits_fnn", weights="weights.pth"))
    os.mkfifo(place / "weights.pth")  # opening it would wait for ever
    strange = f"{{method: fgsm, transfer_from: '{EVIL}'}}"
    (place / "few.yaml").write_text((benchmarks / "adversarial" / "few.yaml").read_text())
    (place / "spec.yaml").write_text(SAVING.replace("{method: fgsm}", strange))
    (place / "recipe.yaml").write_text(f"{RECIPE}start_from: {EVIL}\n")
    np.savez(place / "found.npz", unit_ids=["00000"], images=np.zeros((1, 1, 8, 8), np.float32))
    copy_of(place / "sent_run", place / "sent_more")
    for command in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "a"],
                    ["add", "leaderboard"], ["commit", "-qm", "b"]):  # fmt: skip
        who = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
        subprocess.run(["git", "-C", place, *who, *command], check=True)
    for folder in (place, place / "sent_run", place / "sent_shard", place / "sent_more"):
        plant(folder, marker)
    return place, marker


def plan_of(model, **fields):
    """A plan as a stranger writes it."""
    request = {"model": model, "task": TASK, "weights": None, "limit": None, "device": "cpu", "batch_size": None,
               "precision": {"dtype": "float32", "tf32": False, "threads": 1}, "data_roots": [], "switches": [],
               "data": None, "trusted": []} | fields  # fmt: skip
    return json.dumps({"kind": "assay-plan", "schema": 1, "jobs": [{"key": "0" * 64, "request": request}]})


SCRIPT = """\
import contextlib, io, json, sys, traceback
from pathlib import Path
benchmarks, manifests, marker, verbs = json.loads(sys.argv[1])
import assay.tasks.task_spec
assay.tasks.task_spec.shipped_folder = lambda name: Path(benchmarks if name == "benchmarks" else manifests)
import assay
from assay.cli import main
from assay.common.errors import UserError
for verb, words in verbs.items():
    call, given = (getattr(assay, words[1]), words[2:]) if words[0] == "python" else (main, [words])
    out, err, code = io.StringIO(), io.StringIO(), None
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            call(*given)
        except SystemExit as end:
            code = end.code
        except UserError as error:
            code = 2
            print(error, file=sys.stderr)
        except BaseException:
            traceback.print_exc()
    ran = Path(marker).exists()
    Path(marker).unlink(missing_ok=True)
    print(json.dumps({"verb": verb, "code": code, "out": out.getvalue(), "err": err.getvalue(), "ran": ran}))
"""


@pytest.fixture(scope="module")
def outcomes(workplace, benchmarks):
    """What each verb says and does, all in one process as it is installed, in the folder of the planted modules."""
    place, marker = workplace
    given = json.dumps([str(benchmarks), str(shipped_folder("data_manifests")), str(marker), VERBS | CONTROL])
    done = subprocess.run(
        [sys.executable, "-P", "-c", SCRIPT, given], cwd=place, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return {one["verb"]: one for one in map(json.loads, done.stdout.splitlines())}


VERBS = {
    "rescore": ["rescore", SUBMISSION],
    "rescore --images": ["rescore", SUBMISSION, "--images", "sent_run"],
    "rerun": ["rerun", SUBMISSION, "--out", "again"],
    "verify-adversarial": ["verify-adversarial", "sent_run"],
    "check-submission": ["check-submission", SUBMISSION],
    "check-pull-request": ["check-pull-request", ".", "--base", "HEAD~1", "--author", "someone@example.org"],
    "report": ["report", "sent_run"],
    "merge": ["merge", "sent_shard", "--out", "whole"],
    "status of a shard": ["status", "sent_shard"],
    "records": ["records", "sent_run", "--model", EVIL, "--task", TASK],
    "show": ["show", f"{SUBMISSION}/results/{TASK}.json"],
    "status": ["status", "sent_run"],
    "maps": ["maps", "sent_run", "--out", "maps"],
    "leaderboard": ["leaderboard", "--out", "site"],
    "rescore --challenge": ["rescore", SUBMISSION, "--images", "found.npz", "--challenge", "--by", "me"],
    "admit": ["admit", TASK],
    "rank": ["rank", "sent_run"],
    "study": ["study", "digits", "sent_run", SUBMISSION, "--out", "studied"],
    "export": ["export", "sent_run", "--to", "latex", "--out", "exported.tex"],
    "export --to hf": ["export", "sent_run", "--to", "hf", "--out", "exported"],
    "export --to croissant": ["export", "sent_run", "--to", "croissant", "--out", "described"],
    "show a run": ["show", "sent_run"],
    "rm": ["rm", "sent_more", "--model", EVIL],
    "assay.load": ["python", "load", "sent_run"],
    "assay.compare": ["python", "compare", SUBMISSION, "sent_run"],
    "compare": ["compare", SUBMISSION, "sent_run"],
    "submit": ["submit", "sent_run", "--metadata", "about.yaml", "--name", "other"],
    "run --plan, weights": ["run", "--plan", "weights.json", "--out", "planned"],
    "run --plan": ["run", "--plan", "plan.json", "--out", "planned"],
    "run --task": ["run", "--model", "digits_fnn", "--task", "spec.yaml", "--out", "specified"],
    "plan --task": ["plan", "--model", "digits_fnn", "--task", "spec.yaml", "--calibrate", "0"],
    "validate": ["validate", "spec.yaml", "recipe.yaml"],
    "train": ["train", "recipe.yaml", "--out", "trained"],
}
REFUSED = {
    "rescore --images",
    "rescore --challenge",
    "rerun",
    "verify-adversarial",
    "run --plan",
    "run --task",
    "plan --task",
    "train",
}
# The same with the door open: the planted factory works, else the tests below could not fail.
CONTROL = {"the user's own --model": ["verify-adversarial", "sent_run", "--model", EVIL]}


@pytest.mark.parametrize("verb", VERBS)
def test_no_verb_imports_what_a_stranger_named_or_planted(outcomes, verb):
    found = outcomes[verb]
    assert not found["ran"]
    assert "Traceback" not in found["err"]
    if verb in REFUSED:
        assert found["code"] == 2, found
        assert EVIL in found["err"]
        assert "not followed unseen" in found["err"]
        assert found["err"].count("\n") == 1


def test_the_planted_factory_runs_where_the_user_names_it(outcomes):
    (found,) = (outcomes[verb] for verb in CONTROL)
    assert found["ran"]
    assert (found["code"], "has other weights than those of the run" in found["err"]) == (2, True)


def test_weights_that_a_plan_names_are_not_opened(outcomes):
    found = outcomes["run --plan, weights"]
    assert found["code"] == 2
    assert "name it yourself with --weights weights.pth" in found["err"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_is_not_of_the_zoo_is_not_followed(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="not followed unseen"):
        load_named(name, "a run", NOBODY)
    assert own().allows(name) == name.startswith(("onnx:", "trained:", "hf-hub:"))
    assert own([name]).allows(name)
    assert NamePolicy(named=frozenset([name])).allows(name)
    assert SHIPPED.allows(name)


@pytest.mark.parametrize(
    "name", ["digits_fnn", "efficientnet_lite0", "resnet18", "torchvision/resnet18", "timm/resnet18"]
)
def test_a_name_of_the_zoo_is_followed(name):
    assert NOBODY.allows(name)


def test_a_card_that_others_name_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "card.yaml")  # opening it would wait for ever
    with pytest.raises(UserError, match="not followed unseen"):
        load_named(str(tmp_path / "card.yaml"), "a run", NOBODY)


def test_an_unknown_name_is_one_sentence():
    with pytest.raises(UserError, match="unknown model"):
        load_named("../../etc/passwd", "a run", NOBODY)


def test_a_submission_s_own_name_is_followed_in_the_zoo_alone(honest, workplace):
    assert model_of(honest / SUBMISSION) == "digits_fnn"
    place, _ = workplace
    with pytest.raises(UserError, match=r"not followed unseen.*--model"):
        model_of(place / SUBMISSION)
    assert model_of(place / SUBMISSION, "my_copy:net") == "my_copy:net"


def test_the_working_directory_is_on_the_import_path_for_a_named_factory_alone(tmp_path, monkeypatch):
    from assay.models.zoo import load_model

    (tmp_path / "own_nets.py").write_text(
        "import sys, torch\nPATH = list(sys.path)\n"
        "def net(): return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))\n"
    )
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    assert load_model("own_nets:net").info.num_classes == 10
    assert sys.path == before
    assert str(tmp_path) in sys.modules["own_nets"].PATH
