import numpy as np
import pytest

from assay.common.errors import UserError
from assay.tasks.srvr.procedural import EMBEDDED_SHAPES, box, embedded_mesh, plate, revolve, tube


@pytest.mark.parametrize("name", sorted(EMBEDDED_SHAPES))
def test_every_embedded_shape_is_a_normalised_mesh(name):
    mesh = embedded_mesh(name)
    assert mesh.counts.kept > 100
    assert np.ptp(mesh.vertices, axis=0).max() == pytest.approx(2)
    assert 0 <= EMBEDDED_SHAPES[name].imagenet_index < 1000


def test_the_aeroplane_lies_level():
    extent = np.ptp(embedded_mesh("airplane").vertices, axis=0)
    assert extent[1] < 0.3 * min(extent[0], extent[2])


def test_an_unknown_shape_is_a_clear_error():
    with pytest.raises(UserError, match="choose from airplane, bench"):
        embedded_mesh("teapot")


def area_and_volume(part):
    vertices, faces = part
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    cross = np.cross(b - a, c - a)
    return np.linalg.norm(cross, axis=1).sum() / 2, abs((a * cross).sum() / 6)


def test_a_revolved_rectangle_is_a_cylinder():
    area, volume = area_and_volume(revolve([(0, 0), (1, 0), (1, 3), (0, 3)]))
    assert volume == pytest.approx(np.pi * 3, rel=0.01)
    assert area == pytest.approx(2 * np.pi + 2 * np.pi * 3, rel=0.01)


def test_a_straight_tube_has_the_area_of_its_mantle():
    path = np.stack((np.linspace(0, 2, 5), np.zeros(5), np.zeros(5)), axis=1)
    area, _ = area_and_volume(tube(path, 0.5, sides=64))
    assert area == pytest.approx(2 * np.pi * 0.5 * 2, rel=0.01)


def test_a_box_is_closed_with_its_faces_outwards():
    vertices, faces = box((0, 0, 0), (1, 2, 3))
    area, volume = area_and_volume((vertices, faces))
    assert area == pytest.approx(22)
    assert volume == pytest.approx(6)


def test_a_plate_is_closed_with_its_faces_outwards():
    outline = [(0, 0), (0, 3), (1, 3), (1, 0)]
    area, volume = area_and_volume(plate(outline, 0, 2))
    assert area == pytest.approx(22)
    assert volume == pytest.approx(6)
