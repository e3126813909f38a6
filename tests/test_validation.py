"""YAML as its writers mean it, and complaints that speak of the document as it is written."""

from pathlib import Path
from typing import Annotated, Literal

import pytest
import yaml
from pydantic import Discriminator, Field, Tag

from assay.common.errors import UserError
from assay.common.validation import StrictModel, read_yaml, validate

REPOSITORY = Path(__file__).resolve().parents[1]
SHIPPED = sorted(
    path
    for folder in ("benchmarks", "data_manifests", "leaderboard", "suite", ".github")
    for path in (REPOSITORY / folder).rglob("*.y*ml")
)


def read(text: str, folder: Path) -> object:
    (folder / "a.yaml").write_text(f"value: {text}\n")
    return read_yaml(folder / "a.yaml")["value"]


@pytest.mark.parametrize(
    "text",
    ["2026-13-45", "!!timestamp x", "!!bool x", "!!int x", "!!float x", "{[a]: b}", "!!binary é", "[*gone]"],
)
def test_what_is_not_what_it_looks_like_is_one_sentence(text: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not valid YAML") as caught:
        read(text, tmp_path)
    assert "\n" not in str(caught.value)


def test_a_path_with_a_null_byte_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="correct the path"):
        read_yaml(tmp_path / "a\0.yaml")


# --- numbers


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1e-3", 0.001), ("5e-4", 0.0005), ("5E-4", 0.0005), ("1.e3", 1000.0), ("1e3", 1000.0), ("+1e+3", 1000.0),
        ("-2e2", -200.0), (".5e1", 5.0), ("1.5e-3", 0.0015), ("6.0e3", 6000.0),
    ],
)  # fmt: skip
def test_a_number_may_have_an_exponent(text: str, number: float, tmp_path: Path) -> None:
    found = read(text, tmp_path)
    assert (found, type(found)) == (number, float)


@pytest.mark.parametrize(
    "text",
    [
        "e5", "1e", "1e5x", "1e5.png", "1/255", "0.25 eps", "12e34f", "1e-", "1 e3", "2.5.1e3", "'1e-3'",
        "38e9435bb79ef8bc913a62f313e77a192285b9c0",
        f"{'1' * 30}e{'2' * 33}",  # a hash, which would be infinite
        "1e1000",
    ],
)  # fmt: skip
def test_what_is_no_finite_number_stays_text(text: str, tmp_path: Path) -> None:
    assert read(text, tmp_path) == text.strip("'")


@pytest.mark.parametrize(
    "text", ["1", "1.5", "0x10", "1_000", ".inf", "1.0e+3", "yes", "~", "2020-01-01", "1:30"]
)
def test_all_else_is_read_as_before(text: str, tmp_path: Path) -> None:
    assert read(text, tmp_path) == yaml.safe_load(text)


def test_no_shipped_file_means_anything_else_for_it() -> None:
    assert len(SHIPPED) > 100
    for path in SHIPPED:
        assert read_yaml(path) == yaml.safe_load(path.read_text()), path


# --- unions


class Round(StrictModel):
    """One of two shapes; its name is also the name of a key."""

    name: Literal["round"]
    round: float = Field(default=1.0, gt=0)


class Square(StrictModel):
    name: Literal["square", "rectangle"]
    sides: tuple[int, ...] = ()


Shape = Annotated[Round | Square, Field(discriminator="name")]
Sizes = Annotated[
    Annotated[dict[str, int], Tag("listed")] | Annotated[Literal["any"], Tag("word")],
    Discriminator(lambda value: "listed" if isinstance(value, dict) else "word"),
]


class Drawing(StrictModel):
    shape: Shape = Round(name="round")
    more: tuple[Shape, ...] = ()
    named: dict[str, Shape] = Field(default_factory=dict)
    maybe: Shape | None = None
    sizes: Sizes = "any"


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ({"shape": {"name": "round", "round": -1}}, "`shape.round`: Input should be greater than 0 (got -1)"),
        ({"shape": {"name": "square", "round": 1}}, "unknown key `shape.round`; remove it or correct its spelling"),
        ({"shape": {"name": "square", "sides": ["x"]}}, "`shape.sides.0`: Input should be a valid integer (got 'x')"),
        ({"more": [{"name": "round", "round": 0}]}, "`more.0.round`: Input should be greater than 0 (got 0)"),
        ({"named": {"a": {"name": "round", "round": 0}}}, "`named.a.round`: Input should be greater than 0 (got 0)"),
        ({"maybe": {"name": "round", "round": 0}}, "`maybe.round`: Input should be greater than 0 (got 0)"),
        ({"sizes": {"a": "x"}}, "`sizes.a`: Input should be a valid integer (got 'x')"),
        ({"sizes": "none"}, "`sizes`: Input should be 'any' (got 'none')"),
        ({"shape": {"name": "sqare"}}, "`shape`: unknown name 'sqare'; did you mean square?"),
        ({"shape": {"name": "zzz"}}, "`shape`: unknown name 'zzz'; choose one of round, square, rectangle"),
        ({"shape": {"name": 3}}, "`shape`: unknown name 3; choose one of round, square, rectangle"),
        ({"shape": {}}, "`shape`: write `{name: …}`, the name one of round, square, rectangle (got {})"),
        ({"shape": "square"}, "`shape`: write `{name: square}`, with its other keys beside the name (got 'square')"),
        ({"more": ["sqare"]}, "`more.0`: write `{name: …}`, the name one of round, square, rectangle (got 'sqare')"),
    ],
)  # fmt: skip
def test_a_union_is_spoken_of_as_the_document_writes_it(document: dict[str, object], complaint: str) -> None:
    with pytest.raises(UserError) as caught:
        validate(Drawing, document, "d.yaml")
    assert str(caught.value) == f"d.yaml: {complaint}"


def test_an_unknown_key_that_is_like_one_is_answered_with_it():
    with pytest.raises(UserError, match=r"unknown key `sizs`; .* \(did you mean `sizes`\?\)"):
        validate(Drawing, {"sizs": "any"}, "d.yaml")
