"""Specs: strict, hashed by what changes the answer, and with every field on a side."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.common.errors import UserError
from assay.common.fields import IDENTITY, RUNTIME, StepSize, field_sides, parse_rational
from assay.tasks.families import families, family, load_spec, read_spec
from assay.tasks.task_spec import shipped_specs
from spec_classes import models_within

SPECS = models_within(*(family(name).spec_type for name in families()))


@pytest.mark.parametrize("model", SPECS, ids=lambda model: model.__name__)
def test_every_field_of_every_spec_is_on_a_side(model):
    undecided = [name for name, side in field_sides(model).items() if side not in (IDENTITY, RUNTIME)]
    assert not undecided, f"{model.__name__}: put {undecided} on the identity or the runtime side"


@given(st.integers(0, 10**6), st.integers(1, 10**6))
def test_a_rational_string_is_exact(numerator, denominator):
    assert parse_rational(f"{numerator}/{denominator}") == Fraction(numerator, denominator)


@pytest.mark.parametrize("text", ["", "a", "1/0", "1/2/3", True, None, [1]])
def test_what_is_no_number_is_refused(text):
    with pytest.raises(ValueError, match="expected a number"):
        parse_rational(text)


def test_a_step_is_absolute_or_relative_to_eps():
    eps = Fraction(4, 255)
    assert StepSize.model_validate("0.2 eps").at(eps) == float(Fraction(4, 1275))
    assert StepSize.model_validate("1/255").at(eps) == 1 / 255
    assert StepSize.model_validate("1/30*eps").at(eps) == float(eps / 30)


def test_every_shipped_spec_is_valid():
    assert "adversarial/imagenet20" in shipped_specs()
    for task in shipped_specs():
        assert load_spec(task).id == task


def write(tmp_path, **changes):
    lines = {
        "schema": "1",
        "family": "adversarial",
        "title": "t",
        "data": "digits",
        "eps": "[0, 1/10]",
        "attacks": "[{method: fgsm}]",
    }
    lines |= changes
    path = tmp_path / "my_task.yaml"
    path.write_text("".join(f"{key}: {value}\n" for key, value in lines.items() if value is not None))
    return path


def test_the_hash_ignores_prose_and_writing_but_not_what_changes_the_answer(tmp_path):
    plain = read_spec(write(tmp_path)).sha256
    assert read_spec(write(tmp_path, title="another")).sha256 == plain
    assert read_spec(write(tmp_path, eps="[0, 0.1]")).sha256 == plain
    assert read_spec(write(tmp_path, eps="[0, 1/11]")).sha256 != plain
    assert read_spec(write(tmp_path, seed="1")).sha256 != plain
    assert read_spec(write(tmp_path, norm="l2")).sha256 != plain


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"epsilon": "1"}, "unknown key `epsilon`"),
        ({"eps": None}, "key `eps` is missing"),
        ({"eps": "[-1/255]"}, "expected radii from 0 to 1"),
        ({"eps": "[2]"}, "expected radii from 0 to 1"),
        ({"eps": "[0.1, 1/10]"}, "a radius is given twice"),
        ({"eps": "4/255"}, "`eps`"),
        ({"eps": "[a]"}, "expected a number such as 4/255"),
        ({"schema": "2"}, "`schema`"),
        ({"family": "adverserial"}, "`family`: expected one of"),
        ({"attacks": "[]"}, "`attacks`"),
        ({"attacks": "[{method: fgms}]"}, "did you mean fgsm"),
        ({"attacks": "[{method: pgd, steps: 4}]"}, "step_size"),
        ({"attacks": "[{method: pgd, step_size: 0.1 eps}]"}, "key `attacks.0.steps` is missing"),
        ({"attacks": "[{method: pgd, steps: 0, step_size: 0.1 eps}]"}, "steps"),
        ({"attacks": "[{method: bim, steps: 4, step_size: 0}]"}, "greater than 0"),
        ({"attacks": "[{method: bim, steps: 4, step_size: 0.1 eps, momentum: 1}]"}, "has no momentum"),
        ({"attacks": "[{method: fgsm}, {method: fgsm}]"}, "two curves would be called 'fgsm'"),
        ({"attacks": "[{method: fgsm, norm: l3}]"}, "unknown key"),
        ({"seed": "-1"}, "`seed`"),
        ({"seed": "one"}, "`seed`"),
    ],
)
def test_a_wrong_spec_is_one_sentence_with_file_and_key(tmp_path, changes, complaint):
    path = write(tmp_path, **changes)
    with pytest.raises(UserError) as caught:
        read_spec(path)
    assert str(caught.value).startswith(str(path))
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a: [", "not valid YAML"),
        ("- a\n", "expected a mapping"),
        ("a: 1\na: 2\n", "given twice"),
        ("", "mapping"),
    ],
)
def test_what_is_no_mapping_is_refused(tmp_path, text, complaint):
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=complaint):
        read_spec(path)


def test_an_unknown_task_names_the_nearest():
    with pytest.raises(UserError, match="did you mean adversarial/imagenet20"):
        load_spec("adversarial/imagenet")
    with pytest.raises(UserError, match="no such file"):
        load_spec("nowhere.yaml")
