"""The search through the runner and on the command line."""

import csv
import io
import json

import pytest
from PIL import Image

from assay.common.errors import UserError
from assay.runner.assemble import records_csv, stored_jobs
from assay.runner.jobs import JobRequest
from assay.runner.plan import plan_jobs
from assay.runner.run import run_jobs
from assay.tasks.families import load_spec
from assay.tasks.tracks import Scale, load_track
from assay.tasks.verification.task import TASK

SPEC = """schema: 1
family: verification
title: t
data: digits
images: 3
combinations:
  - ["brightness:0:0.3", "patch:0:0.5:30%:30%:25%x25%"]
  - ["brightness:-0.1:0.2"]
deltas: [1, 3]
labels: top5
verifier: search
search: {grid: 5, boxes: 2, rounds: 2}
"""


def run(folder, model="digits_fnn", spec=SPEC):
    path = folder / "v.yaml"
    path.write_text(spec)
    (job,) = stored_jobs(run_jobs(plan_jobs([JobRequest(model, str(path))]), folder / "out"))
    return job


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    return run(tmp_path_factory.mktemp("search"))


def test_every_image_and_property_has_a_row_and_two_images_have_pictures(job):
    records = job.records()
    assert [record.error for record in records] == [None] * 6
    rows = list(csv.DictReader(io.StringIO(records_csv(job))))
    assert len(rows) == 3 * 2 * 3
    assert {row["verdict"] for row in rows} <= {"violated", "unknown"}
    assert {row["verifier"] for row in rows} == {"search"}
    assert {row["share_satisfied"] + row["cells"] for row in rows} == {""}
    figures = TASK.figures(job.spec, records)
    assert len(figures) == 2 * 2 * 2
    assert all("gradient" in figure.title and "nothing proved" in figure.title for figure in figures)
    assert all("found: attention inconsistency up to" in figure.caption for figure in figures)


def test_a_second_run_gives_the_same_bytes(job, tmp_path):
    again = run(tmp_path)
    assert [dict(one.values) for one in again.records()] == [dict(other.values) for other in job.records()]
    assert [one.files for one in again.records()] == [other.files for other in job.records()]


def test_auto_proves_where_it_can_and_searches_where_it_cannot(tmp_path):
    spec = SPEC.replace("verifier: search", "verifier: auto").replace("images: 3", "images: 1")
    proved = run(tmp_path, spec=spec)
    assert all("cells" in record.values for record in proved.records())
    (tmp_path / "two").mkdir()
    searched = run(tmp_path / "two", spec=spec.replace('"brightness:-0.1:0.2"', '"rotation:-5:5"'))
    assert all(record.values["verifier"] == "search" for record in searched.records())
    names = [{metric.name for metric in each.result(each.records()).metrics} for each in (proved, searched)]
    assert not any("found" in name or "where_looked" in name for name in names[0])
    assert not any("proved" in name or "robust" in name for name in names[1])


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("30%:30%:25%x25%", "7:7:4x4", "not inside the image of 8x8"),
        ('"brightness:-0.1:0.2"', '"translation:x:0:8"', "leaves the picture of 8x8"),
        ('"brightness:-0.1:0.2"', '"scale:0:1"', "above 0"),
        (
            "verifier: search\nsearch: {grid: 5, boxes: 2, rounds: 2}",
            "saliency: smoothgrad",
            "gradient alone",
        ),
        ("verifier: search\n", "", "belongs to verifier: search or auto"),
        ("boxes: 2", "climbs: 2", "climbs"),
    ],
)
def test_a_wrong_spec_is_refused_before_any_work(tmp_path, old, new, complaint):
    with pytest.raises(UserError, match=complaint) as caught:
        run(tmp_path, spec=SPEC.replace(old, new))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("scale", Scale)
def test_the_imagenet_track_asks_the_question_by_search(scale):
    (task,) = [task for task in load_track("imagenet").at(scale).tasks if task.startswith("verification/")]
    spec = load_spec(task).spec
    assert spec.verifier == "search"
    assert spec.headline_key.endswith(":median_relative_sup_found")


@pytest.fixture
def picture(tmp_path):
    from sklearn.datasets import load_digits

    path = tmp_path / "five.png"
    Image.fromarray((load_digits().images[5] * 255 / 16).round().astype("uint8")).save(path)
    return path


def verify(assay, picture, *options, perturbation="brightness:0:0.3"):
    start = ["--model", "digits_fnn", "--image", picture, "--perturbation", perturbation]
    return assay("verify", *start, *options)


def test_one_image_by_each_verifier_as_json(picture, assay):
    found = {}
    for verifier in ("exact", "search", "auto"):
        code, text, _ = verify(assay, picture, "--verifier", verifier, "--labels", "top5", "--json")
        assert code == 0
        found[verifier] = json.loads(text)
        assert set(TASK.record_columns) <= set(found[verifier])
    assert [each["verifier"] for each in found.values()] == ["exact", "search", "exact"]
    assert found["auto"]["sup_ai"] == found["exact"]["sup_ai"] >= found["search"]["sup_ai"] * (1 - 1e-9)
    assert found["search"]["sup_ai_relative"] == pytest.approx(found["exact"]["sup_ai_relative"], rel=0.01)
    assert {row["verdict"] for row in found["search"]["properties"]} <= {"violated", "unknown"}


def test_what_only_the_search_has_is_searched_with_pictures(picture, tmp_path, assay):
    out = tmp_path / "pictures"
    code, text, _ = verify(
        assay, picture, "--verifier", "auto", "--grid", "5", "--out", out, perturbation="rotation:-9:9"
    )
    assert code == 0
    assert "heat map: gradient" in text
    assert "nothing is proved: unknown means not found broken" in text
    assert {path.name for path in out.iterdir()} == {"saliency.png", "ray.png"}


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--perturbation", "rotation:0:5"], "not piecewise affine"),
        (["--saliency", "smoothgrad"], "the exact verifier has the gradient alone"),
        (["--verifier", "search", "--saliency", "occlusion"], "saliency"),
        (["--verifier", "search", "--perturbation", "translation:x:0:9"], "leaves the picture"),
        (["--verifier", "search", "--yes-or-no"], "belongs to the exact verifier"),
        (["--verifier", "search", "--device", "abacus"], "unknown device"),
        (["--verifier", "exact", "--device", "abacus"], "unknown device"),
        (["--verifier", "proof"], "verifier"),
        (["--grid", "9"], "belongs to verifier: search or auto"),
        (["--model", "efficientnet_lite0"], "or --verifier search"),
    ],
)
def test_bad_input_is_one_sentence(picture, assay, options, complaint):
    code, out, err = verify(assay, picture, *options)
    assert (code, out) == (2, "")
    assert complaint in err
    assert err.count("\n") == 1
