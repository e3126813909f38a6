"""Saved images: rounded to 8 bit, read back, and scored again by a process that knows nothing of the attack."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from assay.tasks.adversarial.figures import rounded
from assay.tasks.shared.png import png_bytes, read_png

MODEL = "digits_models:linear"
SPEC = """schema: 1
family: adversarial
title: t
data: digits
eps: [0, 1/10]
save_adversarial: true
sheets: 2
attacks:
  - {method: fgsm}
"""


def cli(place, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "assay.cli", *arguments],
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def saved_run(tmp_path_factory):
    place = tmp_path_factory.mktemp("saved")
    (place / "t.yaml").write_text(SPEC)
    done = cli(
        place,
        "run",
        "--model",
        "digits_models:linear",
        "--task",
        "t.yaml",
        "--out",
        "o",
        "--limit",
        "12",
        "--draw",
        "first",
    )
    assert done.returncode == 0, done.stderr
    return place


@pytest.fixture(autouse=True)
def _models_in_reach(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", ":".join(path for path in sys.path if path))


@pytest.fixture(scope="module", autouse=True)
def _models_in_reach_of_the_module():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", ":".join(path for path in sys.path if path))
        yield


@pytest.mark.parametrize("channels", [1, 3])
def test_a_png_is_the_rounded_image_exactly(channels):
    image = torch.rand(channels, 5, 7, generator=torch.Generator().manual_seed(0))
    assert torch.equal(read_png(png_bytes(image)), rounded(image))
    assert (rounded(image) - image).abs().max() <= 0.5 / 255 + 1e-7


def test_saved_images_give_the_stored_accuracy_in_another_process(saved_run):
    done = cli(saved_run, "verify-adversarial", "o", "--model", MODEL)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("none") == 2
    assert "8 bit" in done.stdout


def test_the_result_gives_the_accuracy_after_rounding(saved_run):
    assert "fgsm:robust_accuracy_8bit@1/10" in (saved_run / "o" / "results.csv").read_text()


def test_an_image_that_answers_otherwise_is_named(saved_run, tmp_path):
    verify = (
        "import sys; from pathlib import Path; from assay.tasks.adversarial import saved\n"
        "read = saved.read_png\n"
        "saved.read_png = lambda content: 1 - read(content)\n"
        "from assay.cli import main; main(['verify-adversarial', 'o', '--model', 'digits_models:linear'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", verify], cwd=saved_run, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "00000" in done.stdout


def test_a_run_without_saved_images_says_how_to_save_them(saved_run):
    (saved_run / "plain.yaml").write_text(SPEC.replace("save_adversarial: true\n", ""))
    cli(
        saved_run,
        "run",
        "--model",
        "digits_models:linear",
        "--task",
        "plain.yaml",
        "--out",
        "p",
        "--limit",
        "2",
    )
    done = cli(saved_run, "verify-adversarial", "p", "--model", MODEL)
    assert done.returncode == 2
    assert "--save-adversarial" in done.stderr


def test_the_option_saves_images_and_stands_in_the_command_that_repeats_the_run(saved_run):
    words = ["run", "--model", "digits_models:linear", "--task", "plain.yaml", "--limit", "2"]
    (saved_run / "plain.yaml").write_text(SPEC.replace("save_adversarial: true\n", ""))
    done = cli(saved_run, *words, "--out", "q", "--save-adversarial", "--table")
    assert done.returncode == 0, done.stderr
    assert "--save-adversarial" in done.stdout.split("repeat: ")[1].splitlines()[0]
    assert cli(saved_run, "verify-adversarial", "q", "--model", MODEL).returncode == 0


def test_a_family_that_saves_no_images_refuses_the_option(saved_run):
    done = cli(
        saved_run, "run", "--model", "m", "--task", "srvr/embedded", "--out", "r", "--save-adversarial"
    )
    assert done.returncode == 2
    assert "has no such option" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (saved_run / "r").exists()


def test_verifying_imports_no_attack(saved_run):
    code = (
        "import sys; from assay.cli import main\n"
        "try: main(['verify-adversarial', 'o', '--model', 'digits_models:linear'])\n"
        "except SystemExit: pass\n"
        "print([name for name in sys.modules if name.startswith('assay.attacks.')], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=saved_run, capture_output=True, text=True, check=True
    )
    # What an attack is asked (`settings`, `methods`) may be known, but no code of one.
    assert "assay.attacks.settings" in done.stderr
    for module in ("run", "pool", "images", "gradient", "losses"):
        assert f"assay.attacks.{module}" not in done.stderr


def test_sheets_are_drawn_for_the_first_images_alone(saved_run):
    sheets = sorted(Path(saved_run).glob("o/jobs/*/files/sheets/*.png"))
    assert [path.stem for path in sheets] == ["00000", "00001"]
    pixels = np.asarray(Image.open(io.BytesIO(sheets[0].read_bytes())))
    assert pixels.shape[2] == 3
    assert (pixels < 250).mean() > 0.2
