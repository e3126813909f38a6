"""Exact verification of attention robustness (AR) and classification robustness (CR) of one image.

Munakata et al., eqs. 1 and 2, over a range Theta of one to three semantic perturbation parameters. All
activation cells are listed, so the answer is exact: sup ai (the critical delta), the smallest margin, and
what share of Theta satisfies or violates each property.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from assay.tasks.verification.attention import heat_space
from assay.tasks.verification.audit import missed_points
from assay.tasks.verification.cells import product_cell
from assay.tasks.verification.network import PiecewiseNetwork
from assay.tasks.verification.perturbations import Theta
from assay.tasks.verification.problem import ProofProblem, ProofQuestion
from assay.tasks.verification.regions import Component, origin_component
from assay.tasks.verification.relative import Relative, relative
from assay.tasks.verification.subdivide import OutOfTimeError, subdivide
from assay.tasks.verification.table import CellQuantity, CellTable, join, tabulate

Verdict = Literal["robust", "violated", "unknown"]
_COVER = 1e-12  # relative tolerance of the sum of the cells' volumes


@dataclass(frozen=True)
class CellWitness:
    """A point strictly inside a cell, checked by running the network itself in float64.

    Attributes:
        theta: `(d,)` the point.
        value: ai (by automatic differentiation), or the margin (by a forward pass), there.
    """

    theta: Tensor
    value: float


@dataclass(frozen=True)
class PropertyFinding:
    """The answer for one property.

    Attributes:
        delta: threshold of AR; None for CR.
        verdict: robust, violated or unknown.
        satisfied: share of Theta in cells that satisfy the property throughout.
        violated: share in cells that satisfy it nowhere.
        partial: share in cells that satisfy it in part.
        component: the satisfying cells connected to the origin; None where the subdivision is not complete.
    """

    delta: float | None
    verdict: Verdict
    satisfied: float
    violated: float
    partial: float
    component: Component | None

    @property
    def name(self) -> str:
        """AR or CR."""
        return "CR" if self.delta is None else "AR"


@dataclass(frozen=True)
class Verification:
    """All that is known about one image.

    Attributes:
        label: the predicted label, which CR asks to keep.
        sup_ai: largest ai over the cells listed; the critical delta* where `complete`. None where no cell is
            listed.
        theta_sup: `(d,)` where it is taken (on a cell's border).
        min_margin: smallest margin over the cells listed.
        theta_min: `(d,)` where it is taken.
        ai_witness: confirmed point of large ai, None where none was confirmed.
        margin_witness: confirmed point of negative margin.
        cells: number of cells listed.
        covered: share of Theta in the cells listed.
        complete: all of Theta is covered and the audit found nothing missed.
        audit_missed: points of the audit that contradict the table.
        seconds: wall-clock time.
        findings: AR at each delta, then CR.
        table: the cells themselves.
        relative: ai against the norm of the image's own maps.
        above_sup: points tried where the network's own gradient shows more than `sup_ai`, since rounding in its sums
            breaks ties within pooling windows. AR is then never called robust.
    """

    label: int
    sup_ai: float | None
    theta_sup: Tensor | None
    min_margin: float | None
    theta_min: Tensor | None
    ai_witness: CellWitness | None
    margin_witness: CellWitness | None
    cells: int
    covered: float
    complete: bool
    audit_missed: int
    seconds: float
    findings: tuple[PropertyFinding, ...]
    table: CellTable | None
    relative: Relative
    above_sup: int = 0

    def __repr__(self) -> str:
        """The verdicts; cells and witnesses would fill pages."""
        said = [
            f"{'label kept' if each.delta is None else f'attention within {each.delta:g}'}: {each.verdict}"
            for each in self.findings
        ]
        return f"<label {self.label}; {'; '.join(said)}>"


def verify(network: PiecewiseNetwork, image: Tensor, question: ProofQuestion) -> Verification:
    """Decide AR at each delta and CR for one image.

    Args:
        network: from `read_network`.
        image: (C, H, W) in [0, 1], any float type; calculated in float64.
        question: the range, the labels and the thresholds.

    Raises:
        UserError: the image has another shape than the network reads, or is not finite; a patch is outside
            it.
    """
    start = time.monotonic()
    problem = ProofProblem.of(network, image, question)
    tables: list[CellTable] = []
    finished = False
    try:
        for table in _tables(problem, start + question.timeout_s):
            tables.append(table)
            if question.stop_when_violated and _ar_is_violated(problem, table):
                break
        else:
            finished = True
    except OutOfTimeError:
        pass
    if not tables:
        return _nothing_known(problem, time.monotonic() - start)
    return _conclude(problem, join(tables), finished, start)


def _tables(problem: ProofProblem, deadline: float) -> Iterator[CellTable]:
    for number, piece in enumerate(problem.question.theta.pieces):
        cell = product_cell([part.corners for part in piece.parts])
        forms = piece.image_forms(problem.image).flatten(1)[None]
        space = heat_space(problem.network.layers[0], piece.heat_forms(problem.maps).flatten(2))
        reading = CellQuantity(problem.network.layers, problem.labels, problem.label, space, number)
        for leaves in subdivide(problem.layers, cell, forms, deadline):
            yield from tabulate(leaves, reading)


def _conclude(problem: ProofProblem, table: CellTable, finished: bool, start: float) -> Verification:
    question = problem.question
    covered = float(table.volumes.sum()) / question.theta.volume
    missed = 0
    if finished:
        missed = missed_points(
            problem.layers, problem.image, question.theta, table, problem.label, question.seed
        )
    complete = finished and abs(covered - 1) <= _COVER and missed == 0
    highest, lowest = int(table.ai_max.argmax()), int(table.margin_min.argmin())
    result = Verification(
        label=problem.label,
        sup_ai=float(table.ai_max[highest]),
        theta_sup=table.theta_ai[highest],
        min_margin=float(table.margin_min[lowest]),
        theta_min=table.theta_margin[lowest],
        ai_witness=_confirm_ai(problem, table, min(question.deltas)),
        margin_witness=_confirm_margin(problem, table),
        cells=len(table),
        covered=covered,
        complete=complete,
        audit_missed=missed,
        seconds=0.0,
        findings=(),
        table=table,
        relative=relative(table, problem.norm, question.theta.volume),
        above_sup=_above_sup(problem, table) if finished and problem.network.pools else 0,
    )
    findings = tuple(_finding(result, table, delta, question.theta) for delta in (*question.deltas, None))
    return replace(result, findings=findings, seconds=time.monotonic() - start)


_WIDE = 1e-9  # share of Theta above which a cell holds points that are inside it despite rounding
_CHECKED = 8  # cells of largest ai to check the maps of, and as many random ones
_POINTS = 3  # in each


def _above_sup(problem: ProofProblem, table: CellTable) -> int:
    """Count points where the network's own gradient shows more ai than the table's largest.

    Where entries of a pooling window tie over a whole cell, the table lets the first pass. So does torch, but where its
    sums of equal terms differ in their last bits it follows this noise, which nothing here bounds.
    """
    generator = torch.Generator().manual_seed(problem.question.seed)
    wide = (table.volumes > _WIDE * problem.question.theta.volume).nonzero().flatten()
    by_ai = wide[table.ai_max[wide].argsort(descending=True)]
    chosen = torch.cat([by_ai[:_CHECKED], wide[torch.randperm(len(wide), generator=generator)[:_CHECKED]]])
    cells = table.cells[chosen.repeat(_POINTS)]
    weights = torch.rand(cells.used.shape, generator=generator, dtype=torch.float64) * cells.used
    points = (cells.points * weights[..., None]).sum(1) / weights.sum(1, keepdim=True)
    values = torch.tensor([problem.ai_at(point) for point in points], dtype=torch.float64)
    sup = float(table.ai_max.max())
    return int((values > sup + 1e-9 * (problem.norm + sup)).sum())


def _nothing_known(problem: ProofProblem, seconds: float) -> Verification:
    unknown = [
        PropertyFinding(delta, "unknown", 0.0, 0.0, 0.0, None) for delta in (*problem.question.deltas, None)
    ]
    nothing = (None, None, None, None, None, None)
    return Verification(
        problem.label, *nothing, 0, 0.0, False, 0, seconds, tuple(unknown), None, Relative(problem.norm)
    )


def _finding(result: Verification, table: CellTable, delta: float | None, theta: Theta) -> PropertyFinding:
    satisfied, violated = table.satisfied(delta), table.violated(delta)
    shares = [float(table.volumes[which].sum()) / theta.volume for which in (satisfied, violated)]
    component = origin_component(table, satisfied, theta.lower, theta.upper) if result.complete else None
    verdict = _cr_verdict(result, table) if delta is None else _ar_verdict(result, delta)
    return PropertyFinding(
        delta, verdict, shares[0], shares[1], max(0.0, result.covered - sum(shares)), component
    )


def _ar_verdict(result: Verification, delta: float) -> Verdict:
    if result.ai_witness is not None and result.ai_witness.value > delta:
        return "violated"
    assert result.sup_ai is not None
    proved = result.complete and result.above_sup == 0 and result.sup_ai <= delta - 1e-9 * (1 + delta)
    return "robust" if proved else "unknown"


def _cr_verdict(result: Verification, table: CellTable) -> Verdict:
    if result.margin_witness is not None:
        return "violated"
    assert result.min_margin is not None
    largest = float(table.margin_min.abs().max())  # rounding grows with the margins, in any unit
    proved = result.complete and result.min_margin > 1e-9 * largest
    return "robust" if proved else "unknown"


_TRIES = 8  # cells tried for a witness, worst first
_INWARD = (1e-6, 1e-3, 1e-1, 1.0)  # how far to step from the worst corner to the cell's centre


def _confirm_ai(problem: ProofProblem, table: CellTable, floor: float) -> CellWitness | None:
    """The confirmed point of largest ai near the worst corners; None if none exceeds the floor."""
    best: CellWitness | None = None
    scale = problem.norm
    for i in table.ai_max.topk(min(_TRIES, len(table))).indices.tolist():
        claimed = float(table.ai_max[i])
        for point in _inward(table, i, table.theta_ai):
            if claimed <= floor or (best is not None and best.value >= claimed - 1e-4 * (scale + claimed)):
                break
            value = problem.ai_at(point)
            if value <= claimed + 1e-9 * (scale + claimed) and (best is None or value > best.value):
                best = CellWitness(point, value)
    return best if best is not None and best.value > floor else None


def _confirm_margin(problem: ProofProblem, table: CellTable) -> CellWitness | None:
    worst = table.margin_min.topk(min(_TRIES, len(table)), largest=False).indices
    for i in worst[table.margin_min[worst] < 0].tolist():
        for point in _inward(table, i, table.theta_margin):
            value = problem.margin_at(point)
            if value < 0:
                return CellWitness(point, value)
    return None


def _inward(table: CellTable, i: int, corners: Tensor) -> Iterator[Tensor]:
    """Points strictly inside cell i, from near its worst corner to its centre."""
    centre = table.cells.centres[i]
    for step in _INWARD:
        yield torch.lerp(corners[i], centre, step)


def _ar_is_violated(problem: ProofProblem, table: CellTable) -> bool:
    """Whether these cells alone hold a confirmed violation of AR at every delta asked."""
    largest = max(problem.question.deltas)
    return bool((table.ai_max > largest).any()) and _confirm_ai(problem, table, largest) is not None
