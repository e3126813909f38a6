"""Polygons keep their own outline, whatever the file they come from."""

import hashlib

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from assay.common.errors import UserError
from assay.tasks.srvr.mesh import conversions_of, load_mesh
from assay.tasks.srvr.mesh_text import tidied_obj
from assay.tasks.srvr.polygons import ear_clipped, fan
from assay.tasks.srvr.shapes import load_shapes, open_shapes

ARROW = np.array([[0, 0, 0], [2, 0, 0], [2, 2, 0], [1, 0.3, 0], [0, 2, 0]])
ARROW_AREA = 2.3
TRIANGLE = "v 0 0 0\nv 1 0 0\nv 0 1 0\n"


def normals(points, triangles):
    """(M, 3): each triangle's normal, as long as twice its area."""
    corners = points[triangles]
    return np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])


def area(points, triangles):
    return np.linalg.norm(normals(points, triangles), axis=1).sum() / 2


def shoelace(flat):
    """The area of a simple polygon (N, 2), by another formula."""
    x, y = flat.T
    return abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def inside(point, flat):
    """Whether a point lies in a polygon (N, 2): by the number of edges that a ray to the right crosses."""
    ahead = np.roll(flat, -1, axis=0)
    spans = (flat[:, 1] > point[1]) != (ahead[:, 1] > point[1])
    with np.errstate(divide="ignore", invalid="ignore"):
        meets = flat[:, 0] + (point[1] - flat[:, 1]) * (ahead[:, 0] - flat[:, 0]) / (ahead[:, 1] - flat[:, 1])
    return bool((spans & (meets > point[0])).sum() % 2)


@st.composite
def stars(draw):
    """A polygon around the origin, seldom convex: a radius at each of some angles."""
    radii = draw(st.lists(st.floats(0.2, 2), min_size=4, max_size=12))
    angles = np.arange(len(radii)) * 2 * np.pi / len(radii)
    return np.array(radii)[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def rotation(seed):
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return q


@given(stars(), st.integers(0, 100), st.integers(0, 11))
def test_the_triangles_cover_the_polygon_once_and_nothing_else(flat, seed, first):
    flat = np.roll(flat, first, axis=0)
    points = np.pad(flat, ((0, 0), (0, 1))) @ rotation(seed).T
    triangles = ear_clipped(points)
    if triangles is None:
        triangles = fan(len(flat))
    assert area(points, triangles) == pytest.approx(shoelace(flat), rel=1e-6)
    centres = flat[triangles].mean(axis=1)
    solid = np.linalg.norm(normals(points, triangles), axis=1) > 1e-6
    assert all(inside(centre, flat) for centre in centres[solid])
    facing = normals(points, triangles) @ normals(points, fan(len(flat))).sum(axis=0)
    assert (facing > -1e-9).all(), "a triangle is turned over"


@given(st.integers(4, 12), st.integers(0, 100))
def test_a_convex_polygon_stays_the_fan_that_it_was(corners, seed):
    angles = np.arange(corners) * 2 * np.pi / corners
    points = np.stack([np.cos(angles), np.sin(angles), np.zeros(corners)], axis=1) @ rotation(seed).T
    assert ear_clipped(points) is None


@given(stars())
def test_a_fan_is_kept_exactly_where_it_covers_the_polygon(flat):
    points = np.pad(flat, ((0, 0), (0, 1)))
    covered = area(points, fan(len(flat)))
    assume(not np.isclose(covered, shoelace(flat), rtol=1e-4) or covered == pytest.approx(shoelace(flat)))
    assert (ear_clipped(points) is None) == (covered == pytest.approx(shoelace(flat), rel=1e-6))


def test_a_polygon_without_area_is_left_alone():
    assert ear_clipped(np.array([[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [3, 0, 0]])) is None


def obj(points, faces="f 1 2 3 4 5\n"):
    return "".join(f"v {x} {y} {z}\n" for x, y, z in points) + faces


FILES = {
    "obj": obj(ARROW),
    "OBJ with normals": obj(ARROW, "vn 0 0 1\nf 1//1 2//1 3//1 4//1 5//1\n"),
    "obj, counted backwards over two lines": obj(ARROW, "f -5 -4 -3\\\n-2 -1\n"),
    "obj of Windows": obj(ARROW).replace("\n", "\r\n"),
    "off": "OFF # a comment\n5 1 0\n" + "\n".join("%g %g %g" % tuple(p) for p in ARROW) + "\n5 0 1 2 3 4 255 0 0\n",
    "off in one line": "OFF 5 1 0\n" + "\n".join("%g %g %g" % tuple(p) for p in ARROW) + "\n5 0 1 2 3 4\n",
    "ply": "ply\nformat ascii 1.0\nelement vertex 5\nproperty float x\nproperty float y\nproperty float z\n"
    "element face 1\nproperty list uchar int vertex_indices\nend_header\n"
    + "\n".join("%g %g %g" % tuple(p) for p in ARROW) + "\n5 0 1 2 3 4\n",
}  # fmt: skip


@pytest.mark.parametrize("case", FILES)
def test_a_concave_polygon_of_every_format_keeps_its_notch(tmp_path, case):
    path = tmp_path / f"a.{case[:3].lower()}"
    path.write_bytes(FILES[case].encode())
    mesh = load_mesh(path)
    assert area(mesh.vertices, mesh.faces) == pytest.approx(
        ARROW_AREA, rel=1e-6
    )  # 2 x 2 already: nothing is scaled
    assert [conversion.value for conversion in conversions_of(path)] == ["ears"]


def test_a_quadrilateral_with_a_notch_is_cut_too(tmp_path):
    path = tmp_path / "a.obj"
    path.write_text(
        "v 0 0 0\nv 2 2 0\nv 0 .3 0\nv -2 2 0\nf 2 3 4 1\n"
    )  # from corner 2 a fan leaves the notch
    mesh = load_mesh(path)
    assert area(mesh.vertices, mesh.faces) == pytest.approx(0.6 / 4 * 1, rel=1e-6)


READ = {
    "comments": "# all\n v 0 0 0 # one\nv 1 0 0 # 2\nv 0 1 0 #3\nf 1 2 3#4\nf 1 2 3 # 1\n",
    "tabs": "v\t0 0 0\nv\t1 0 0\nv\t0 1 0\nf\t1\t2\t3\n",
    "counted backwards": TRIANGLE + "f -3 -2 -1\n",
    "counted backwards with textures": TRIANGLE + "vt 0 0\nf -3/-1 -2/-1 -1/-1\n",
    "two corners": TRIANGLE + "f 1 2\nf 1 2 3\n",
    "a bare word": TRIANGLE + "g\nf 1 2 3\nf\n",
}


@pytest.mark.parametrize("case", READ)
def test_what_trimesh_refuses_or_misreads_gives_the_one_triangle(tmp_path, case):
    path = tmp_path / "a.obj"
    path.write_text(READ[case])
    mesh = load_mesh(path)
    assert mesh.counts.kept == 1
    assert [conversion.value for conversion in conversions_of(path)] == ["tidied"]


def test_numbers_that_count_backwards_count_from_where_they_stand(tmp_path):
    path = tmp_path / "a.obj"
    path.write_text(TRIANGLE + "f -3 -2 -1\nv 0 0 1\nv 1 0 1\nv 0 1 1\nf -3 -2 -1\n")
    mesh = load_mesh(path)
    assert mesh.counts.kept == 2
    assert sorted(mesh.corners[:, 0, 2]) == [-1, 1]


@pytest.mark.parametrize(("face", "says"), [("f 0 1 2", "the vertex 0"), ("f -4 -2 -1", "the vertex -4")])
def test_a_vertex_before_the_first_is_an_error(tmp_path, face, says):
    path = tmp_path / "a.obj"
    path.write_text(f"{TRIANGLE}{face}\n")
    with pytest.raises(
        UserError, match=f"{says}, but an .obj file counts from 1, or backwards from -1 to -3"
    ):
        load_mesh(path)


@pytest.mark.parametrize(
    "text", ["OFF\n", "OFF\n5 1\n", "OFF\nx y z\n", "OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n4 0 1 2 7\n"]
)
def test_a_broken_off_file_is_an_error(tmp_path, text):
    path = tmp_path / "a.off"
    path.write_text(text)
    with pytest.raises(UserError, match=r"not a readable \.off file|no faces"):
        load_mesh(path)


@pytest.mark.parametrize(
    "text", [TRIANGLE + "f 1 2 3\n", "o x\r\nv 0 0 0\r\nv 1 0 0\r\nv 0 1 0\r\nf 1/1 2/1 3/1\r\n"]
)
def test_a_plain_file_is_left_to_trimesh_to_the_byte(tmp_path, text):
    assert tidied_obj(text, "a.obj").text is text
    (tmp_path / "a.obj").write_bytes(text.encode())
    assert conversions_of(tmp_path / "a.obj") == []


MANIFEST = """schema: 1
kind: shapes
name: mine
title: Mine
label_space: mine
num_classes: 2
licence: mine
source: drawn
get: ask
location: {folder: meshes}
layout: {type: mesh-folder, class_in: folder, labels: {a: 0, b: 1}}
files: unlisted
"""


def test_a_set_with_such_meshes_counts_them_and_has_another_hash_than_before(tmp_path):
    (tmp_path / "mine.yaml").write_text(MANIFEST)
    for name, text in {
        "a/plain": TRIANGLE + "f 1 2 3\n",
        "b/arrow": obj(ARROW),
        "b/words": READ["comments"],
    }.items():
        path = tmp_path / "meshes" / f"{name}.obj"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    manifest = load_shapes(str(tmp_path / "mine.yaml"))
    opened = open_shapes(manifest)
    assert sorted(opened.facts.converted.values()) == [1, 1]
    assert any("ear clipping" in words for words in opened.facts.converted)
    hashes = {
        path.relative_to(tmp_path / "meshes").as_posix(): digest(path) for path in tmp_path.glob("meshes/*/*")
    }
    assert opened.sha256 != manifest.identity_sha256(hashes)
    assert open_shapes(manifest).sha256 == opened.sha256  # from memory
    for name in ("arrow", "words"):
        path = tmp_path / "meshes" / "b" / f"{name}.obj"
        path.write_text(TRIANGLE + "f 3 2 1\n" + "\n" * (name == "words"))
    hashes = {
        path.relative_to(tmp_path / "meshes").as_posix(): digest(path) for path in tmp_path.glob("meshes/*/*")
    }
    assert open_shapes(manifest).sha256 == manifest.identity_sha256(hashes), "plain meshes keep their hash"


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_cases_of_the_shared_folder(shared):
    folder = shared / "cases" / "meshes"
    concave, comment = (load_mesh(folder / f"{name}.obj") for name in ("concave", "comment"))
    assert area(concave.vertices, concave.faces) == pytest.approx(ARROW_AREA, rel=1e-6)
    assert comment.counts.kept == 12
