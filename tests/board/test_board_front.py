"""The front page's three sentences: from the board's figures alone, and only what these allow."""

import numpy as np
import pytest

from assay.board.site.boards import BoardRow, TaskBoard
from assay.board.site.front import Link, front_sentences
from assay.board.site.overview import ShownTrack
from assay.board.site.studies import studies
from assay.board.study.trainings import LEAST_SEEDS, REGULAR, NetworkFigure, SweepMember, moves, training_of
from assay.board.submissions.register import AdmittedTask
from assay.models.trained import StatedTraining
from assay.training.recipe_files import load_recipe, shipped_recipes

DATA = "d" * 64
SOURCE = "trained by Assay: {}, 5,000 images of MNIST (recipe, data {})"


@pytest.fixture(autouse=True)
def _shipped_tasks():
    """The shipped tracks and tasks, in the place of the other tests' small task."""


def board_of(task, values, half=0.01):
    """A board of one figure per model."""
    admitted = AdmittedTask(rank_by="h", better="higher", units=1000, data_sha256=DATA, unit_ids_sha256=DATA)
    board = TaskBoard(task, "T", task.partition("/")[0], admitted, "h")
    metric = {"name": "h", "unit": "proportion", "series": None, "x": None, "x_label": None}
    metric |= {"title": f"Figure of {task}", "direction": "up"}
    for model, value in values.items():
        board.add(model, BoardRow([metric], [[value, value - half, value + half, 1000]], "re-run"))
    return board


def front_of(columns, models, half=0.01):
    boards = [board_of(task, values, half) for task, values in columns.items()]
    track = ShownTrack("mnist", "MNIST", "d", boards, (), [model["id"] for model in models], {})
    studied = dict(studies([track], models))
    return [text_of(sentence) for sentence in front_sentences([track], models, studied)]


def text_of(sentence):
    return "".join(f"[{part.text}]({part.href})" if isinstance(part, Link) else part for part in sentence)


def rows(clusters):
    return [{"id": f"m{at}", "model": f"M{at}", "cluster": each} for at, each in enumerate(clusters)]


def test_nothing_is_said_of_an_empty_board():
    assert all(sentence.startswith("Not enough yet") for sentence in front_of({}, []))
    few = rows(["a", "b", "c", "d"])
    columns = {
        task: {row["id"]: 0.1 * at for at, row in enumerate(few)} for task in ("adversarial/x", "srvr/y")
    }
    assert all(sentence.startswith("Not enough yet") for sentence in front_of(columns, few))


def test_what_is_shown_and_what_is_not():
    models = rows([f"c{at}" for at in range(12)])
    rising = {f"m{at}": 0.05 * at for at in range(12)}
    noise = dict(
        zip(rising, np.random.default_rng(3).permutation(list(rising.values())).tolist(), strict=True)
    )
    shown, missing, moved = front_of(
        {
            "adversarial/x": rising,
            "corruptions/y": {id: -value for id, value in rising.items()},
            "srvr/z": noise,
        },
        models,
    )
    assert shown == (
        "Shown to go together: better figure of adversarial/x with worse figure of corruptions/y on "
        "[MNIST](studies/mnist.html) (τ -1.00 [-1.00, -1.00], 12 clusters)."
    )
    assert missing == (
        "That networks which withstand attacks more do better, or worse, elsewhere is not shown of srvr on "
        "[MNIST](studies/mnist.html)."
    )
    assert moved.startswith("Not enough yet to say whether a training moves")


def test_two_figures_of_one_family_are_no_finding():
    models = rows([f"c{at}" for at in range(12)])
    rising = {f"m{at}": 0.05 * at for at in range(12)}
    shown, missing, _ = front_of({"adversarial/x": rising, "adversarial/y": rising}, models)
    assert shown.startswith("Not enough yet")
    assert missing.startswith("Not enough yet")


def seeds(gap, scatter=0.002, count=LEAST_SEEDS, half=0.01):
    """PGD's and the regular networks' corrupted accuracy; the sentence about them."""
    methods = [REGULAR] * count + ["PGD"] * count
    models = rows([SOURCE.format(method, DATA) for method in methods])
    values = {
        row["id"]: 0.7 + gap * (at >= count) + scatter * (at % count - 1) for at, row in enumerate(models)
    }
    attacked = {id: 0.1 + 5 * (value - 0.7) for id, value in values.items()}
    return front_of({"adversarial/x": attacked, "corruptions/y": values}, models, half)[2]


def test_a_training_that_moves_what_it_was_not_made_for():
    assert seeds(-0.1).startswith(
        "Trainings move what they were not made for: [PGD, 5,000 images of MNIST](models/m3.html), takes figure of "
        "corruptions/y from 0.7 to 0.6 (by -0.1 ["
    )
    assert "adversarial" not in seeds(-0.1)


@pytest.mark.parametrize(
    ("gap", "more", "said"),
    [
        (-0.1, {"count": LEAST_SEEDS - 1}, "Not enough yet"),
        (-0.01, {}, "No training is shown to move"),  # other pictures could move it as far
        (-0.1, {"scatter": 0.08}, "No training is shown to move"),  # other seeds could
    ],
)
def test_a_move_that_chance_could_make_is_not_told(gap, more, said):
    assert seeds(gap, **more).startswith(said)


def test_a_training_is_not_praised_for_what_it_was_made_for():
    title = "Adversarial training with the consistent loss"
    models = rows([SOURCE.format(method, DATA) for method in [REGULAR] * 3 + [title] * 3])
    values = {row["id"]: 0.1 + 0.5 * (at >= 3) for at, row in enumerate(models)}
    assert front_of({"consistency/y": values}, models)[2].startswith("Not enough yet")


@pytest.mark.slow
def test_false_moves_are_as_rare_as_stated():
    """Twenty trainings that move nothing: seeds scatter, and all meet the same units."""
    rng, told, trials = np.random.default_rng(0), 0, 300
    names = [SweepMember(method, "b", DATA) for method in [REGULAR, *map(str, range(20))]]
    for _ in range(trials):
        values = {name: 0.5 + 0.01 * rng.standard_normal(3) for name in names}
        drawn = {
            name: [NetworkFigure(value, value - 0.01, value + 0.01, 1000) for value in own]
            for name, own in values.items()
        }
        told += any(move.shown for move in moves({"y": drawn}))
    assert told / trials <= 0.08


def test_every_regular_recipe_is_called_so():
    """What the sentence about trainings holds the others against."""
    for name in shipped_recipes():
        recipe = load_recipe(name)
        if recipe.method.name == "regular" and "munakata" not in name:
            found = training_of(str(StatedTraining(recipe.title, DATA, None)))
            assert found is not None
            assert found.method == REGULAR, name
