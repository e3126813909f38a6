"""What changes no decision changes no headline: one table of every family, every headline and every law."""

import random
from functools import cache
from pathlib import Path

import pytest

from assay.runner.assemble import stored_jobs
from assay.runner.plan import plan_jobs
from assay.runner.pool import LocalPool
from assay.runner.run import Runtime, run_jobs
from family_questions import QUESTIONS, answered, classes_of, figures_of, request
from variant_networks import variant

PAGES = Path(__file__).parents[1] / "docs" / "measures"
ONE_IMAGE = 0.01  # of all: an attack may take another way to one image in a hundred
LAWS = (
    "a factor 0.0001",
    "any factor",
    "a factor 10000",
    "a constant",
    "classes",
    "order",
    "chunks",
)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("laws")


@pytest.fixture(scope="module")
def plain(place, one_thread_for_all):
    """A question's figures as it stands, computed once."""
    return cache(lambda name: figures_of(*answered(name, place / name / "plain")))


@pytest.fixture(scope="module")
def one_thread_for_all():
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def any_factor(name):
    """Of [1e-4, 1e4], another one for each question."""
    return 10 ** random.Random(name).uniform(-4, 4)


def shuffled(units):
    """The units in another order, three at a time."""
    mixed = random.Random(0).sample(units, len(units))
    return [mixed[start : start + 3] for start in range(0, len(mixed), 3)]


def in_twenties(units):
    return [units[start : start + 20] for start in range(0, len(units), 20)]


def under(law, name, folder):
    """The figures of a question after a change that no decision notices."""
    network = QUESTIONS[name].network
    if law == "a constant":
        return figures_of(*answered(name, folder, model=variant(network, constant=7.0)))
    if law == "classes":
        order = random.Random(1).sample(range(classes_of(QUESTIONS[name])), classes_of(QUESTIONS[name]))
        return figures_of(*answered(name, folder, model=variant(network, order=order), order=order))
    if law == "order":
        return figures_of(*answered(name, folder, units=shuffled))
    if law == "chunks":
        return figures_of(*answered(name, folder, units=in_twenties, batch_size=7))
    factor = any_factor(name) if law == "any factor" else float(law.rpartition(" ")[2])
    return figures_of(*answered(name, folder, model=variant(network, factor=factor)))


def close(name, headline, before, after):
    """Whether two values of a headline are one: to rounding, and for attacks within one image in a hundred."""
    if name == "adversarial":
        largest = 255 / 10 if headline == "worst:mean_radius" else 1
        return abs(after - before) <= ONE_IMAGE * largest + 1e-9
    if name == "corruptions":
        return abs(after - before) <= ONE_IMAGE
    return after == pytest.approx(before, rel=2e-3, abs=1e-6)


@pytest.fixture(scope="module")
def changed(place, one_thread_for_all):
    """A question's figures under a law's change, computed once."""
    return cache(lambda name, law: under(law, name, place / name / law))


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("name", QUESTIONS)
def test_it_moves_no_headline(name, law, plain, changed):
    before, after = plain(name), changed(name, law)
    for headline in QUESTIONS[name].headlines:
        assert before[headline].value, f"{headline} is 0: nothing would be shown"
        assert close(name, headline, before[headline].value, after[headline].value), headline


def test_other_workers_move_no_headline(plain, place, monkeypatch):
    """All questions in one run of two workers, processes of their own."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    jobs = plan_jobs([request(name, place / name / "plain") for name in QUESTIONS])
    for job in stored_jobs(run_jobs(jobs, place / "out", Runtime(LocalPool(("cpu", "cpu"))))):
        name = job.document["task"]
        after = {metric.name: metric.value for metric in job.result(job.records()).metrics}
        for headline in QUESTIONS[name].headlines:
            assert close(name, headline, plain(name)[headline].value, after[headline]), headline


@pytest.mark.parametrize("name", [name for name, question in QUESTIONS.items() if question.paper])
def test_where_a_paper_s_own_figure_breaks_a_law_its_page_says_so(name, plain, changed):
    figure, after = QUESTIONS[name].paper, changed(name, "a factor 0.0001")
    assert after[figure].value != pytest.approx(plain(name)[figure].value, rel=0.05)
    page = (PAGES / f"{name.partition('-')[0]}.md").read_text()
    assert "depends on the scale of the logits" in page


def test_every_family_is_asked():
    from assay.tasks.families import families

    assert {name.partition("-")[0] for name in QUESTIONS} == set(families())
