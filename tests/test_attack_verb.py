"""`assay attack`: one picture, its adversarial, the difference, and what the network says."""

import json
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from assay.cli import main


@pytest.fixture
def digit(tmp_path):
    pixels = load_digits().images[1400]
    Image.fromarray((pixels * 255 / 16).round().astype(np.uint8)).save(tmp_path / "digit.png")
    return tmp_path / "digit.png"


def attack(*words):
    with pytest.raises(SystemExit) as ended:
        main(["attack", *map(str, words)])
    return ended.value.code


@pytest.mark.parametrize(("eps", "broken"), [("1/5", True), ("1/255", False)])
def test_a_picture_its_adversarial_and_what_the_network_says(digit, tmp_path, capsys, eps, broken):
    out = tmp_path / "out" / "a.png"
    assert attack(digit, "--model", "digits_fnn", "--eps", eps, "--out", out) == 0
    about = json.loads(out.with_suffix(".json").read_text())
    assert about["success"] is broken
    assert (about["before"]["class"] != about["after"]["class"]) is broken
    assert about["label"] == about["before"]["class"]
    assert about["linf"] <= float(Fraction(eps)) + 1e-6
    clean, saved = (
        np.asarray(Image.open(path), dtype=int) for path in (digit, out.with_suffix(".adversarial.png"))
    )
    assert np.abs(clean - saved).max() <= 255 * float(Fraction(eps)) + 1
    assert Image.open(out).size[0] > 500
    assert ("broken" if broken else "stands") in capsys.readouterr().out


def test_a_target_a_sample_and_settings(tmp_path):
    words = ["01400", "--data", "digits", "--model", "digits_fnn", "--out", tmp_path / "a.png", "--target", 3]
    assert attack(*words, "--eps", "0.4", "--method", "apgd", "--set", "steps=30", "--set", "norm=linf") == 0
    about = json.loads((tmp_path / "a.json").read_text())
    assert (about["after"]["class"] == 3) is about["success"] is True
    assert about["settings"] == {"steps": 30, "norm": "linf"}
    assert 0 < about["backward_passes"] <= 30


def test_the_same_seed_gives_the_same_bytes(digit, tmp_path):
    for name in ("a", "b"):
        assert attack(digit, "--model", "digits_fnn", "--eps", "1/10", "--out", tmp_path / f"{name}.png") == 0
    for end in ("png", "json", "adversarial.png"):
        assert (tmp_path / f"a.{end}").read_bytes() == (tmp_path / f"b.{end}").read_bytes()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--eps", "many"], "--eps many: expected a number such as 4/255"),
        (["--eps", "0"], "a radius is above 0"),
        (["--eps", "1/10", "--label", "10"], "has the classes 0..9"),
        (["--eps", "1/10", "--label", "3", "--target", "3"], "is the true class"),
        (["--eps", "1/10", "--method", "pdg"], "pgd"),
        (["--eps", "1/10", "--set", "stepz=3"], "unknown setting 'stepz'"),
        (["--eps", "1/10", "--set", "steps"], "expected KEY=VALUE"),
    ],
)
def test_bad_input_is_one_sentence_and_nothing_is_written(digit, tmp_path, capsys, words, said):
    assert attack(digit, "--model", "digits_fnn", "--out", tmp_path / "a.png", *words) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "a.png").exists()
    assert not (tmp_path / "a.json").exists()


def test_another_ending_and_a_missing_file(digit, tmp_path, capsys):
    assert attack(digit, "--model", "digits_fnn", "--eps", "1/10", "--out", tmp_path / "a.jpg") == 2
    assert "ends in .png" in capsys.readouterr().err
    assert (
        attack(tmp_path / "no.png", "--model", "digits_fnn", "--eps", "1/10", "--out", tmp_path / "a.png")
        == 2
    )
    assert "no such file" in capsys.readouterr().err
