"""Every knob is used: it is set in a YAML file that ships, or in an example on a page."""

import re
from functools import cache

import pytest

from assay.common.fields import StepSize
from assay.data.manifest import DataManifest
from assay.models.card_file import CardFile
from assay.saliency.settings import METHODS as SALIENCY_METHODS
from assay.tasks.families import families, family
from assay.training.recipe import Recipe
from documents_code import PAGES, REPOSITORY, blocks, prose
from spec_classes import models_within

SHIPPED = ("benchmarks", "data_manifests", "docs/cards")
KNOBS = sorted(
    {
        field.alias or name
        for model in models_within(
            *(family(each).spec_type for each in families()),
            *SALIENCY_METHODS.values(),
            Recipe,
            DataManifest,
            CardFile,
        )
        if model is not StepSize  # specs write it as text, such as `0.1 eps`
        for name, field in model.model_fields.items()
    }
)


@cache
def examples():
    """All YAML that ships, all code on the pages, and what stands between backticks."""
    files = [path.read_text() for folder in SHIPPED for path in (REPOSITORY / folder).rglob("*.yaml")]
    code = [block.body for page in PAGES for block in blocks(page)]
    inline = [text for page in PAGES for text in re.findall(r"`([^`]+)`", prose(page))]
    return "\n".join([*files, *code, *inline])


def is_set(knob, text):
    """Whether a value is given: ``knob: value``, ``"knob": value``, ``knob=value`` or ``--knob``."""
    return re.search(rf"\b{knob}\"?\s*[:=]|--{knob.replace('_', '-')}\b", text) is not None


@pytest.mark.parametrize("knob", KNOBS)
def test_every_knob_is_used_in_a_shipped_file_or_an_example(knob):
    assert is_set(knob, examples()), f"{knob}: give it an example on the page of its measure, or take it out"


@pytest.mark.parametrize("text", ["{steps: 3}", '{"steps": 3}', "f(steps=3)", "--steps 3"])
def test_a_knob_that_is_set_is_found(text):
    assert is_set("steps", text)


@pytest.mark.parametrize("text", ["substeps: 3", "steps", "it takes steps"])
def test_a_knob_that_is_only_spoken_of_is_not(text):
    assert not is_set("steps", text)
