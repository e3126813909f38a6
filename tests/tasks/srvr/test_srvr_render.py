import math

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image
from torch.utils._python_dispatch import TorchDispatchMode

from assay.tasks.srvr.camera import camera, place
from assay.tasks.srvr.mesh import build_mesh, load_mesh
from assay.tasks.srvr.rasteriser import expand, project, visible_faces
from assay.tasks.srvr.render import RenderSettings, Surface, render, render_shapes

VIEW = ("azimuth_deg", "elevation_deg")
TAN_30 = math.tan(math.radians(30))
SILHOUETTE = 0.1
"""Between JPEG noise and the least covered pixel (a quarter of intensity 0.5)."""


def view(*angles):
    return camera(place(VIEW, torch.tensor(angles, dtype=torch.float64)))


@pytest.mark.parametrize("shape", ["cup", "rifle", "chair"])
def test_renders_agree_with_the_published_ones(shared_srvr, shape):
    files = sorted((shared_srvr / "reference" / shape).glob("*.jpg"))
    angles = [tuple(map(float, reversed(file.stem.split("_")))) for file in files]
    published = torch.stack([torch.tensor(np.asarray(Image.open(f).convert("L")) / 255.0) for f in files])
    surface = Surface.from_mesh(load_mesh(shared_srvr / "reference" / shape / "mesh.obj"))
    images = render(surface, view(*angles))[:, 0]
    assert len(files) == 12
    assert (images - published).abs().mean((1, 2)).max() <= 0.005
    mismatch = ((images > SILHOUETTE) != (published > SILHOUETTE)).double().mean((1, 2))
    assert mismatch.max() <= 0.002


def test_a_mirrored_azimuth_does_not_agree(shared_srvr):
    """The planted fault: the reference check can tell a wrong convention."""
    folder = shared_srvr / "reference" / "cup"
    published = torch.tensor(np.asarray(Image.open(folder / "30_300.jpg").convert("L")) / 255.0)
    image = render(Surface.from_mesh(load_mesh(folder / "mesh.obj")), view((-300, 30)))[0, 0]
    assert (image - published).abs().mean() > 0.02


def test_a_sphere_has_the_closed_form_silhouette():
    ball = trimesh.creation.icosphere(subdivisions=5)
    image = render(Surface.from_mesh(build_mesh(ball.vertices, ball.faces)), view((33, 20)))[0, 0]
    radius = 112 / TAN_30 / math.sqrt(2.732**2 - 1)
    assert (image > 0).double().sum().item() == pytest.approx(math.pi * radius**2, rel=0.02)
    rows, columns = torch.nonzero(image > 0, as_tuple=True)
    distance = torch.hypot(rows - 111.5, columns - 111.5)
    assert distance.max() == pytest.approx(radius, abs=1.0)


def test_a_sphere_is_lit_by_the_height_of_its_normal():
    ball = trimesh.creation.icosphere(subdivisions=5)
    image = render(Surface.from_mesh(build_mesh(ball.vertices, ball.faces)), view((0, 90)))[0, 0]
    for offset in (0, 20, 45):
        slope = (offset + 0.5) / 112 * TAN_30
        reach = 2.732 / (1 + slope**2) - math.sqrt(
            (2.732 / (1 + slope**2)) ** 2 - (2.732**2 - 1) / (1 + slope**2)
        )
        height = 2.732 - reach
        assert image[112, 112 + offset].item() == pytest.approx(0.5 + 0.5 * height, abs=0.02)


def test_a_cube_seen_face_on_is_a_square_of_closed_form(cube):
    images = render(Surface.from_mesh(cube), view((0, 0), (90, 0), (180, 0), (0, 90)))[:, 0]
    half = 112 / TAN_30 / (2.732 - 1)
    inside = (torch.arange(224) - 111.5).abs() < half - 1
    outside = (torch.arange(224) - 111.5).abs() > half + 1
    for image, grey in zip(images, (0.5, 0.5, 0.5, 1.0), strict=True):
        assert torch.allclose(image[inside][:, inside], torch.tensor(grey))
        assert (image[outside] == 0).all()
        assert (image[:, outside] == 0).all()


def test_a_plane_is_drawn_from_both_sides_and_lit_on_the_upper_one():
    plane = build_mesh([[-1, 0, -1], [1, 0, -1], [1, 0, 1], [-1, 0, 1]], [[0, 1, 2], [0, 2, 3]])
    images = render(Surface.from_mesh(plane), view((0, 60), (0, -60), (0, 0)))[:, 0]
    assert images[0, 112, 112] == 1.0
    assert images[1, 112, 112] == 0.5
    assert torch.isfinite(images).all()


def test_a_plane_seen_from_above_has_its_closed_form_area():
    plane = build_mesh([[-1, 0, -1], [1, 0, -1], [1, 0, 1], [-1, 0, 1]], [[0, 1, 2], [0, 2, 3]])
    image = render(Surface.from_mesh(plane), view((30, 90)))[0, 0]
    assert image.sum().item() == pytest.approx((2 * 112 / TAN_30 / 2.732) ** 2, rel=2e-3)


def test_the_nearest_face_is_seen(random_soup):
    """Against an independent oracle: ray casting, face by face, in double precision."""
    raster, cameras = 48, view((25, 35), (200, -10), (0, 90))
    surface = Surface.from_mesh(random_soup)
    seen = visible_faces(surface.corners, cameras, raster, max_items=10_000)
    for k in range(3):
        expected = _ray_cast(random_soup.corners, cameras.axes[k].numpy(), cameras.eye[k].numpy(), raster)
        assert (seen[k].numpy() != expected).mean() < 0.002


def _ray_cast(corners, axes, eye, raster):
    grid = (2 * np.arange(raster) + 1 - raster) / raster * TAN_30
    rays = grid[None, :, None] * axes[0] - grid[:, None, None] * axes[1] + axes[2]
    nearest, face = np.full((raster, raster), np.inf), np.full((raster, raster), -1)
    for index, (a, b, c) in enumerate(corners):
        normal = np.cross(b - a, c - a)
        reach = ((a - eye) @ normal) / (rays @ normal)
        hit = eye + reach[..., None] * rays
        inside = np.ones_like(reach, bool)
        for p, q in ((a, b), (b, c), (c, a)):
            inside &= (np.cross(q - p, hit - p) @ normal) >= 0
        closer = inside & (reach > 0) & (reach < nearest)
        nearest, face = np.where(closer, reach, nearest), np.where(closer, index, face)
    return face


def test_images_do_not_depend_on_the_batch_or_on_the_memory(random_soup):
    surface = Surface.from_mesh(random_soup)
    cameras = view(*((17.0 * k, 3.0 * k - 10) for k in range(7)))
    together = render(surface, cameras, RenderSettings(image_size=64))
    alone = torch.cat([render(surface, cameras[k : k + 1], RenderSettings(image_size=64)) for k in range(7)])
    frugal = render(surface, cameras, RenderSettings(image_size=64, memory_mb=0))
    assert torch.equal(together, alone)
    assert torch.equal(together, frugal)


def test_a_batch_of_shapes_equals_each_shape_alone(cube, random_soup):
    surfaces = [Surface.from_mesh(cube), Surface.from_mesh(random_soup)]
    cameras, settings = view((10, 20), (30, 40), (50, 60)), RenderSettings(image_size=32)
    images = render_shapes(surfaces, [1, 0, 1], cameras, settings)
    for k, shape in enumerate([1, 0, 1]):
        assert torch.equal(images[k], render(surfaces[shape], cameras[k : k + 1], settings)[0])


def test_the_order_and_sense_of_faces_do_not_change_the_image(random_soup):
    shuffled = build_mesh(random_soup.vertices, random_soup.faces[::-1, ::-1])
    settings = RenderSettings(image_size=64)
    first, second = (render(Surface.from_mesh(m), view((70, 10)), settings) for m in (random_soup, shuffled))
    assert torch.allclose(first, second, atol=1e-5)


def test_images_lie_between_0_and_1_with_three_equal_channels(random_soup):
    images = render(Surface.from_mesh(random_soup), view((70, 10), (0, 90), (0, -90)))
    assert images.shape == (3, 3, 224, 224)
    assert images.min() >= 0
    assert images.max() <= 1
    assert torch.equal(images[:, 0], images[:, 2])


def test_projection_puts_the_origin_in_the_middle():
    points = project(torch.zeros(3, 3, 1), view((12, 34)), 100)
    assert torch.allclose(points[:, 0, 0, 0], torch.tensor([49.5, 49.5, 1 / 2.732]))


@pytest.mark.parametrize("max_items", [1, 2, 5, 100])
def test_expand_enumerates_every_item_once(max_items):
    counts = torch.tensor([0, 3, 1, 0, 4, 0])
    pieces = list(expand(counts, max_items))
    found = [(int(o), int(i)) for owner, item in pieces for o, i in zip(owner, item, strict=True)]
    assert found == [(o, i) for o in range(6) for i in range(counts[o])]
    assert max(len(owner) for owner, _ in pieces) <= max_items


def test_a_mesh_of_a_million_faces_is_drawn():
    ball = trimesh.creation.icosphere(subdivisions=8)
    image = render(Surface.from_mesh(build_mesh(ball.vertices, ball.faces)), view((0, 0)))[0, 0]
    radius = 112 / TAN_30 / math.sqrt(2.732**2 - 1)
    assert len(ball.faces) > 1_000_000
    assert (image > 0).double().sum().item() == pytest.approx(math.pi * radius**2, rel=0.02)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_and_cpu_draw_the_same_image(random_soup):
    cameras = view((70, 10), (0, 90))
    on_cpu = render(Surface.from_mesh(random_soup), cameras)
    on_gpu = render(Surface.from_mesh(random_soup, "cuda"), cameras).cpu()
    assert (on_cpu - on_gpu).abs().mean() < 1e-4


class LargestTensor(TorchDispatchMode):
    """Records the size of the largest tensor that any operation returns."""

    def __init__(self):
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for each in result if isinstance(result, tuple | list) else [result]:
            if isinstance(each, torch.Tensor):
                self.bytes = max(self.bytes, each.numel() * each.element_size())
        return result


def test_no_temporary_outgrows_the_memory_setting():
    ball = trimesh.creation.icosphere(subdivisions=6)
    surface = Surface.from_mesh(build_mesh(ball.vertices, ball.faces))
    cameras = view(*((10.0 * k, 20) for k in range(8)))
    largest = {}
    for memory_mb in (1, 32):
        with LargestTensor() as seen:
            render(surface, cameras, RenderSettings(image_size=64, memory_mb=memory_mb))
        largest[memory_mb] = seen.bytes
    assert largest[1] <= 2**20
    assert largest[1] < largest[32] <= 32 * 2**20
