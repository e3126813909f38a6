"""A pool that fills passes with rows that may prove idle: fuller passes, and what one attempt after another gives."""

from dataclasses import fields
from fractions import Fraction
from typing import Any

import pytest
import torch
from test_attack_run import net_and_batch
from torch import Tensor

from assay.attacks import pool
from assay.attacks.attempts import AttemptOutcomes, Attempts, Queue
from assay.attacks.images import AttackedImages, AttackResult
from assay.attacks.methods import attack_of
from assay.attacks.nearest import nearest
from assay.attacks.run import run_at_radii, run_attack, starts
from assay.attacks.settings import AttackSettings

BATCH = 8
METHODS: list[tuple[str, dict[str, Any]]] = [
    ("pgd", {"step_size": "0.3 eps", "steps": 6, "restarts": 4}),
    ("apgd", {"steps": 6, "restarts": 3}),
    ("apgd_t", {"steps": 6, "restarts": 5, "loss": "margin"}),
    ("square", {"steps": 25, "restarts": 2, "loss": "margin"}),
    ("fab", {"steps": 4, "restarts": 2, "loss": "margin"}),
    ("fab_t", {"steps": 4, "restarts": 4, "loss": "margin"}),
]
RADII = [Fraction(1, 150), Fraction(1, 40), Fraction(1, 20)]


@pytest.fixture
def fill(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes the CPU's pools fill their passes, as a device's do."""
    return lambda: monkeypatch.setattr(pool, "fills_passes", lambda _device: True)


def asked(seed: int = 0, count: int = 16, **changes: Any) -> AttackedImages:
    net, images, labels = net_and_batch(count)
    seeds = range(100 * seed, 100 * seed + count)
    return AttackedImages.of(net, images, labels, seeds, batch_size=BATCH, **changes)


def same(one: AttackResult, other: AttackResult, rows: Tensor | slice = slice(None)) -> bool:
    """Whether all is equal; iterates but for rounding, which depends on the batch."""
    equal = [
        torch.equal(getattr(one, each.name)[rows], getattr(other, each.name)[rows])
        for each in fields(AttackResult)
        if each.name != "images"
    ]
    return all(equal) and bool((one.images - other.images)[rows].abs().amax() < 1e-9)


@pytest.mark.parametrize("early_stop", [True, False])
@pytest.mark.parametrize(("method", "parameters"), METHODS)
def test_starts_and_targets_that_share_passes_give_what_one_after_another_gives(
    fill: Any, method: str, parameters: dict[str, Any], early_stop: bool
) -> None:
    attack, images = attack_of(method, **parameters), asked(early_stop=early_stop)
    before = run_attack(attack, images, RADII[1])
    assert before.success.any()
    fill()
    assert same(run_attack(attack, images, RADII[1]), before)


@pytest.mark.parametrize("until_first", [True, False])
@pytest.mark.parametrize(("method", "parameters"), METHODS)
def test_radii_that_share_a_pool_give_what_one_after_another_gives(
    fill: Any, method: str, parameters: dict[str, Any], until_first: bool
) -> None:
    attack = attack_of(method, **parameters)
    at_radii = [asked(seed) for seed in range(3)]
    alone = [run_attack(attack, images, eps) for images, eps in zip(at_radii, RADII, strict=True)]
    fill()
    together = run_at_radii(attack, at_radii, RADII, until_first=until_first)
    stands = torch.ones(len(at_radii[0]), dtype=torch.bool)
    for one, other in zip(alone, together, strict=True):
        assert torch.equal(other.known, stands)
        assert same(one, other.result, stands)
        stands = stands & ~one.success if until_first else stands
    assert until_first == (not bool(stands.all()))


@pytest.mark.parametrize("method", ["fab", "fab_t"])
def test_the_nearest_images_of_all_starts_are_those_of_one_start_after_another(
    fill: Any, method: str
) -> None:
    attack = attack_of(method, steps=4, restarts=3, loss="margin")
    before = nearest(attack, asked(), RADII[1])
    fill()
    assert same(nearest(attack, asked(), RADII[1]), before)


def passes_of(monkeypatch: pytest.MonkeyPatch, attack: AttackSettings) -> list[tuple[int, bool]]:
    """The rows of each pass of a pool of three radii, and whether rows were left that waited for it."""
    seen: list[tuple[int, bool]] = []
    take = Queue.take

    def noted(queue: Queue, room: int, live: Tensor) -> Tensor:
        taken = take(queue, room, live)
        waiting = queue._waiting
        left = bool((~queue._outcomes.idle(waiting)).any()) or queue._next < queue._attempts.positions
        seen.append((len(live) + len(taken), left))
        return taken

    monkeypatch.setattr(Queue, "take", noted)
    run_at_radii(attack, [asked(seed) for seed in range(3)], RADII, until_first=True)
    monkeypatch.setattr(Queue, "take", take)
    return [(rows, left) for rows, left in seen if rows]


def test_every_pass_is_full_until_no_row_waits(fill: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    attack = attack_of("pgd", step_size="0.3 eps", steps=6, restarts=4)
    before = passes_of(monkeypatch, attack)
    fill()
    after = passes_of(monkeypatch, attack)
    assert {rows for rows, left in after if left} == {BATCH}
    assert sum(rows for rows, _ in after) >= 0.9 * BATCH * len(after)
    assert len(after) < len(before)


def test_a_later_start_that_ends_first_does_not_take_an_earlier_one_s_place(
    fill: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a planted fault, by which the last success counts, the outcome of the starts is another."""
    attack, images = attack_of("pgd", step_size="0.3 eps", steps=6, restarts=4), asked()
    before = run_attack(attack, images, RADII[1])
    fill()

    def forgetful(outcomes: AttemptOutcomes, rows: Tensor) -> Tensor:
        return torch.zeros_like(rows, dtype=torch.bool)

    note = AttemptOutcomes.note

    def last_wins(outcomes: AttemptOutcomes, live: Any, success: Tensor) -> None:
        outcomes._fell_at.fill_(outcomes.attempts.positions)
        note(outcomes, live, success)

    monkeypatch.setattr(AttemptOutcomes, "idle", forgetful)
    assert same(
        run_attack(attack, images, RADII[1]), before
    )  # rows that are idle are left out of the outcome
    monkeypatch.setattr(AttemptOutcomes, "note", last_wins)
    assert not same(run_attack(attack, images, RADII[1]), before)


def test_rows_of_images_in_no_other_row_come_first() -> None:
    images = asked(count=3)
    attempts = Attempts.of([[images] * 2], [True, False])
    queue = Queue(attempts, AttemptOutcomes(attempts), fill=True)
    nothing = torch.zeros(0, dtype=torch.int64)
    assert queue.take(2, nothing).tolist() == [0, 1]
    assert queue.take(2, torch.tensor([0])).tolist() == [
        2,
        4,
    ]  # image 1 ended; its next start goes before image 0's
    assert queue.take(5, torch.tensor([0, 2, 4])).tolist() == [3, 5]


def test_every_start_is_aimed_once_whatever_the_radii(fill: Any) -> None:
    attack = attack_of("apgd_t", steps=6, restarts=3, loss="margin")
    images = asked()
    aims = torch.stack([start.targets for start in starts(attack, images)], 1)
    again = torch.stack([start.targets for start in starts(attack, images, aims)], 1)
    assert torch.equal(aims, again)
