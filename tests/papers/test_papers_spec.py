"""Papers as data: the shipped ones are whole, and a slip is named by file and key."""

import pytest
import yaml

from assay.commands.listing import kind_of
from assay.common.errors import UserError
from assay.data.manifest import load_manifest
from assay.papers.plan import Reproduction
from assay.papers.spec.claims import names_in
from assay.papers.spec.measurements import AlignmentMeasurement, MetricMeasurement
from assay.papers.spec.paper import Paper, load_paper, shipped_papers, task_at
from assay.papers.spec.scales import SCALES, RecipeModel, ZooModel
from assay.tasks.families import load_spec
from assay.training.recipe_files import load_recipe

PAPERS = ("dong", "hamdi", "karkehabadi", "mangla", "munakata")


def document(**changes):
    """A paper of one table, one measurement and one claim."""
    base = {
        "schema": 1, "paper": "p", "title": "T", "authors": "A", "source": "S", "summary": "Y",
        "tables": [{"id": "t", "place": "Table 1", "what": "w", "unit": "%", "columns": ["x"], "rows": {"r": [58]}}],
        "measurements": {
            "m": {"kind": "metric", "text": "m", "model": "net", "task": "job", "metric": "{range}:robust",
                  "published": {"table": "t", "row": "r", "column": "x", "scale": 0.01}},
        },
        "claims": [{"id": "c", "place": "Table 1", "text": "s", "test": {"type": "occurs", "left": "m"}}],
        "scales": {
            "smoke": {
                "differs": [], "names": {"range": "b:0:1"}, "tasks": {"job": {"task": "verification/digits"}},
                "models": {"net": {"kind": "zoo", "model": "digits_fnn"}},
            },
        },
    }  # fmt: skip
    return base | changes


def load(tmp_path, text):
    path = tmp_path / "p.yaml"
    path.write_text(text if isinstance(text, str) else yaml.safe_dump(text))
    return load_paper(str(path))


def test_the_five_papers_ship():
    assert tuple(shipped_papers()) == PAPERS


@pytest.mark.parametrize("name", PAPERS)
def test_a_shipped_paper_is_whole(name):
    paper, home = load_paper(name)
    assert set(SCALES) <= set(paper.scales)
    assert paper.tables
    for scale, here in paper.scales.items():
        assert here.differs
        for run in here.tasks.values():
            assert load_spec(task_at(run.task, home))
        for model in here.models.values():
            if isinstance(model, RecipeModel):
                assert load_recipe(task_at(model.recipe, home))
        for measurement in paper.measured_at(scale).values():
            if measurement.published is not None:
                assert paper.published(measurement.published) is not None


@pytest.mark.parametrize("name", PAPERS)
def test_every_claim_of_trained_networks_has_three_seeds_at_cpu_scale(name):
    paper, _ = load_paper(name)
    for scale in set(paper.scales) - {"smoke", "full"}:
        for model in paper.scales[scale].models.values():
            assert isinstance(model, ZooModel) or len(model.seeds) >= 3


@pytest.mark.parametrize("name", PAPERS)
def test_a_claim_of_a_scale_is_measured_there_or_says_why_not(name):
    """The authors' archive and what only ``full`` has are said by the measurement's own absence."""
    paper, _ = load_paper(name)
    for scale in set(paper.scales) - {"full"}:
        measured = set(paper.measured_at(scale))
        testable = [
            claim.id
            for claim in paper.claims
            if claim.id not in paper.scales[scale].untested and set(names_in(claim.test)) <= measured
        ]
        assert len(testable) >= 2


@pytest.mark.parametrize("name", PAPERS)
def test_every_network_that_is_trained_has_its_alignment_on_images_of_its_labels(name):
    paper, home = load_paper(name)
    for scale in paper.scales:
        aligned = {
            each.model: load_manifest(each.data).label_space
            for each in paper.measured_at(scale).values()
            if isinstance(each, AlignmentMeasurement)
        }
        for model, found in paper.scales[scale].models.items():
            if isinstance(found, RecipeModel):
                test_images = load_recipe(task_at(found.recipe, home)).data.test.manifest
                assert aligned[model] == load_manifest(test_images).label_space
            assert isinstance(found, ZooModel) or model in aligned


def test_validate_knows_a_paper_and_names_its_slip(tmp_path):
    assert kind_of(shipped_papers()["dong"]) == "paper"
    path = tmp_path / "p.yaml"
    path.write_text(yaml.safe_dump(document(claims=[])))
    with pytest.raises(UserError, match=r"p\.yaml.*`claims`"):
        kind_of(path)


def test_a_published_figure_comes_in_our_unit(tmp_path):
    paper, _ = load(tmp_path, document())
    assert paper.published(paper.measurements["m"].published) == pytest.approx(0.58)


def test_names_of_a_scale_complete_the_metrics(tmp_path):
    paper, _ = load(tmp_path, document())
    found = paper.measured_at("smoke")["m"]
    assert isinstance(found, MetricMeasurement)
    assert found.metric == "b:0:1:robust"


CLAIM = {"id": "c", "place": "", "text": "", "test": {"type": "occurs", "left": "m"}}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"claims": [CLAIM | {"test": {"type": "occurs", "left": "n"}}]}, "no measurement 'n'"),
        ({"claims": [CLAIM | {"test": {"type": "python", "left": "m"}}]}, "claims.0.test"),
        ({"claims": [CLAIM | {"given": "x"}]}, "given"),
        ({"claims": 2 * document()["claims"]}, "stands there twice"),
        ({"surprise": 1}, "unknown key `surprise`"),
        ({"tables": []}, "there is no table 't'"),
        ({"tables": [document()["tables"][0] | {"rows": {"r": [1, 2]}}]}, "2 figures for 1 columns"),
        ({"tables": [document()["tables"][0] | {"rows": {"other": [1]}}]}, "no figure in row 'r'"),
    ],
)  # fmt: skip
def test_a_slip_is_named_with_its_file(tmp_path, change, complaint):
    with pytest.raises(UserError, match=r"p\.yaml") as caught:
        load(tmp_path, document(**change))
    assert complaint in str(caught.value)


def scale_with(**models):
    scale = document()["scales"]["smoke"]
    return {"scales": {"smoke": scale | {"models": scale["models"] | models}}}


def test_wrong_teachers_are_refused(tmp_path):
    pupil = {"kind": "recipe", "recipe": "smoke/regular", "seeds": [0, 1], "teacher": "net"}
    with pytest.raises(UserError, match="no recipe model without a teacher"):
        load(tmp_path, document(**scale_with(pupil=pupil)))
    teacher = {"kind": "recipe", "recipe": "smoke/regular", "seeds": [0]}
    with pytest.raises(UserError, match="lacks a seed"):
        load(tmp_path, document(**scale_with(teacher=teacher, pupil=pupil | {"teacher": "teacher"})))


def test_an_unknown_paper_or_scale_names_the_known(tmp_path):
    with pytest.raises(UserError, match="choose one of dong, hamdi"):
        load_paper("dongg")
    paper, home = load(tmp_path, document())
    with pytest.raises(UserError, match="choose one of smoke"):
        _ = Reproduction(paper, "cpu", home, tmp_path).scale


def test_a_paper_has_no_place_for_code():
    """Every leaf of the schema is a word, a number or a list of them; nothing is evaluated."""
    schema = str(Paper.model_json_schema())
    assert "callable" not in schema
    assert "import" not in schema
