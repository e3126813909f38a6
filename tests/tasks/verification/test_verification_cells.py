import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import ConvexHull

from assay.tasks.verification.cells import Cells, concatenate, product_cell, split, volumes

SEGMENT = torch.tensor([[-0.3], [0.9]], dtype=torch.float64)
TRIANGLE = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]], dtype=torch.float64)
STARTS = {
    "interval": [SEGMENT],
    "rectangle": [SEGMENT, SEGMENT * 2],
    "triangle": [TRIANGLE],
    "box": [SEGMENT, SEGMENT * 2, SEGMENT + 1],
    "prism": [TRIANGLE, SEGMENT],
    "prism with the triangle last": [SEGMENT, TRIANGLE],
}
VOLUMES = {
    "interval": 1.2,
    "rectangle": 1.2 * 2.4,
    "triangle": 0.5,
    "box": 1.2 * 2.4 * 1.2,
    "prism": 0.6,
    "prism with the triangle last": 0.6,
}


def cut_all(cells, normals, offsets):
    """Cut cells by planes one after the other, keeping both sides of every cell."""
    for name, (normal, offset) in enumerate(zip(normals, offsets, strict=True)):
        values = cells.points @ normal + offset
        crossing = (values > 0).any(1) & (values < 0).any(1)
        if crossing.any():
            halves = split(cells[crossing], values[crossing], torch.full((int(crossing.sum()),), name))
            cells = concatenate([cells[~crossing], *halves])
    return cells


def hull_volume(cells, i):
    points = cells.points[i, : int(cells.count[i])].numpy()
    return (
        float(points.max() - points.min())
        if cells.dimension == 1
        else ConvexHull(points, qhull_options="QJ").volume
    )


@pytest.mark.parametrize("name", STARTS)
def test_a_product_has_its_volume(name):
    cell = product_cell(STARTS[name])
    assert float(volumes(cell)[0]) == pytest.approx(VOLUMES[name], rel=1e-14)
    assert len(cell.points[0]) == int(cell.count[0])


@pytest.mark.parametrize("name", STARTS)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), cuts=st.integers(1, 12))
def test_cuts_lose_nothing(name, seed, cuts):
    generator = torch.Generator().manual_seed(seed)
    start = product_cell(STARTS[name])
    normals = torch.randn(cuts, start.dimension, generator=generator, dtype=torch.float64)
    offsets = torch.randn(cuts, generator=generator, dtype=torch.float64) * 0.3
    cells = cut_all(start, normals, offsets)
    assert float(volumes(cells).sum()) == pytest.approx(VOLUMES[name], rel=1e-12)
    values = torch.einsum("nkd,cd->nkc", cells.points, normals) + offsets
    assert bool(((values >= -1e-12).all(1) | (values <= 1e-12).all(1)).all()), (
        "a cell lies on both sides of a cut"
    )


@pytest.mark.parametrize("name", ["rectangle", "triangle", "box", "prism"])
def test_volumes_agree_with_qhull(name):
    generator = torch.Generator().manual_seed(5)
    start = product_cell(STARTS[name])
    normals = torch.randn(9, start.dimension, generator=generator, dtype=torch.float64)
    inside = start.centres + 0.1 * torch.randn(9, start.dimension, generator=generator, dtype=torch.float64)
    cells = cut_all(start, normals, -(normals * inside).sum(1))
    assert len(cells) > 10
    for i, volume in enumerate(volumes(cells).tolist()):
        if volume > 1e-9:
            assert volume == pytest.approx(hull_volume(cells, i), rel=1e-6)


@pytest.mark.parametrize("name", ["rectangle", "box"])
def test_cell_count_is_that_of_an_arrangement(name):
    """Lines (planes) in general position, all meeting inside: 1 + n + C(n,2) (+ C(n,3)) cells."""
    start = product_cell([SEGMENT * 1000] * (2 if name == "rectangle" else 3))
    generator = torch.Generator().manual_seed(1)
    normals = torch.randn(6, start.dimension, generator=generator, dtype=torch.float64)
    cells = cut_all(start, normals, torch.randn(6, generator=generator, dtype=torch.float64) * 0.1)
    assert len(cells) == {"rectangle": 1 + 6 + 15, "box": 1 + 6 + 15 + 20}[name]


def test_a_corner_on_the_cut_goes_to_both_sides():
    square = product_cell([torch.tensor([[0.0], [1.0]], dtype=torch.float64)] * 2)
    values = square.points[..., 0] - square.points[..., 1]
    below, above = split(square, values, torch.tensor([0]))
    assert below.count.tolist() == above.count.tolist() == [3]
    assert float(volumes(below)) == float(volumes(above)) == 0.5


@pytest.mark.parametrize("name", ["rectangle", "box"])
def test_a_sliver_is_kept(name):
    start = product_cell(STARTS[name])
    normal = torch.eye(start.dimension, dtype=torch.float64)[0]
    cells = cut_all(start, [normal, normal], torch.tensor([-0.5, -0.5 - 1e-14], dtype=torch.float64))
    assert len(cells) == 3
    assert 0 < float(volumes(cells).min()) < 1e-13


@pytest.mark.parametrize("name", ["rectangle", "box", "prism"])
def test_planes_through_one_corner_or_edge_lose_nothing(name):
    start = product_cell(STARTS[name])
    corner = start.points[0, 0]
    normals = torch.tensor(
        [[1.0, -1, 0], [1, -2, 0], [1, -0.5, 0], [1, -1, -1], [1, -1, 1]], dtype=torch.float64
    )
    normals = normals[:, : start.dimension]
    cells = cut_all(start, normals, -(normals @ corner))
    assert float(volumes(cells).sum()) == pytest.approx(VOLUMES[name], rel=1e-12)


def test_padding_does_not_change_a_cell():
    square = product_cell(STARTS["rectangle"])
    wide = Cells(
        torch.cat([square.points, square.points[:, -1:].expand(-1, 3, -1)], 1), square.count, square.facets
    )
    normal = torch.tensor([1.0, 0.3], dtype=torch.float64)
    for cells in (square, wide):
        below, above = split(cells, cells.points @ normal - 0.1, torch.tensor([0]))
        assert below.count.tolist() + above.count.tolist() == [3, 5]
        assert float(volumes(below) + volumes(above)) == pytest.approx(VOLUMES["rectangle"], rel=1e-14)
