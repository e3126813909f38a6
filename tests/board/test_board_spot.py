"""The spot check: which claims it draws, how often it catches what, and that it tries what the rank rests on."""

import random
import re
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from math import comb
from pathlib import Path

import pytest
from board_place import METADATA
from sent_runs import TASK, copy_of, forge, noise, stands

from assay.board.submissions import images
from assay.board.submissions.build import SubmitRequest, build_submissions
from assay.board.submissions.check import Board, check_submission, read_records
from assay.board.submissions.folder import open_folder
from assay.board.submissions.images import SavedImages
from assay.board.submissions.register import admit, read_register
from assay.board.submissions.tiers import rescore
from assay.models.zoo import load_model
from assay.runner.assemble import stored_jobs
from assay.runner.store import RunFolder
from assay.tasks.adversarial.objections import LOOKS, drawn, spot_check, too_many
from assay.tasks.families import load_spec
from assay.tasks.shared.images import DataSource
from assay.tasks.witness import ReferenceNetwork, SentRecords

README = Path(__file__).resolve().parents[2] / "leaderboard" / "README.md"
TENTH, FIFTH = Fraction(1, 10), Fraction(1, 5)
RADII = (Fraction(0), TENTH, FIFTH, Fraction(2, 5))


def draws(stood, named=None, times=4000):
    return [drawn(RADII, stood, named, random.Random(seed)) for seed in range(times)]


def test_a_claim_is_drawn_as_often_as_the_mean_radius_rests_on_it():
    """One image stands to 2/5, another to 1/10, a third nowhere: 4/5 of the mean radius is the first one's."""
    first = Counter(claims[0] for claims in draws([RADII[1:], (TENTH,), ()]))
    shares = {claim: count / 4000 for claim, count in first.items()}
    assert shares == pytest.approx(
        {(0, TENTH): 0.2, (0, FIFTH): 0.2, (0, Fraction(2, 5)): 0.4, (1, TENTH): 0.2}, abs=0.03
    )
    assert all(sorted(claim.row for claim in claims) == [0, 1] for claims in draws([RADII[1:], (TENTH,), ()]))


def test_what_stands_beyond_a_radius_at_which_it_falls_adds_nothing():
    assert {claim.eps for (claim,) in draws([(TENTH, Fraction(2, 5))], times=200)} == {TENTH}
    assert drawn(RADII, [(FIFTH,)], None, random.Random(0)) == []


def test_a_named_radius_is_the_one_that_is_tried_and_each_image_counts_alike():
    found = draws([RADII[1:], (TENTH, FIFTH), (TENTH,)], named=FIFTH)
    assert {claim.eps for claims in found for claim in claims} == {FIFTH}
    assert Counter(claims[0].row for claims in found)[0] / 4000 == pytest.approx(0.5, abs=0.03)


def caught(fell):
    """The probability that images, each of which falls with the same one, are found to be too many: exactly."""
    standing, found, looked = {0: 1.0}, 0.0, 0
    for count in LOOKS:
        after = Counter()
        for broken, weight in standing.items():
            for more in range(count + 1):
                chance = comb(count, more) * fell**more * (1 - fell) ** (count - more)
                after[broken + more] += weight * chance
        looked += count
        found += sum(weight for broken, weight in after.items() if too_many(broken, looked))
        standing = {broken: w for broken, w in after.items() if broken and not too_many(broken, looked)}
    return found


def rows_of_the_readme():
    """The rates that README states, and its table: by claimed share, how often what is overstated is caught."""
    text = README.read_text()
    power, luck = re.search(r"With ([\d.]+) % of what falls and ([\d.]+) % of what stands", text).groups()
    lines = re.findall(r"^\| (\d+) % \|(.*)\|$", text, re.MULTILINE)
    yield (
        float(power) / 100,
        float(luck) / 100,
        [
            (int(claimed) / 100, [float(cell.strip(" %")) / 100 for cell in cells.split("|")])
            for claimed, cells in lines
        ],
    )


def test_the_readme_says_how_often_what_is_caught():
    if not README.is_file():
        pytest.skip("the leaderboard's README is part of the checkout, not of an installed package")
    ((power, luck, rows),) = rows_of_the_readme()
    assert len(rows) == 4
    for claimed, stated in rows:
        shares = [points / claimed for points in (0, 0.05, 0.1, 0.2)]
        exact = [caught(share * power + (1 - share) * luck) for share in shares]
        assert stated == pytest.approx(exact, abs=0.006), claimed


@pytest.mark.parametrize(
    ("broken", "looked", "many"),
    [
        (1, 12, False),
        (2, 12, True),
        (2, 20, False),
        (3, 20, True),
        (4, 60, True),
        (5, 140, False),
        (6, 140, True),
    ],
)
def test_as_many_as_luck_explains_are_no_contradiction(broken, looked, many):
    assert too_many(broken, looked) == many


@pytest.fixture(scope="module")
def benchmarks(saving_task):
    return saving_task


@pytest.fixture
def submitted(saved_data, honest_run, tmp_path, monkeypatch):
    """Submit a run with other records: its folder, what it is checked against, and the run."""
    monkeypatch.setattr(images, "elsewhere", lambda look, sent: look(sent))

    def submitted_(change):
        run, board = copy_of(honest_run, tmp_path / "run"), tmp_path / "leaderboard"
        forge(run, change)
        admit(board, TASK, ())
        (tmp_path / "about.yaml").write_text(METADATA)
        (folder,) = build_submissions(SubmitRequest(run, tmp_path / "about.yaml"), board)
        against = Board(read_register(board))
        assert list(map(str, check_submission(folder, against))) == []
        return folder, against, run

    return submitted_


def at_the_largest_alone(record):
    """Where an image stands at 1/20, let it stand at 1/10 too: nothing else of the record is touched."""
    if not all(by_eps["1/20"]["correct"] for by_eps in record.values["attacks"].values()):
        return record
    forged = stands(record, noise)
    attacks = {
        series: {**by_eps, "1/10": forged.values["attacks"][series]["1/10"]}
        for series, by_eps in record.values["attacks"].items()
    }
    return replace(
        record,
        values=forged.values | {"attacks": attacks},
        files={name: forged.files[name] if "/1_10/" in name else data for name, data in record.files.items()},
    )


def test_a_mean_radius_that_was_raised_at_the_largest_radius_alone(submitted):
    """The radius is not drawn by how many stand there: a forger would raise the figure at one that is seldom drawn."""
    folder, _, run = submitted(at_the_largest_alone)
    files, _ = open_folder(folder)
    loaded = load_spec(TASK, ("save_adversarial",))
    sent = SentRecords(
        spec=loaded.spec, data=DataSource(loaded.spec.data, loaded.folder, ()),
        network=ReferenceNetwork("digits_fnn", None, _card(folder)), records=read_records(files, TASK, loaded.spec),
        files=run,
    )  # fmt: skip
    found = [spot_check(sent, "worst:mean_radius", str(seed)) for seed in range(8)]
    assert all(finding.contradicts for finding in found)
    assert {finding.where for finding in found} == {"radii up to 1/10"}


@pytest.mark.parametrize(
    ("network", "how"), [("digits_models:steep_logits", "broken"), ("digits_models:quantised", "blind")]
)
def test_a_network_that_hides_its_gradient_does_not_pass(honest_run, saved_data, network, how):
    """Logits so large that the cross-entropy has no slope, and steps that have none."""
    (job,) = stored_jobs(RunFolder.existing(honest_run))
    loaded = load_spec(TASK, ("save_adversarial",))
    card = load_model(network).info.model_dump(mode="json")
    sent = SentRecords(
        spec=loaded.spec, data=DataSource(loaded.spec.data, loaded.folder, ()),
        network=ReferenceNetwork(network, None, card), records=[stands(each, noise) for each in job.records()],
        files=honest_run,
    )  # fmt: skip
    found = spot_check(sent, "worst:robust_accuracy@1/10", "seed")
    assert found.contradicts
    assert len(getattr(found, how)) > 5


def _card(folder):
    from assay.results.document import read_results

    (result,) = read_results(folder)
    return result.model.model_dump(mode="json")


def test_the_figure_that_ranks_today_is_the_one_that_is_tried(submitted):
    """A register keeps what ranked when a task was admitted; the board ranks by the spec of today."""
    folder, against, run = submitted(lambda record: record)
    old = against.register.tasks[TASK].model_copy(update={"rank_by": "worst:robust_accuracy@1/20"})
    board = Board(against.register.model_copy(update={"tasks": {TASK: old}}))
    saved = SavedImages(run, "digits_fnn", salt="fixed")
    assert rescore(folder, board, (), saved).tasks[TASK].spot_check.eps == "1/10"


def test_smallest_radii_that_do_not_follow_from_the_outcomes(submitted):
    """Medians rest on them, and nothing else would notice."""

    def farther(record):
        smallest = dict.fromkeys(record.values["smallest_eps"])
        return replace(record, values=record.values | {"smallest_eps": smallest})

    with pytest.raises(Exception, match=r"smallest_eps"):
        submitted(farther)
