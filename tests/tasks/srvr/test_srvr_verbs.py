"""The verbs render, maps and regions, from the command line."""

import csv
import io

import numpy as np
import pytest
import yaml
from PIL import Image

from assay.common.resources import shipped_folder
from assay.tasks.srvr.shapes import load_shapes
from tasks.srvr.three_shapes import MANIFEST, SPEC


@pytest.fixture
def assay(assay, tmp_path, monkeypatch):
    """The command line in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return assay


@pytest.fixture
def finished(assay, tmp_path):
    """A finished run of a tiny spec in ``o``."""
    (tmp_path / "three.yaml").write_text(yaml.safe_dump(MANIFEST))
    (tmp_path / "t.yaml").write_text(yaml.safe_dump(SPEC))
    code, out, err = assay(
        "run",
        "--model",
        "views_models:brightness",
        "--task",
        "t.yaml",
        "--out",
        "o",
        "--quiet",
        "--device",
        "cpu",
    )
    assert code == 0, err
    assert "srvr" in out
    return "o"


def test_render_draws_one_view(assay):
    code, out, _ = assay(
        "render", "chair", "--azimuth", 130, "--elevation", 30, "--size", 64, "--out", "c.png"
    )
    assert code == 0
    assert "faces drawn" in out
    first = np.asarray(Image.open("c.png"))
    assert first.shape == (64, 64)
    assert (first > 0).mean() > 0.05
    assay("render", "chair", "--azimuth", 10, "--elevation", 30, "--size", 64, "--out", "d.png")
    assert (first != np.asarray(Image.open("d.png"))).any()


@pytest.mark.parametrize("elevation", [90, -90])
def test_the_poles_can_be_rendered(assay, elevation):
    assert assay("render", "mug", "--elevation", elevation, "--size", 32, "--out", "p.png")[0] == 0


def test_a_run_s_maps_are_exported_and_regions_grow_on_them(assay, finished):
    code, out, _ = assay("maps", finished, "--out", "m.npz", "--dsm", "d.png")
    assert code == 0
    assert "mean of all (DSM)" in out
    with np.load("m.npz") as arrays:
        assert arrays["maps"].shape == (3, 3, 6)
        assert arrays["azimuth_deg"].tolist() == [0, 60, 120, 180, 240, 300]
        assert arrays["elevation_deg"].tolist() == [-10, 40, 90]
        assert arrays["unit_id"].tolist() == [
            f"views_models:brightness/{n}" for n in ("mug", "vase", "chair")
        ]
    assert Image.open("d.png").size[0] > 100
    code, out, _ = assay("regions", "m.npz", "--method", "naive", "--initial", "130,30", "--initial", "50,20")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert code == 0
    assert len(rows) == 6
    assert all(0 <= float(row["volume_ratio"]) <= 1 for row in rows)


def test_traps_are_listed_of_a_run_of_a_file_of_maps_and_of_their_mean(assay, tmp_path):
    scores = np.full((2, 5, 6), 0.9)
    scores[0, 2, 1:3] = 0.05
    np.savez(
        tmp_path / "m.npz",
        maps=scores,
        azimuth_deg=np.arange(6) * 60.0,
        elevation_deg=np.arange(5) * 20.0,
        unit_id=["a", "b"],
    )
    code, out, _ = assay("traps", "m.npz", "--out", "t.csv")
    assert code == 0
    assert "1 traps on 1 of 3 maps and means" in out
    with (tmp_path / "t.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert (row["map"], float(row["azimuth_deg"]), float(row["elevation_deg"])) == ("a", 60, 40)
    assert float(row["area_deg2"]) == 2 * 60 * 20
    assert float(row["depth"]) == pytest.approx(0.85)
    out = assay("traps", "m.npz", "--low", 0.5, "--high", 0.6)[1]
    assert "mean of all (DSM)" in out, "of both maps the mean is 0.475 there"


def test_a_run_s_traps_and_class_means(assay, finished):
    assert "traps on" in assay("traps", finished)[1]
    means = [line for line in assay("maps", finished, "--out", "m.npz")[1].splitlines() if "(DSM)" in line]
    assert len(means) == 1, "no class has several shapes"


def test_the_published_maps_have_traps_where_the_networks_are_sure(assay, shared_srvr):
    out = assay("traps", shared_srvr / "published_dev.npz")[1]
    count = {net: sum(line.startswith(f"{net}/") for line in out.splitlines()) for net in NETWORKS}
    assert count == {"AlexNet": 0, "VGG": 0, "ResNet50": 6, "Inceptionv3": 20}


def test_regions_on_a_file_are_those_of_the_run(assay, finished):
    assay("maps", finished, "--out", "m.npz")
    records = assay("records", finished, "--model", "views_models:brightness", "--task", "t")[1]
    of_run = [row for row in csv.DictReader(io.StringIO(records)) if row["method"] == "naive"]
    (points,) = [sorted({(r["initial_azimuth_deg"], r["initial_elevation_deg"]) for r in of_run})]
    assert points == [("130.0", "30.0"), ("50.0", "20.0")]
    assert len(of_run) == 6
    code, out, _ = assay("regions", "m.npz", "--out", "r.csv", "--traces", "t.npz")
    assert code == 0
    assert "naive" in out
    with np.load("t.npz") as traces:
        assert traces["naive"].shape[1:] == (12, 2, 2)


def test_as_published_regions_may_leave_the_domain(assay, tmp_path):
    np.savez(
        tmp_path / "m.npz",
        maps=np.ones((1, 3, 4)),
        azimuth_deg=np.arange(4) * 90.0,
        elevation_deg=np.array([-10.0, 40, 90]),
        unit_id=["a"],
    )
    for more, outside in ((["--as-published"], True), ([], False)):
        out = assay("regions", "m.npz", "--method", "OIR_B", *more)[1]
        rows = list(csv.DictReader(io.StringIO(out)))
        assert any(float(row["elevation_high_deg"]) > 90 for row in rows) == outside
        assert {row["steps"] == "600" for row in rows} == {outside}


def test_the_published_archive_is_compared(assay, shared_srvr):
    code, out, _ = assay(
        "regions",
        shared_srvr / "published_dev.npz",
        "--method",
        "naive",
        "--method",
        "OIR_B",
        "--out",
        "r.csv",
    )
    assert code == 0
    medians = {
        line.split(":")[0]: float(line.split()[-1]) for line in out.splitlines() if "median IoU" in line
    }
    assert medians["naive"] >= 0.74
    assert medians["OIR_B"] >= 0.56
    overall = {line.split()[0]: line.split()[2:4] for line in out.splitlines() if " all " in line}
    for column in (0, 1):
        assert float(overall["ResNet50"][column]) > float(overall["Inceptionv3"][column])


NETWORKS = ("AlexNet", "VGG", "ResNet50", "Inceptionv3")
BAD = {
    "no maps for traps": (["traps", "none.npz"], "no such file"),
    "no run for traps": (["traps", "."], "is not a run of Assay"),
    "thresholds the wrong way round": (["traps", "holes.npz", "--low", "0.6"], "give 0 <= low < high <= 1"),
    "missing mesh": (["render", "none.obj", "--out", "x.png"], "no such file"),
    "unknown format": (["render", "a.step", "--out", "x.png"], "cannot read '.step' files"),
    "empty mesh": (["render", "empty.obj", "--out", "x.png"], "no faces"),
    "nan mesh": (["render", "nan.obj", "--out", "x.png"], "NaN or infinite"),
    "no extent": (["render", "dot.obj", "--out", "x.png"], "zero area"),
    "camera inside": (["render", "mug", "--distance", "1", "--out", "x.png"], "inside the object"),
    "no number": (["render", "mug", "--azimuth", "nan", "--out", "x.png"], "NaN or infinite"),
    "nowhere to write": (["render", "mug", "--out", "none/x.png"], "cannot be written"),
    "no run": (["maps", ".", "--out", "m.npz"], "is not a run of Assay"),
    "no maps": (["regions", "none.npz"], "no such file"),
    "other arrays": (["regions", "other.npz"], "lacks maps"),
    "holes": (["regions", "holes.npz"], "missing or NaN"),
    "no point": (["regions", "holes.npz", "--initial", "a,b"], "expected azimuth and elevation"),
    "point outside": (["regions", "holes.npz", "--initial", "400,0"], "outside the domain"),
    "unknown method": (["regions", "holes.npz", "--method", "OIR"], "choose from naive"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence_and_exit_code_2(assay, tmp_path, case):
    (tmp_path / "empty.obj").write_text("v 0 0 0\n")
    (tmp_path / "nan.obj").write_text("v nan 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    (tmp_path / "dot.obj").write_text("v 1 1 1\nv 1 1 1\nv 1 1 1\nf 1 2 3\n")
    np.savez(tmp_path / "other.npz", a=np.zeros(1))
    grid = {"azimuth_deg": np.arange(4) * 90.0, "elevation_deg": np.array([0.0, 45]), "unit_id": ["a"]}
    np.savez(tmp_path / "holes.npz", maps=np.full((1, 2, 4), np.nan), **grid)
    before = sorted(tmp_path.iterdir())
    arguments, complaint = BAD[case]
    code, out, err = assay(*arguments)
    assert code == 2
    assert complaint in err
    assert err.count("\n") == 1
    assert not out
    assert sorted(tmp_path.iterdir()) == before


def test_maps_of_no_such_model_are_a_clear_error(assay, finished):
    code, _, err = assay("maps", finished, "--out", "m.npz", "--model", "none")
    assert code == 2
    assert "no semantic maps" in err


def test_shapes_manifests_can_be_validated(assay):
    folder = shipped_folder("data_manifests") / "shapes"
    code, out, _ = assay("validate", *sorted(folder.glob("*.yaml")))
    assert code == 0
    assert out.count("valid shapes manifest") == 3


def test_shapes_are_listed_among_the_data(assay, tmp_path):
    def shapes(*roots):
        lines = [line.split() for line in assay("list", "data", *roots)[1].splitlines()]
        return {line[0]: "yes" in line for line in lines if "shapes" in line[2:3]}

    assert shapes() == {"embedded-shapes": True, "shapenet10": False, "shapenetcore-hamdi40": False}
    layout = load_shapes("shapenetcore-hamdi40").layout
    for name in layout.required():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    assert shapes("--data-root", tmp_path)["shapenetcore-hamdi40"]


@pytest.mark.parametrize("verb", ["render", "maps", "regions", "traps"])
def test_every_verb_s_help_has_an_example(assay, verb):
    assert f"Example: assay {verb}" in " ".join(assay(verb, "--help")[1].split())
