"""What a spec, a data set or a model file can have wrong: one sentence on the command line, before any work."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image
from sklearn.datasets import load_digits

from assay.cli import main

LINEAR = "digits_models:linear"
HEAD = "schema: 1\nfamily: adversarial\ntitle: t\n"
MANIFEST = """schema: 1
name: {name}
title: t
label_space: digits
num_classes: 10
licence: none
source: scikit-learn
get: ask
location: {{folder: {name}}}
channels: 1
layout: {{type: table, table: labels.csv, target_column: target}}
files: unlisted
"""


@pytest.fixture
def assay(tmp_path, monkeypatch, capsys):
    """Run a spec's lines on a model in an empty folder; gives exit code, standard error and what was written."""
    monkeypatch.chdir(tmp_path)

    def run(lines, model=LINEAR):
        data = "" if "data:" in lines else "data: digits\n"
        Path("t.yaml").write_text(f"{HEAD}{data}{lines}\n")
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main(["run", "--model", model, "--task", "t.yaml", "--out", "o", "--limit", "4", "--quiet"])
        return caught.value.code, capsys.readouterr().err, Path("o").exists()

    return run


def write_digits(name, targets):
    """The first digits as a data set of our own, with the given target classes."""
    pixels, labels = load_digits(return_X_y=True)
    folder = Path(name)
    folder.mkdir()
    rows = ["file,label,target"]
    for number, target in enumerate(targets):
        image = (pixels[number].reshape(8, 8) * 15).astype(np.uint8)
        Image.fromarray(image).save(folder / f"{number}.png")
        rows.append(f"{number}.png,{labels[number]},{target}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    Path(f"{name}.yaml").write_text(MANIFEST.format(name=name))


BAD = {
    "eps of nothing": ("eps: [0]\nattacks: [{method: fgsm}]", "0 alone attacks nothing"),
    "eps above 1": ("eps: [2]\nattacks: [{method: fgsm}]", "from 0 to 1"),
    "eps in 255ths": ("eps: [8]\nattacks: [{method: fgsm}]", "such as 4/255"),
    "eps twice": ("eps: [1/10, 0.1]\nattacks: [{method: fgsm}]", "given twice"),
    "step 0": ("eps: [0.1]\nattacks: [{method: pgd, steps: 4, step_size: 0}]", "greater than 0"),
    "steps 0": ("eps: [0.1]\nattacks: [{method: pgd, steps: 0, step_size: 0.1}]", "steps"),
    "0 restarts": ("eps: [0.1]\nattacks: [{method: pgd, steps: 4, step_size: 0.1, restarts: 0}]", "restarts"),
    "an unknown method": ("eps: [0.1]\nattacks: [{method: pdg, steps: 4}]", "did you mean"),
    "no targets in the data": ("eps: [0.1]\nattacks: [{method: fgsm, targeted: dataset}]", "has no target classes"),
    "all answers correct": ("eps: [0.1]\ntop_k: 10\nattacks: [{method: fgsm}]", "would make every answer correct"),
    "too few classes": (
        "eps: [0.1]\nattacks: [{method: apgd_t, steps: 5, restarts: 10, loss: dlr}]", "this model has 10"
    ),
    "an unknown foolbox attack": (
        "eps: [0.1]\nattacks: [{method: L2DepFoolAttack, backend: foolbox}]", "did you mean L2DeepFoolAttack"
    ),
    "an option it does not take": (
        "eps: [0.1]\nnorm: l2\nattacks: [{method: L2DeepFoolAttack, backend: foolbox, options: {stps: 3}}]",
        "options",
    ),
    "an option of another type": (
        "eps: [0.1]\nnorm: l2\nattacks: [{method: L2DeepFoolAttack, backend: foolbox, options: {steps: many}}]",
        "steps: Input should be a valid integer",
    ),
    "a field that is an option": (
        "eps: [0.1]\nattacks: [{method: L2DeepFoolAttack, backend: foolbox, steps: 3}]", "in `options`"
    ),
    "L2 for a method without it": (
        "eps: [0.1]\nnorm: l2\nattacks: [{method: LinfDeepFoolAttack, backend: foolbox}]", "works in the Linf norm"
    ),
    "L-infinity for a method without it": (
        "eps: [0.1]\nattacks: [{method: L2DeepFoolAttack, backend: foolbox}]", "works in the L2 norm"
    ),
    "a method foolbox has not": (
        "eps: [0.1]\nattacks: [{method: square, steps: 5, backend: foolbox}]", "choose backend assay"
    ),
    "a source of other labels": (
        "eps: [0.1]\nattacks: [{method: fgsm, transfer_from: efficientnet_lite0}]", "choose a source"
    ),
    "an unknown source": ("eps: [0.1]\nattacks: [{method: fgsm, transfer_from: no_such_net}]", "no_such_net"),
    "FAB on another network": (
        "eps: [0.1]\nattacks: [{method: fab, steps: 5, loss: margin, transfer_from: efficientnet_lite0}]",
        "leave `transfer_from` out",
    ),
    "FAB on the five highest logits": (
        "eps: [0.1]\ntop_k: 5\nattacks: [{method: fab, steps: 5, loss: margin}]", "top_k must be 1"
    ),
    "FAB towards more classes than there are": (
        "eps: [0.1]\nattacks: [{method: fab_t, steps: 5, restarts: 10, loss: margin}]", "this model has 10"
    ),
    "in turn and bisect": ("eps: [0.1]\nin_turn: true\ncurve: bisect\nattacks: [{method: fgsm}]", "use ascending"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_bad_spec_is_one_sentence_and_exit_code_2(assay, case):
    lines, complaint = BAD[case]
    code, said, written = assay(lines)
    assert (code, written) == (2, False)
    assert complaint in said
    assert said.startswith("assay: ")
    assert said.count("\n") == 1
    assert "after validation" not in said, "a list is not also called empty where one of its items is wrong"


def test_a_target_that_is_the_label_is_refused_with_the_image_s_name(assay):
    write_digits("same", [5, 6, 7, 3])  # the fourth digit is a 3
    code, said, written = assay("data: same.yaml\neps: [0.1]\nattacks: [{method: fgsm, targeted: dataset}]")
    assert (code, written) == (2, False)
    assert "3" in said
    assert "is its own label 3" in said


def test_the_data_s_own_targets_are_reached(assay):
    write_digits("other", [5, 6, 7, 8])
    lines = "attacks: [{method: bim, steps: 10, step_size: 0.2 eps, targeted: dataset}]"
    lines = f"data: other.yaml\neps: [0, 1/2]\n{lines}"
    code, said, written = assay(lines)
    assert (code, written) == (0, True), said
    results = Path("o/results.csv").read_text()
    reached = [line for line in results.splitlines() if "bim_dataset:targeted_success@1/2" in line]
    assert ",1.0," in reached[0]


def test_an_operator_that_cannot_be_read_is_named(assay):
    graph = helper.make_graph(
        [helper.make_node("Det", ["x"], ["d"]), helper.make_node("Flatten", ["d"], ["y"])],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, "net.onnx")
    code, said, written = assay("eps: [0.1]\nattacks: [{method: fgsm}]", model="onnx:net.onnx")
    assert (code, written) == (2, False)
    assert "ONNX operator Det cannot be converted" in said
    assert said.count("\n") == 1
