"""Keys of recipes, and what papers measure, are written down: a file may be written otherwise and stay the same.

A change of ``keys.json`` is a change of what is trained or measured, and belongs into the CHANGELOG.
"""

import json
from pathlib import Path

import pytest

from assay.common.canonical import canonical_sha256
from assay.common.resources import shipped_folder
from assay.papers.plan import Reproduction
from assay.papers.spec.paper import load_paper, shipped_papers
from assay.training.recipe_files import load_recipe, shipped_recipes

KEYS = json.loads(Path(__file__).with_name("keys.json").read_text())
MOST_RECIPE_FILES = 15


def test_no_recipe_s_key_has_changed():
    assert {name: load_recipe(name).sha256 for name in shipped_recipes()} == KEYS["recipes"]


@pytest.mark.parametrize("name", list(shipped_papers()))
def test_a_paper_measures_what_it_measured_on_the_networks_that_it_had(name, tmp_path):
    paper, home = load_paper(name)
    for scale in paper.scales:
        plan = Reproduction(paper, scale, home, tmp_path)
        measured = {each: found.model_dump(mode="json") for each, found in plan.measurements.items()}
        networks = {net.title: net.sha256 for net in plan.nets}
        assert KEYS["papers"][f"{name}/{scale}"] == {
            "measurements": len(measured),
            "measured_sha256": canonical_sha256(measured),
            "networks": len(networks),
            "networks_sha256": canonical_sha256(networks),
        }


def test_every_shipped_recipe_is_named_by_a_paper_a_test_or_a_document():
    """Those of a paper are found by its models, others by their id in a text."""
    named = {
        getattr(model, "recipe", None)
        for name in shipped_papers()
        for scale in load_paper(name)[0].scales.values()
        for model in scale.models.values()
    }
    root = Path(__file__).parents[2]
    texts = [*(root / "tests").rglob("*.py"), *(root / "docs").rglob("*.md"), root / "README.md"]
    words = "\n".join(path.read_text(encoding="utf-8") for path in texts if path != Path(__file__))
    assert [name for name in shipped_recipes() if name not in named and name not in words] == []


def test_a_sweep_is_a_base_and_its_differences_and_not_a_file_per_network():
    files = list((shipped_folder("benchmarks") / "recipes").rglob("*.yaml"))
    assert len(files) <= MOST_RECIPE_FILES < len(shipped_recipes())
