from pathlib import Path

import numpy as np
import pytest
import trimesh
from hypothesis import given
from hypothesis import strategies as st

from assay.common.errors import UserError
from assay.tasks.srvr.mesh import build_mesh, load_mesh

TRIANGLE = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])
PENTAGON_OBJ = "mtllib gone.mtl\nusemtl gone\nv 0 0 0\nv 1 0 0\nv 1 1 0\nv .5 1.5 0\nv 0 1 0\nf 1 2 3 4 5\n"


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.mark.parametrize("suffix", ["obj", "ply", "stl", "off", "glb"])
def test_every_format_gives_the_same_surface(tmp_path, suffix):
    box = trimesh.creation.box(extents=(1, 2, 3))
    path = tmp_path / f"box.{suffix}"
    box.export(path)
    mesh = load_mesh(path)
    assert mesh.counts.kept == 12
    assert np.allclose(np.sort(np.ptp(mesh.vertices, axis=0)), [2 / 3, 4 / 3, 2])


def test_normalisation_centres_the_box_and_spans_minus_one_to_one():
    mesh = build_mesh(TRIANGLE * [4, 2, 1] + 7, [[0, 1, 2]])
    assert np.allclose(mesh.vertices.min(0), [-1, -0.5, 0])
    assert np.allclose(mesh.vertices.max(0), [1, 0.5, 0])


def test_unused_vertices_count_for_the_normalisation():
    mesh = build_mesh(np.vstack([TRIANGLE, [10.0, 0, 0]]), [[0, 1, 2]])
    assert np.ptp(mesh.vertices[:3, 0]) == pytest.approx(0.2)


def test_polygons_are_cut_into_triangles_and_missing_materials_do_not_matter(tmp_path):
    mesh = load_mesh(write(tmp_path / "pentagon.obj", PENTAGON_OBJ))
    edges = np.diff(mesh.corners[:, [0, 1, 2]], axis=1)
    area = np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1).sum() / 2
    assert mesh.counts.raw == 3
    assert area == pytest.approx(1.25 * (2 / 1.5) ** 2)


def test_a_polygon_of_an_off_file_is_cut_into_triangles(tmp_path):
    text = "OFF\n5 1 0\n0 0 0\n1 0 0\n1 1 0\n.5 1.5 0\n0 1 0\n5 0 1 2 3 4\n"
    assert load_mesh(write(tmp_path / "pentagon.off", text)).counts.kept == 3


def test_duplicate_reversed_and_degenerate_faces_are_removed_and_counted():
    vertices = np.vstack([TRIANGLE, TRIANGLE, [[0, 0, 1.0]]])
    faces = [[0, 1, 2], [2, 1, 0], [1, 2, 0], [3, 4, 5], [0, 0, 1], [0, 3, 1], [0, 1, 6]]
    counts = build_mesh(vertices, faces).counts
    assert (counts.raw, counts.duplicate, counts.degenerate, counts.kept) == (7, 3, 2, 2)


@given(st.integers(0, 10_000))
def test_cleaning_keeps_each_set_of_corners_once(seed):
    generator = np.random.default_rng(seed)
    vertices = generator.integers(0, 3, (8, 3)).astype(float)
    vertices[0], vertices[1], vertices[2] = [0, 0, 0], [1, 0, 0], [0, 2, 0]
    faces = np.vstack([[[0, 1, 2]], generator.integers(0, 8, (20, 3))])
    mesh = build_mesh(vertices, faces)
    sets = {frozenset(map(tuple, corners)) for corners in mesh.corners}
    areas = np.linalg.norm(
        np.cross(mesh.corners[:, 1] - mesh.corners[:, 0], mesh.corners[:, 2] - mesh.corners[:, 0]), axis=1
    )
    assert len(sets) == mesh.counts.kept == len(mesh.faces)
    assert (areas > 0).all()
    assert mesh.counts.raw == mesh.counts.kept + mesh.counts.duplicate + mesh.counts.degenerate


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no faces"),
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\n", "no faces"),
        ("v nan 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", "NaN"),
        ("v inf 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", "infinite"),
        ("v 1 1 1\nv 1 1 1\nv 1 1 1\nf 1 2 3\n", "zero area"),
        ("v 0 0 0\nv 1 0 0\nv 2 0 0\nf 1 2 3\n", "zero area"),
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n", "not a readable .obj"),
    ],
)
def test_a_bad_file_is_a_clear_error(tmp_path, text, says):
    with pytest.raises(UserError, match=says):
        load_mesh(write(tmp_path / "bad.obj", text))


def test_a_missing_file_and_an_unknown_suffix_are_clear_errors(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        load_mesh(tmp_path / "none.obj")
    with pytest.raises(UserError, match=r"use one of \.obj"):
        load_mesh(write(tmp_path / "shape.txt", ""))


def test_a_face_that_names_no_vertex_is_a_clear_error():
    with pytest.raises(UserError, match=r"outside 0\.\.2"):
        build_mesh(TRIANGLE, [[0, 1, 5]])


def test_zero_extent_is_a_clear_error():
    with pytest.raises(UserError, match="zero"):
        build_mesh(np.ones((3, 3)), [[0, 1, 2]])
