"""Tracks: every family has a task or a reason, and every task is a question about the track's own label space."""

import pytest
import yaml

from assay.cli import main
from assay.common.errors import UserError
from assay.common.resources import shipped_folder
from assay.data.manifest import load_manifest
from assay.models.zoo import label_space_of, registry
from assay.tasks.families import families, family, load_spec, read_spec
from assay.tasks.srvr.shapes import list_shapes, load_shapes
from assay.tasks.task_spec import shipped_specs
from assay.tasks.tracks import Scale, load_track, read_track, shipped_tracks, track_of

EVERY = [(name, scale) for name in shipped_tracks() for scale in Scale]


def label_space(data):
    return (load_shapes if data in list_shapes() else load_manifest)(data).label_space


@pytest.mark.parametrize(("name", "scale"), EVERY)
def test_every_family_has_a_task_of_the_label_space_or_a_reason(name, scale):
    track = load_track(name)
    at = track.at(scale)
    specs = [load_spec(task).spec for task in at.tasks]
    assert {spec.family for spec in specs}.isdisjoint(at.without)
    assert {spec.family for spec in specs} | set(at.without) == set(families())
    assert {label_space(spec.data) for spec in specs} == {track.label_space}
    assert set(at.tasks) <= set(shipped_specs())


@pytest.mark.parametrize("name", shipped_tracks())
def test_the_default_model_is_of_the_label_space(name):
    track = load_track(name)
    assert registry().find(track.default_model).label_space == track.label_space
    assert track_of(track.label_space) == (name, track)


@pytest.mark.parametrize("name", shipped_tracks())
def test_the_default_model_needs_no_download(name, monkeypatch, tmp_path):
    monkeypatch.setenv("ASSAY_DATA", str(tmp_path))
    assert registry().find(load_track(name).default_model).missing() is None


@pytest.mark.parametrize("name", shipped_tracks())
def test_what_a_middle_track_makes_its_images_with_ships(name, monkeypatch, tmp_path):
    """Its data have to be fetched, but no network beside them; ImageNet's networks come with their packages."""
    monkeypatch.setenv("ASSAY_DATA", str(tmp_path))
    specs = [load_spec(task).spec for task in load_track(name).medium.tasks]
    makers = [maker for spec in specs if spec.family == "consistency" for maker in spec.adversarial.ensemble]
    assert makers
    assert [registry().find(maker).missing() for maker in makers] == [None] * len(makers)


def test_no_two_tracks_are_of_one_label_space():
    spaces = [track.label_space for track in shipped_tracks().values()]
    assert len(spaces) == len(set(spaces))


def test_a_network_without_a_stated_label_space_is_looked_at():
    assert label_space_of("digits_models:linear") == "digits"


def planned(capsys, *arguments):
    with pytest.raises(SystemExit) as caught:
        main(["plan", "--calibrate", "0", *arguments])
    output = capsys.readouterr()
    return caught.value.code, output.out, output.err


def test_a_model_alone_is_planned_on_its_own_track(capsys):
    code, own, _ = planned(capsys, "--model", "digits_fnn")
    assert (code, own) == planned(capsys, "--track", "digits")[:2]
    assert all(task in own for task in load_track("digits").embedded.tasks)


def test_a_task_that_a_track_has_too_is_planned_once(capsys):
    _, out, _ = planned(capsys, "--track", "digits", "--task", "adversarial/digits", "--model", "digits_fnn")
    assert out.count("adversarial/digits") == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--track", "imagnet"), "unknown track 'imagnet'; choose one of cifar10, digits"),
        ((), "name a --model, which is run on its own track, or a --task or --track"),
        (("--track", "digits", "--scale", "cpu"), "--scale: expected embedded or medium or full (got cpu)"),
        (
            ("--paper", "dong", "--scale", "embedded"),
            "--scale: expected smoke or cpu or cpu-fashion or cpu-cifar10 or full (got embedded)",
        ),
        (("--paper", "dong", "--track", "digits"), "--paper: goes with"),
    ],
)
def test_what_cannot_be_planned_is_a_sentence(capsys, arguments, sentence):
    code, out, err = planned(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"assay: {sentence}")


def test_a_label_space_without_a_track_is_a_sentence(capsys, tmp_path, monkeypatch):
    (tmp_path / "moths_net.py").write_text(
        "import digits_models\n"
        "def net():\n"
        "    net, description = digits_models.linear()\n"
        "    return net, description | {'label_space': 'moths'}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    code, _, err = planned(capsys, "--model", "moths_net:net")
    assert code == 2
    assert "there is no track of its label space 'moths'; name tasks with --task" in err


def test_a_bad_track_names_its_file_and_key(tmp_path):
    shipped = shipped_folder("benchmarks") / "tracks" / "digits.yaml"
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(shipped.read_text()) | {"embedded": {"tasks": []}}))
    with pytest.raises(UserError, match=r"mine\.yaml.*embedded.*tasks"):
        read_track(path)


@pytest.mark.parametrize("task", sorted(shipped_specs()))
def test_every_shipped_task_states_its_headline_in_people_s_words(task):
    spec = read_spec(shipped_specs()[task])
    title = family(spec.family).headline_title(spec)
    assert spec.headline_key in spec.metric_keys()
    assert title
    assert title != spec.headline_key
