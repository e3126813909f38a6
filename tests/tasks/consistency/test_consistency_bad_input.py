"""What the consistency family refuses, and what it does not make before it is sure of its work."""

import json

import pytest

from assay.common.errors import UserError
from assay.models.zoo import load_model
from assay.tasks.consistency.blocks import BLOCK_IMAGES
from opened_jobs import JobRequest, open_job
from tasks.consistency.coloured_place import HIERARCHY, MANIFEST, MEMBERS, MODELS, SPEC, draw


def ready(place, model, text=SPEC):
    (place / "t.yaml").write_text(text)
    return open_job(JobRequest(f"{MODELS}:{model}", str(place / "t.yaml"), trusted=MEMBERS))


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache; gives how many adversarial images are in it."""
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path / "cache"))
    return lambda: len(list((tmp_path / "cache").glob("products/*/images/*.png")))


TRUST = [word for name in MEMBERS for word in ("--trust", name)]


@pytest.fixture
def assay(assay, place, cache):
    """The command line on a spec of this text."""

    def run(verb, model, *options, text=SPEC):
        (place / "t.yaml").write_text(text)
        return assay(verb, "--task", place / "t.yaml", "--model", f"{MODELS}:{model}", *TRUST, *options)

    return run


def test_a_network_without_convolution_is_not_applicable_and_nothing_is_made_for_it(assay, cache, tmp_path):
    code, _, err = assay("run", "no_convolution", "--out", tmp_path / "o")
    assert code == 1  # nothing ran
    assert "not applicable: the network has no convolution over a spatial map" in err
    assert cache() == 0


@pytest.mark.parametrize("verb", ["run", "plan"])
def test_a_layer_that_does_not_exist_is_told_before_any_work(assay, cache, tmp_path, verb):
    out = tmp_path / "o"
    code, _, err = assay(verb, "saturated", "--out", out, text=SPEC + "layers: [net.0, net.00]\n")
    assert code == 2
    assert err.count("\n") == 1
    assert "the model has no layer 'net.00'; nearest: net.0" in err
    assert cache() == 0
    assert not out.exists()


@pytest.mark.parametrize("verb", ["run", "plan"])
@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("large", "takes 64 x 64 pixels and does not enlarge, the image has 8 x 8"),
        ("one_channel", "takes images of 1 channels, this one has 3"),
    ],
)
def test_a_network_that_takes_no_real_image_is_told_before_any_work(
    assay, cache, tmp_path, verb, model, said
):
    out = tmp_path / "o"
    code, _, err = assay(verb, model, "--out", out)
    assert (code, err.count("\n"), said in err) == (2, 1, True)
    assert cache() == 0
    assert not out.exists()


@pytest.mark.parametrize("stored", [False, True])
def test_a_network_that_takes_no_adversarial_image_is_told_before_any_work(place, outcome, tmp_path, stored):
    """The real images are grey, the adversarial ones have the colours of the networks that made them."""
    text = SPEC
    if stored:
        folder = outcome()[0].data.adversarial.recipe.folder
        text = SPEC[: SPEC.index("adversarial:")] + f"adversarial_data: {folder / 'manifest.yaml'}\n"
    data = ready(place, "detectors", text).question.data
    grey = load_model(f"{MODELS}:one_channel").info
    with pytest.raises(UserError, match=r"^adversarial images: .*one_channel takes images of 1 channels"):
        data.adversarial.refuse_unfit(grey)


def test_a_plan_makes_no_image(assay, cache):
    assert assay("plan", "detectors", "--calibrate", "0")[0] == 0
    assert cache() == 0


def test_a_limit_makes_only_the_images_that_it_needs(assay, cache, tmp_path):
    code, _, err = assay(
        "run", "detectors", "--limit", "2", "--draw", "first", "--out", tmp_path / "o", "--quiet"
    )
    assert (code, err) == (0, "")
    assert cache() == 2 * BLOCK_IMAGES


def test_a_model_of_other_labels_makes_no_image(assay, cache, tmp_path):
    code, _, err = assay("run", "other_labels", "--out", tmp_path / "o")
    assert code == 1  # nothing ran
    assert "not applicable" in err
    assert cache() == 0


def test_another_label_space_is_not_applicable(place):
    assert "shades" in ready(place, "other_labels").not_applicable


BAD = {
    "labels outside the hierarchy": (("near.json", "short.json"), "lie outside hierarchy near"),
    "imagenet's hierarchy for other labels": (("near.json", "imagenet"), "covers the labels of imagenet-1k"),
    "no hierarchy file": (("near.json", "none.json"), "cannot be read"),
    "members of different label spaces": (
        (f"{MODELS}:sharper_detectors", f"{MODELS}:other_labels"), "members have different label spaces"),
    "members of different channels": (
        (f"{MODELS}:sharper_detectors", f"{MODELS}:one_channel"), "choose models that take the same kind of image"),
    "members that enlarge no picture": (
        (f'"{MODELS}:detectors", "{MODELS}:sharper_detectors"', f'"{MODELS}:large"'),
        "adversarial images: .*large takes 64 x 64 pixels and does not enlarge, the image has 8 x 8"),
    "a member that is not there": ((f"{MODELS}:sharper_detectors", "efficientnet_lit0"), "did you mean"),
    "a member twice": ((f"{MODELS}:sharper_detectors", f"{MODELS}:detectors"), "stands twice"),
    "more targets than classes": (("targets: 1", "targets: 2"), "give `targets` from 1 to 1"),
    "no targets given": (("targets: 1", "targets: given"), "does not give every image a target"),
    "no targets": (("targets: 1", "targets: 0"), "targets"),
    "no step": (("step_size: 1/10", "step_size: 0"), "expected a step"),
    "both ways to a set": (("family", "adversarial_data: x.yaml\nfamily"), "give either `adversarial`"),
    "a headline that is not in the sweep": (("family", "headline_sigma: 3\nfamily"), "is not one of `sigmas`"),
    "a sigma of nothing": (("family", "sigmas: [0, 1]\nfamily"), "expected positive widths"),
    "a share of nothing": (("family", "top_share: 0\nfamily"), "expected a share"),
    "a layer twice": (("family", "layers: [a, a]\nfamily"), "layers: one is given twice"),
    "two images": (("colours.yaml", "few.yaml"), "at least 3 images"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_told_before_any_work(place, case):
    (old, new), complaint = BAD[case]
    (place / "short.json").write_text(json.dumps(HIERARCHY | {"classes": ["red", "green"]}))
    (place / "few.yaml").write_text(
        MANIFEST.replace("pictures", "few").replace("num_classes: 3", "num_classes: 1").replace(
            "[red, green, blue]", "[red]")
    )  # fmt: skip
    (place / "few" / "red").mkdir(parents=True, exist_ok=True)
    (place / "few" / "red" / "a.png").write_bytes((place / "pictures" / "red" / "00.png").read_bytes())
    with pytest.raises(UserError, match=complaint):
        ready(place, "detectors", SPEC.replace(old, new))


def test_a_set_of_other_images_is_refused(outcome, place, tmp_path):
    manifest = outcome()[0].data.adversarial.recipe.folder / "manifest.yaml"
    begin = SPEC.index("adversarial:")
    (place / "less.yaml").write_text(MANIFEST.replace("pictures", "less").replace("colours", "less"))
    if not (place / "less").exists():
        draw(tmp_path, 5)
        (tmp_path / "pictures").rename(place / "less")
    text = SPEC[:begin].replace("colours.yaml", "less.yaml") + f"adversarial_data: {manifest}\n"
    with pytest.raises(UserError, match="stem from sources"):
        ready(place, "detectors", text)
