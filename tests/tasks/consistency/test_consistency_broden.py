"""The reader of Broden's layout, on a small folder made in that layout."""

import numpy as np
import pytest
from PIL import Image

from assay.errors import UserError
from assay.tasks.consistency.broden import read_broden
from assay.tasks.consistency.metric import concept_shares, multi_hot

INDEX = """image,split,ih,iw,sh,sw,color,object,part,material,scene,texture
ade/1.jpg,train,4,4,2,2,9,ade/1_object.png,ade/1_part_0.png;ade/1_part_1.png,,77,
dtd/2.jpg,val,4,4,2,2,,,,,,300;301
os/3.jpg,train,4,4,2,2,,,,55,,
"""
LABEL = """number,name,category,frequency,coverage,syns
9,red-c,color(1),1,1.0,
12,dog,object(1),1,0.5,hound
20,grass,object(1),1,0.5,
30,paw,part(1),1,0.1,
31,ear,part(1),1,0.1,
55,wood,material(1),1,1.0,
77,park-s,scene(1),1,1.0,
300,striped,texture(1),1,1.0,
301,dotted,texture(1),1,1.0,
"""
CODES = {"object": [12, 20], "part": [30, 31], "texture": [300, 301], "material": [55]}


def mask(path, numbers):
    pixels = np.array(numbers)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.dstack([pixels % 256, pixels // 256, 0 * pixels]).astype(np.uint8)).save(path)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "index.csv").write_text(INDEX)
    (tmp_path / "label.csv").write_text(LABEL)
    for category, numbers in CODES.items():
        rows = [f"{code},{number},x,1,1.0" for code, number in enumerate(numbers, 1)]
        (tmp_path / f"c_{category}.csv").write_text("\n".join(["code,number,name,frequency,coverage", *rows]))
    mask(tmp_path / "images/ade/1_object.png", [[0, 12], [20, 20]])
    mask(tmp_path / "images/ade/1_part_0.png", [[0, 30], [0, 0]])
    mask(tmp_path / "images/ade/1_part_1.png", [[0, 31], [0, 300]])  # 300 needs the green channel
    return tmp_path


def test_concepts_of_masks_and_of_whole_images(folder):
    broden = read_broden(folder)
    assert broden.concepts == ("dog", "grass", "paw", "ear", "striped", "dotted")
    assert [image.concepts for image in broden.images] == [(0, 1, 2, 3, 4), (4, 5)]
    assert broden.images[1].path == folder / "images" / "dtd" / "2.jpg"
    assert broden.images[1].split == "val"


def test_images_without_a_concept_of_the_categories_are_left_out(folder):
    assert [image.path.name for image in read_broden(folder, ["material"]).images] == ["3.jpg"]


def test_concept_shares_from_its_labels(folder):
    broden = read_broden(folder)
    membership = multi_hot([image.concepts for image in broden.images], len(broden.concepts))
    assert concept_shares(np.array([[0, 1]]), membership).tolist() == [[0.5, 0.5, 0.5, 0.5, 1, 0.5]]


def break_file(folder, name, old, new):
    path = folder / name
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("index.csv", "texture", "pattern", "no column 'texture'"),
        ("index.csv", "300;301", "299", "label 299, in no category table"),
        ("index.csv", "ade/1_object.png", "ade/gone.png", r"gone\.png"),
        ("label.csv", "12,dog", "13,dog", "no name for label 12"),
        ("label.csv", "12,dog", "twelve,dog", "'twelve' where a label number"),
        ("c_part.csv", "number", "nummer", "no column 'number'"),
    ],
)
def test_what_is_broken_is_named(folder, name, old, new, message):
    break_file(folder, name, old, new)
    with pytest.raises(UserError, match=message):
        read_broden(folder)


def test_another_folder_is_not_broden(tmp_path):
    with pytest.raises(UserError, match=r"index\.csv cannot be read"):
        read_broden(tmp_path)


def test_a_missing_category_table_is_named(folder):
    (folder / "c_texture.csv").unlink()
    with pytest.raises(UserError, match=r"c_texture\.csv"):
        read_broden(folder)
