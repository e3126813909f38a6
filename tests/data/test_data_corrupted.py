"""A data set whose pictures are corrupted when they are read, by name or by its manifest."""

import shutil

import numpy as np
import pytest
from PIL import Image

from assay.common.errors import UserError
from assay.common.fields import IDENTITY, field_sides
from assay.data.contents import hash_of
from assay.data.corrupting.corrupt import corrupt
from assay.data.corrupting.corruption import Corruption, split_name
from assay.data.corrupting.level import Level, picture_seed
from assay.data.dataset import ImageError, open_dataset
from assay.data.manifest import load_manifest
from assay.models.pictures import prepared

MANIFEST = """schema: 1
name: three
title: Three pictures
label_space: three
num_classes: {classes}
licence: CC0-1.0
source: random
get: ask
layout: {{type: folder-per-class}}
files: unlisted
"""


@pytest.fixture
def folder(tmp_path):
    """A manifest, and a picture per class of the sizes that are asked for; gives the manifest's path."""

    def make(sizes=((40, 50), (300, 400), (700, 300)), lines="", mode="RGB"):
        shutil.rmtree(tmp_path)
        random = np.random.default_rng(0)
        for number, size in enumerate(sizes):
            pixels = random.integers(0, 256, (*size, len(mode)), np.uint8)
            place = tmp_path / f"class{number}"
            place.mkdir(parents=True)
            Image.fromarray(pixels if mode == "RGB" else pixels[..., 0]).save(place / "a.png")
        (tmp_path / "three.yaml").write_text(MANIFEST.format(classes=len(sizes)) + lines)
        return str(tmp_path / "three.yaml")

    return make


def opened(name):
    return open_dataset(load_manifest(name))


def expected(picture, unit_id, kind, severity, settings, seed=0):
    level = Level(kind, severity, settings, seed)
    random = np.random.default_rng(picture_seed(level, unit_id))
    return corrupt(picture, kind, severity, settings, random)


def test_a_name_asks_for_the_same_pictures_corrupted():
    clean, foggy = opened("foolbox-imagenet20"), opened("foolbox-imagenet20~fog:3")
    assert foggy.samples == clean.samples
    for sample in clean.samples[:3]:
        stored = Image.fromarray(clean.image(sample)).resize((256, 256), Image.Resampling.BILINEAR)
        made = expected(np.asarray(stored), sample.unit_id, "fog", 3, "imagenet-c")
        assert np.array_equal(foggy.image(sample), made)
        assert np.array_equal(foggy.image_as_stored(sample), clean.image(sample))
    assert foggy.manifest.name == "foolbox-imagenet20~fog:3"
    assert "under fog of severity 3" in foggy.manifest.title


def test_every_part_of_the_corruption_is_in_the_hash_and_no_other_data_set_has_another_one():
    names = ("~fog:3", "~fog:4", "~fog:3:1", "~snow:3", "")
    hashes = [opened("foolbox-imagenet20" + name).sha256 for name in names]
    assert len(set(hashes)) == len(names)
    settings = [
        opened("foolbox-imagenet20").corrupted(Corruption(kind="fog", severity=3, settings=one)).sha256
        for one in (None, "imagenet-c")
    ]
    assert settings == [hashes[0]] * 2  # what is left out is what it means
    assert set(field_sides(Corruption).values()) == {IDENTITY}


def test_the_seed_matters_where_something_is_random():
    one, other = (opened(f"digits~gaussian_noise:3{seed}") for seed in ("", ":1"))
    again = opened("digits~gaussian_noise:3")
    sample = one.samples[0]
    assert np.array_equal(one.image(sample), again.image(sample))
    assert not np.array_equal(one.image(sample), other.image(sample))


def test_a_manifest_may_say_it_itself(folder):
    said = opened(folder(lines="corruption: {kind: contrast, severity: 2, seed: 4}\n"))
    assert said.manifest.name == "three~contrast:2:4"
    named = opened(folder() + "~contrast:2:4")
    assert said.sha256 == named.sha256
    for sample in said.samples:
        assert np.array_equal(said.image(sample), named.image(sample))


def test_small_pictures_get_the_constants_of_small_pictures():
    small = opened("digits~contrast:3")
    assert small.corruption.settings == "cifar-10-c"
    sample = small.samples[0]
    made = expected(small.image_as_stored(sample), sample.unit_id, "contrast", 3, "cifar-10-c")
    assert np.array_equal(small.image(sample), made)
    assert opened("foolbox-imagenet20~contrast:3").corruption.settings == "imagenet-c"


def test_a_large_picture_comes_to_256_pixels_first_as_imagenet_cs_makers_do(folder):
    data = opened(folder() + "~pixelate:3")
    shapes = [data.image(sample).shape for sample in data.samples]
    assert shapes == [(40, 50, 3), (256, 341, 3), (597, 256, 3)]
    large = data.samples[1]
    stored = Image.fromarray(data.image_as_stored(large)).resize((341, 256), Image.Resampling.BILINEAR)
    made = expected(np.asarray(stored), large.unit_id, "pixelate", 3, "imagenet-c")
    assert np.array_equal(data.image(large), made)


def test_grey_pictures_stay_grey(folder):
    data = opened(folder(sizes=((300, 300),) * 3, mode="L", lines="channels: 1\n") + "~snow:2")
    assert data.image(data.samples[0]).shape == (256, 256, 1)


def test_a_corrupted_picture_is_known_as_the_one_that_it_was_made_of():
    clean, noisy = opened("digits"), opened("digits~impulse_noise:5")
    assert not np.array_equal(clean.image(clean.samples[0]), noisy.image(clean.samples[0]))
    assert hash_of(noisy, clean.samples[0]) == hash_of(clean, clean.samples[0])


def test_the_family_and_the_data_set_make_one_picture_of_a_picture_at_the_networks_size():
    """ImageNet-C crops before it corrupts; where nothing is to be cropped both are the same."""
    from assay.tasks.corruptions.pictures import CorruptedPicture
    from opened_jobs import JobRequest, open_job

    job = open_job(JobRequest("digits_fnn", "corruptions/digits", limit=1))
    noisy = opened("digits~shot_noise:4")
    sample, model = noisy.samples[0], job.model
    level = Level("shot_noise", 4, "cifar-10-c", 0)
    made = CorruptedPicture(model, job.job.question.data, sample, level).load()
    pixels = prepared(noisy.image(sample), model.info.preprocessing, model.info.name)
    assert np.array_equal(np.round(made.numpy() * 255).astype(np.uint8), pixels)


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        (
            "digits~contrast:6",
            "'digits~contrast:6': `severity`: expected a whole number from 1 to 5, found 6",
        ),
        ("digits~contrast:0", "expected a whole number from 1 to 5, found 0"),
        ("digits~contrats:3", "unknown corruption 'contrats'; did you mean contrast?"),
        ("digits~contrast", "expected NAME~CORRUPTION:SEVERITY, such as foolbox-imagenet20~fog:3"),
        ("digits~contrast:high", "expected NAME~CORRUPTION:SEVERITY"),
        ("digits~contrast:3:1:1", "expected NAME~CORRUPTION:SEVERITY"),
        ("digits~contrast:-1", "expected NAME~CORRUPTION:SEVERITY"),
        (
            "digits~fog:3",
            "fog of cifar-10-c needs pictures of 16 x 16 pixels, data set digits~fog:3 has 8 x 8",
        ),
        (
            "digits~saturate:3",
            "saturate changes no grey picture, and data set digits~saturate:3 has grey ones",
        ),
        ("digit~contrast:3", "unknown data set 'digit': did you mean digits"),
    ],
)
def test_a_corruption_that_cannot_be_is_one_sentence(name, complaint):
    with pytest.raises(UserError) as error:
        opened(name)
    assert complaint in str(error.value)
    assert "\n" not in str(error.value)


def test_pictures_that_are_corrupted_already_are_not_corrupted_again(folder):
    name = folder(lines="corruption: {kind: fog, severity: 1}\n")
    with pytest.raises(UserError, match=r"three~fog:1: its pictures are corrupted already; name it without"):
        load_manifest(name + "~snow:1")
    with pytest.raises(
        UserError, match=r"`corruption.severity`: expected a whole number from 1 to 5, found 9"
    ):
        load_manifest(folder(lines="corruption: {kind: fog, severity: 9}\n"))


def test_one_picture_that_is_too_small_is_an_error_of_its_own(folder):
    large = (64, 64)
    data = opened(folder(sizes=(large, (20, 70), large, large, large)) + "~fog:1")
    assert data.image(data.samples[0]).shape == (64, 64, 3)
    with pytest.raises(ImageError, match=r"image class1/a.png: fog of imagenet-c needs .* it has 20 x 70"):
        data.image(data.samples[1])
    with pytest.raises(
        UserError, match=r"needs pictures of 32 x 32 pixels, data set three~fog:1 has 20 x 70"
    ):
        opened(folder(sizes=(large, (20, 70), large)) + "~fog:1")


@pytest.mark.parametrize(
    "path", ["~/mine.yaml", "/home/~me/mine.yaml", "old~1.yaml", "digits", "folder~a/mine.yaml"]
)
def test_a_path_with_a_tilde_of_its_own_is_no_corruption(path):
    assert split_name(path) == (path, None)
