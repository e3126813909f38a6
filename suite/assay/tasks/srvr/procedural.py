"""Shapes that need no download: surfaces of revolution, tubes, plates and boxes.

Everything here is y-up. The shapes made by code are plain: report a result on them as one on *procedural* shapes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator

from assay.common.errors import UserError
from assay.tasks.srvr.arrays import FloatArray, IntArray
from assay.tasks.srvr.mesh import Mesh, build_mesh

Part = tuple[FloatArray, IntArray]
"""Vertices (V, 3) and faces (F, 3) of a part of a shape."""

SEGMENTS = 48
"""Of a full turn."""


@dataclass(frozen=True)
class EmbeddedShape:
    """A shape that comes with the program.

    Attributes:
        name: stable id.
        imagenet_index: the label it shows.
        build: makes its mesh.
    """

    name: str
    imagenet_index: int
    build: Callable[[], Mesh]


def revolve(profile: Sequence[tuple[float, float]]) -> Part:
    """The surface that a profile of (radius, height) points sweeps around the y axis."""
    angles = 2 * np.pi * np.arange(SEGMENTS) / SEGMENTS
    radius, height = np.array(profile, dtype=np.float64).T
    rings = np.stack(
        (
            radius[:, None] * np.cos(angles),
            np.broadcast_to(height[:, None], (len(profile), SEGMENTS)),
            radius[:, None] * np.sin(angles),
        ),
        axis=2,
    )
    return rings.reshape(-1, 3), _grid_faces(len(profile), SEGMENTS)


def tube(path: FloatArray, radius: float, sides: int = 16) -> Part:
    """A round tube of constant radius along an open path (K, 3) that lies in a plane z = const."""
    forward = np.gradient(path, axis=0)
    forward /= np.linalg.norm(forward, axis=1, keepdims=True)
    across = np.stack((-forward[:, 1], forward[:, 0], np.zeros(len(path))), axis=1)
    angles = 2 * np.pi * np.arange(sides) / sides
    rings = path[:, None] + radius * (
        np.cos(angles)[:, None] * across[:, None] + np.sin(angles)[:, None] * np.array([0.0, 0.0, 1.0])
    )
    return rings.reshape(-1, 3), _grid_faces(len(path), sides)


def box(low: Sequence[float], high: Sequence[float]) -> Part:
    """An axis-parallel box between two corners."""
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=np.float64)
    quads = ((0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3))
    faces = np.array(
        [(a, b, c) for p, q, r, s in quads for a, b, c in ((p, q, r), (p, r, s))], dtype=np.int64
    )
    return np.asarray(low) + corners * (np.asarray(high, dtype=np.float64) - np.asarray(low)), faces


def plate(outline: Sequence[tuple[float, float]], low: float, high: float) -> Part:
    """A convex outline of (x, z) points as a flat body between two heights."""
    flat, count = np.array(outline, dtype=np.float64), len(outline)
    bottom, top = (np.stack((flat[:, 0], np.full(count, y), flat[:, 1]), axis=1) for y in (low, high))
    lid = [(count, count + k, count + k + 1) for k in range(1, count - 1)]
    floor = [(0, k + 1, k) for k in range(1, count - 1)]
    ahead = [(k, (k + 1) % count) for k in range(count)]
    sides = [face for a, b in ahead for face in ((a, b, count + b), (a, count + b, count + a))]
    return np.concatenate((bottom, top)), np.array([*lid, *floor, *sides], dtype=np.int64)


def _along_x(part: Part) -> Part:
    """A part with y for its own axis, laid along x."""
    vertices, faces = part
    return vertices[:, [1, 0, 2]], faces


def _grid_faces(rows: int, columns: int) -> IntArray:
    """Triangles of a grid of vertices; its columns close to a ring."""
    row, column = np.mgrid[: rows - 1, :columns]
    a, b = row * columns + column, row * columns + (column + 1) % columns
    c, d = a + columns, b + columns
    return np.stack((a, c, b, b, c, d), axis=2).reshape(-1, 3).astype(np.int64)


def _join(name: str, parts: Sequence[Part]) -> Mesh:
    """One mesh of several parts."""
    starts = np.cumsum([0, *(len(vertices) for vertices, _ in parts[:-1])])
    faces = np.concatenate([faces + start for (_, faces), start in zip(parts, starts, strict=True)])
    return build_mesh(np.concatenate([vertices for vertices, _ in parts]), faces, name=name)


def _smooth(points: Sequence[tuple[float, float]], samples: int = 60) -> list[tuple[float, float]]:
    """A monotone-in-index smooth curve through (radius, height) points."""
    array = np.array(points, dtype=np.float64)
    curve = PchipInterpolator(np.arange(len(array)), array)(np.linspace(0, len(array) - 1, samples))
    return [(float(r), float(y)) for r, y in curve]


def _legs(xs: Sequence[float], zs: Sequence[float], height: float, half: float) -> list[Part]:
    """Square legs from the ground to ``height``."""
    return [box((x - half, 0, z - half), (x + half, height, z + half)) for x in xs for z in zs]


def mug() -> Mesh:
    """A cylinder with an inside and a D-shaped handle."""
    angle = np.linspace(-np.pi / 2, np.pi / 2, 24)
    handle = np.stack((0.4 + 0.28 * np.cos(angle), 0.5 + 0.3 * np.sin(angle), 0 * angle), axis=1)
    body = revolve([(0, 0), (0.38, 0), (0.42, 0.04), (0.42, 1), (0.38, 1), (0.38, 0.06), (0, 0.06)])
    return _join("mug", [body, tube(handle, 0.05)])


def bottle() -> Mesh:
    """A ribbed plastic bottle with a cap."""
    ribs = [(0.36 + 0.015 * (k % 2), 0.1 + 0.1 * k) for k in range(13)]
    shoulder = _smooth([(0.36, 1.3), (0.35, 1.5), (0.24, 1.75), (0.13, 1.95), (0.13, 2.02)], 24)
    cap = [(0.19, 2.02), (0.19, 2.04), (0.16, 2.05), (0.16, 2.22), (0.14, 2.24), (0, 2.24)]
    return _join("bottle", [revolve([(0, 0), (0.3, 0), (0.36, 0.06), *ribs, *shoulder, *cap])])


def vase() -> Mesh:
    """A bellied vase with a flared, open mouth."""
    outside = _smooth([(0.25, 0), (0.3, 0.1), (0.6, 0.7), (0.5, 1.2), (0.22, 1.6), (0.25, 1.8), (0.4, 1.95)])
    inside = [(r - 0.02, y) for r, y in reversed(outside)]
    return _join("vase", [revolve([(0, 0), *outside, *inside, (0, 0.02)])])


def chair() -> Mesh:
    """A plain chair: seat, four legs with rungs, an open back of two rails."""
    posts = [box((x - 0.05, 0.8, -0.5), (x + 0.05, 2.0, -0.42)) for x in (-0.45, 0.45)]
    rails = [box((-0.45, y, -0.49), (0.45, y + 0.22, -0.45)) for y in (1.3, 1.7)]
    rungs = [box((-0.44, 0.4, z - 0.03), (0.44, 0.46, z + 0.03)) for z in (-0.44, 0.44)]
    seat = [box((-0.5, 0.8, -0.5), (0.5, 0.88, 0.5))]
    return _join("chair", [*seat, *posts, *rails, *rungs, *_legs((-0.44, 0.44), (-0.44, 0.44), 0.8, 0.04)])


def bench() -> Mesh:
    """A park bench: slatted seat and back on two frames."""
    seat = [box((-1.5, 0.8, z), (1.5, 0.86, z + 0.13)) for z in (-0.4, -0.22, -0.04, 0.14, 0.32)]
    back = [box((-1.5, y, -0.5), (1.5, y + 0.13, -0.45)) for y in (1.0, 1.2, 1.4)]
    posts = [box((x - 0.05, 0, -0.56), (x + 0.05, 1.6, -0.46)) for x in (-1.2, 0, 1.2)]
    arms = [box((x - 0.05, 1.1, -0.5), (x + 0.05, 1.17, 0.45)) for x in (-1.45, 1.45)]
    fronts = [box((x - 0.05, 0, 0.35), (x + 0.05, 1.1, 0.45)) for x in (-1.45, 1.45)]
    beams = [box((x - 0.05, 0.7, -0.5), (x + 0.05, 0.8, 0.45)) for x in (-1.2, 0, 1.2)]
    legs = [box((x - 0.05, 0, 0.33), (x + 0.05, 0.8, 0.43)) for x in (-1.2, 0, 1.2)]
    return _join("bench", [*seat, *back, *posts, *arms, *fronts, *beams, *legs])


def hourglass() -> Mesh:
    """Two bulbs between two plates, with three posts."""
    bulbs = _smooth([(0.45, 0.1), (0.5, 0.4), (0.3, 0.8), (0.05, 1.0), (0.3, 1.2), (0.5, 1.6), (0.45, 1.9)])
    plates = [revolve([(0, y), (0.7, y), (0.7, y + 0.1), (0, y + 0.1)]) for y in (0.0, 1.9)]
    turns = 2 * np.pi * np.arange(3) / 3
    posts = [
        (
            revolve([(0.05, 0.1), (0.05, 1.9)])[0] + [0.6 * np.cos(a), 0, 0.6 * np.sin(a)],
            _grid_faces(2, SEGMENTS),
        )
        for a in turns
    ]
    return _join("hourglass", [revolve(bulbs), *plates, *posts])


def goblet() -> Mesh:
    """A foot, a stem and a bowl."""
    foot = [(0, 0), (0.4, 0), (0.4, 0.03), (0.06, 0.1), (0.05, 0.8)]
    bowl = _smooth([(0.05, 0.8), (0.3, 0.95), (0.45, 1.3), (0.42, 1.7)])
    return _join(
        "goblet", [revolve([*foot, *bowl, *[(r - 0.02, y) for r, y in reversed(bowl[1:])], (0, 0.85)])]
    )


def table_lamp() -> Mesh:
    """A foot, a stem and a shade."""
    foot = [(0, 0), (0.4, 0), (0.4, 0.06), (0.2, 0.12), (0.06, 0.2), (0.06, 0.5), (0.14, 0.7), (0.06, 0.9)]
    return _join("lamp", [revolve([*foot, (0.04, 1.3)]), revolve([(0.65, 1.05), (0.4, 1.75)])])


def dumbbell() -> Mesh:
    """A bar with two weights at either end, lying along x."""
    weights = [
        (0, -1.0),
        (0.35, -1.0),
        (0.4, -0.95),
        (0.4, -0.75),
        (0.35, -0.7),
        (0.1, -0.7),
        (0.1, -0.5),
        (0.07, -0.5),
    ]
    profile = [*weights, *[(r, -y) for r, y in reversed(weights)]]
    return _join("dumbbell", [_along_x(revolve(profile))])


def airplane() -> Mesh:
    """An airliner, its nose along x: a round fuselage, swept wings with two engines, and a tail."""
    fuselage = _smooth(
        [(0, -1.9), (0.06, -1.8), (0.2, -1.0), (0.22, -0.6), (0.22, 1.3), (0.17, 1.7), (0.08, 1.9), (0, 1.95)]
    )
    parts = [_along_x(revolve(fuselage))]
    for side in (1, -1):
        wing = [(0.55, 0.15), (0.05, 0.15), (-0.75, 1.9), (-0.5, 1.9)]
        stabiliser = [(-1.35, 0.08), (-1.7, 0.08), (-1.95, 0.7), (-1.75, 0.7)]
        engine = _along_x(
            revolve([(0, -0.22), (0.07, -0.22), (0.1, 0.0), (0.1, 0.22), (0.07, 0.24), (0.07, 0.1), (0, 0.1)])
        )
        parts += [
            plate([(x, side * z) for x, z in wing], -0.12, -0.07),
            plate([(x, side * z) for x, z in stabiliser], 0.06, 0.09),
            (engine[0] + [0.28, -0.25, side * 0.65], engine[1]),
        ]
    fin, faces = plate([(-1.25, 0.15), (-1.7, 0.15), (-2.0, 0.75), (-1.8, 0.75)], -0.02, 0.02)
    return _join("airplane", [*parts, (fin[:, [0, 2, 1]], faces[:, ::-1])])


EMBEDDED_SHAPES = {
    shape.name: shape
    for shape in (
        EmbeddedShape("airplane", 404, airplane),
        EmbeddedShape("bench", 703, bench),
        EmbeddedShape("bottle", 898, bottle),
        EmbeddedShape("chair", 559, chair),
        EmbeddedShape("dumbbell", 543, dumbbell),
        EmbeddedShape("goblet", 572, goblet),
        EmbeddedShape("hourglass", 604, hourglass),
        EmbeddedShape("mug", 504, mug),
        EmbeddedShape("table_lamp", 846, table_lamp),
        EmbeddedShape("vase", 883, vase),
    )
}


def embedded_mesh(name: str) -> Mesh:
    """The mesh of an embedded shape.

    Raises:
        UserError: for an unknown name.
    """
    if name not in EMBEDDED_SHAPES:
        raise UserError(f"embedded shape '{name}': unknown; choose from {', '.join(EMBEDDED_SHAPES)}")
    return EMBEDDED_SHAPES[name].build()
