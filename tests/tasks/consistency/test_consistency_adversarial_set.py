"""The adversarial set as a product: whole after a kill at any point, found again, safe for two makers at once."""

import csv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from assay.common.errors import UserError
from assay.data.dataset import open_dataset
from assay.data.manifest import load_manifest
from assay.models.foreign import own
from assay.tasks.base import RunContext
from assay.tasks.consistency import adversarial_set
from assay.tasks.consistency.adversarial_set import MadeSet
from assay.tasks.consistency.recipe import read_recipe
from assay.tasks.consistency.sets import open_adversarial
from assay.tasks.consistency.spec import EnsembleSpec
from assay.tasks.shared.images import DataSource

MODELS = "tasks.consistency.colour_models"
SOURCE = DataSource(
    "", Path(), (), trust=own(f"{MODELS}:{name}" for name in ("detectors", "sharper_detectors", "spoilt"))
)
SPEC = {
    "ensemble": (f"{MODELS}:detectors",),
    "held_out": (f"{MODELS}:sharper_detectors",),
    "targets": 1,
    "steps": 4,
    "step_size": "1/10",
}
SOURCES = 20


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("set")
    for index in range(SOURCES):
        colour = index % 3
        path = folder / ("red", "green", "blue")[colour] / f"{index}.png"
        path.parent.mkdir(exist_ok=True)
        pixels = np.full((8, 8, 3), 20 + index, np.uint8)
        pixels[index % 8, 3, colour] = 140
        Image.fromarray(pixels).save(path)
    (folder / "d.yaml").write_text(
        "schema: 1\nname: d\ntitle: d\nlabel_space: colours\nnum_classes: 3\nlicence: none\nsource: tests\nget: draw\n"
        "layout: {type: folder-per-class, classes: [red, green, blue]}\nfiles: unlisted\n"
    )
    return open_dataset(load_manifest(str(folder / "d.yaml")))


@pytest.fixture
def recipe(data):
    return read_recipe(EnsembleSpec(**SPEC), data, SOURCE)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path))
    return tmp_path


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def make(recipe, first=0, end=SOURCES, **context):
    """The images of some sources; gives the manifest of the whole set."""
    MadeSet(recipe).block(first, end, RunContext("key", batch_size=5, **context))
    return recipe.folder / "manifest.yaml"


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """The files of a set that was made in one go."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ASSAY_CACHE", str(tmp_path_factory.mktemp("whole")))
        return files(make(read_recipe(EnsembleSpec(**SPEC), data, SOURCE)).parent)


class KilledError(BaseException):
    pass


@pytest.mark.parametrize("after", [0, 1, 2, 25, 2 * SOURCES, 2 * SOURCES + 1])
def test_a_set_goes_on_where_it_was_killed(recipe, cache, whole, monkeypatch, after):
    publish, calls = adversarial_set.publish, []

    def dying(path, content):
        if len(calls) == after:
            raise KilledError
        calls.append(path)
        return publish(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(adversarial_set, "publish", dying)
        with pytest.raises(KilledError):
            make(recipe)
    before = files(recipe.folder) if recipe.folder.exists() else {}
    assert set(before) <= set(whole), "a half-written file lies about"
    make(recipe)
    assert files(recipe.folder) == whole


def test_a_whole_set_is_found_and_not_made_again(recipe, cache, monkeypatch):
    manifest = make(recipe)
    before = {path: path.stat().st_mtime_ns for path in recipe.folder.rglob("*")}
    assert MadeSet(recipe).passes_to_make(0, SOURCES) == 0
    monkeypatch.setattr(adversarial_set, "ensemble_attack", None)
    assert make(recipe) == manifest
    assert {path: path.stat().st_mtime_ns for path in recipe.folder.rglob("*")} == before


def test_only_what_is_asked_for_is_made(recipe, cache, whole):
    manifest = make(recipe, 4, 9)
    made = files(recipe.folder)
    assert {path.stem for path in made if path.parent.name == "rows"} == {f"{n:06d}" for n in range(4, 9)}
    assert not manifest.exists()
    make(recipe, 9, SOURCES)
    assert not manifest.exists()
    make(recipe, 0, 4)
    assert {path: whole[path] for path in made} == made
    assert files(recipe.folder) == whole


def test_a_block_numbers_its_images_as_the_whole_set_does(recipe, cache, data):
    part = MadeSet(recipe).block(4, 9, RunContext("key"))
    stored = open_adversarial(str(make(recipe)), data)
    again = stored.block(4, 9, RunContext("key"))
    for name in ("numbers", "sources", "targets", "outcomes"):
        assert getattr(part, name) == getattr(again, name) or list(getattr(part, name)) == list(
            getattr(again, name)
        )
    assert all((part.pixels(number) == again.pixels(number)).all() for number in part.numbers)
    assert stored.count == MadeSet(recipe).count == SOURCES


@pytest.mark.parametrize("device", ["cpu", "cuda:1"])
def test_it_is_made_on_the_run_s_device(recipe, cache, monkeypatch, device):
    asked = []

    class Bench:
        def __init__(self, _recipe, on):
            asked.append(str(on))

        def attack(self, _indices, _savepoints):
            raise KilledError

    monkeypatch.setattr(adversarial_set, "_SetMaker", Bench)
    with pytest.raises(KilledError):
        make(recipe, device=device)
    assert asked == [device]


def test_two_makers_at_once_make_one_sound_set(data, cache, whole):
    recipes = [read_recipe(EnsembleSpec(**SPEC), data, SOURCE) for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        manifests = list(pool.map(make, recipes))
    assert len(set(manifests)) == 1
    assert len(open_adversarial(str(manifests[0]), data).sources) == SOURCES
    assert set(files(recipes[0].folder)) == set(whole)


def test_the_first_to_finish_an_image_decides_it(recipe, cache):
    first = recipe.folder / "images" / "000000-0001.png"
    assert adversarial_set.publish(first, b"first") == b"first"
    assert adversarial_set.publish(first, b"second") == b"first"


def test_progress_is_told_to_the_run_alone(recipe, cache, capsys):
    told = []
    passes = MadeSet(recipe).passes_to_make(0, SOURCES)
    make(recipe, advance=told.append)
    assert len(told) == SOURCES / 5
    assert sum(told) == passes > 0
    assert capsys.readouterr() == ("", "")


def test_the_table_says_source_target_and_success(recipe, cache, data):
    made = open_adversarial(str(make(recipe)), data)
    with (made.dataset.folder / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["source"] for row in rows] == [sample.unit_id for sample in data.samples]
    assert all(row["label"] != row["target"] for row in rows)
    assert set(made.outcomes) == {f"member:{MODELS}:detectors", f"held_out:{MODELS}:sharper_detectors"}
    assert all(made.outcomes[f"member:{MODELS}:detectors"])


def test_another_recipe_is_another_set(data, recipe):
    for change in ({"steps": 5}, {"step_size": "1/9"}, {"held_out": ()}, {"stop_confidence": "0.9"}):
        assert read_recipe(EnsembleSpec(**SPEC | change), data, SOURCE).key != recipe.key


def test_an_altered_image_is_refused(recipe, cache, data):
    manifest = make(recipe)
    image = min((recipe.folder / "images").iterdir())
    image.write_bytes(image.read_bytes() + b" ")
    with pytest.raises(UserError, match="Delete its folder"):
        open_adversarial(str(manifest), data)
    block = MadeSet(recipe).block(0, 2, RunContext("key"))
    with pytest.raises(UserError, match=r"is not the image that was made; delete .* it is made anew"):
        block.pixels(0)
    image.unlink()
    with pytest.raises(UserError, match="cannot be read"):
        block.pixels(0)


def test_a_folder_that_cannot_be_written_is_a_clear_error(recipe, cache):
    (cache / "products").write_text("in the way")
    with pytest.raises(UserError, match=r"cannot be written .* set ASSAY_CACHE to another folder"):
        make(recipe)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("source", "origin", "no column 'source'"),
        ("red/0.png", "red/x.png", "stem from sources"),
        ("red/0.png", "red/3.png", "have no adversarial image"),
        (".png,0,", ".png,1,", "the label is the class of the content"),
    ],
)
def test_a_set_that_does_not_belong_to_the_images_is_refused(recipe, cache, data, old, new, complaint):
    manifest = make(recipe)
    table = recipe.folder / "table.csv"
    text = table.read_text()
    assert old in text
    table.write_text(text.replace(old, new, 1))
    document = manifest.read_text()
    manifest.write_text(document[: document.index("files:")] + "files: unlisted\n")
    with pytest.raises(UserError, match=complaint):
        open_adversarial(str(manifest), data)
