"""What a user may get wrong: one sentence, before any work."""

import pytest

from assay.cli import main
from assay.common.errors import UserError

HEAD = "schema: 1\nfamily: corruptions\ntitle: t\ndata: digits\n"


@pytest.fixture
def refused(tmp_path, capsys):
    """The complaint about a spec."""

    def ask(lines):
        (tmp_path / "c.yaml").write_text(HEAD + lines)
        with pytest.raises(SystemExit) as error:
            main(["validate", str(tmp_path / "c.yaml")])
        assert error.value.code == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        return said

    return ask


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ("severities: [1, 6]", "severities: expected whole numbers from 1 to 5, found 6"),
        ("severities: [0]", "severities: expected whole numbers from 1 to 5, found 0"),
        ("severities: [3, 1]", "severities: expected ascending numbers, each once"),
        ("severities: []", "severities: name at least one, from 1 to 5"),
        ("corruptions: [gausian_noise]", "unknown corruption 'gausian_noise'; did you mean gaussian_noise?"),
        ("corruptions: [rain]", "unknown corruption 'rain'; did you mean "),
        ("corruptions: [fog, fog]", "corruptions: name each once"),
        ("corruptions: []", "corruptions: name at least one"),
        (
            "pictures: plain",
            "corruptions: `pictures: plain` takes the data as they are; write `corruptions: []`",
        ),
        ("classes: [3, 3]", "classes: expected ascending numbers, each once"),
        ("arg_max: subset", "arg_max: `subset` needs `classes`"),
        ("corruptions: [saturate]\nbaseline: alexnet", "baseline: alexnet's errors are known of the common"),
        ("headline: fog:accuracy@6", "headline: this spec gives no figure 'fog:accuracy@6'"),
    ],
)
def test_a_spec_that_makes_no_sense(refused, lines, complaint):
    assert complaint in refused(lines)


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        (
            "corruptions: [snow]\nsettings: cifar-10-c",
            "snow of cifar-10-c needs pictures of 16 x 16 pixels, .* takes 8 x 8; leave it out",
        ),
        ("corruptions: [contrast]", "contrast of imagenet-c needs pictures of 32 x 32 pixels"),
        (
            "corruptions: [saturate]\nsettings: cifar-10-c",
            "saturate changes no grey picture, and .* takes grey",
        ),
    ],
)
def test_a_corruption_that_cannot_be_made_of_the_networks_pictures(run_digits, lines, complaint):
    with pytest.raises(UserError, match=complaint):
        run_digits(lines)


def test_small_frost_pictures_are_for_small_pictures():
    from assay.tasks.corruptions.sets import check_size
    from assay.tasks.corruptions.spec import CorruptionsSpec

    spec = CorruptionsSpec.model_validate(
        {"schema": 1, "family": "corruptions", "title": "t", "data": "d", "settings": "cifar-10-c"}
    )
    check_size(spec, (3, 32, 32), "m")
    with pytest.raises(
        UserError, match=r"frost of cifar-10-c is for pictures below 63 pixels, m takes 224 x 224"
    ):
        check_size(spec, (3, 224, 224), "m")


def test_labels_of_another_kind_are_no_failure_but_not_applicable(run_digits, monkeypatch):
    from assay.tasks.corruptions.task import TASK

    found = run_digits(limit=1)
    other = found.job.model.info.model_copy(update={"label_space": "imagenet-1k", "num_classes": 1000})
    assert "the data's labels are digits" in TASK.not_applicable(found.spec, other, found.job.data)
