"""Polygons to triangles that cover them and nothing else."""

import mapbox_earcut
import numpy as np

from assay.tasks.srvr.arrays import FloatArray, IntArray

_ROUNDING = 1e-9  # of the polygon's area: a triangle turned over by less is turned over by rounding alone


def fan(corners: int) -> IntArray:
    """(corners - 2, 3): the triangles from the first corner, which cover a convex polygon."""
    rest = np.arange(1, corners - 1)
    return np.stack([np.zeros_like(rest), rest, rest + 1], axis=1)


def ear_clipped(points: FloatArray) -> IntArray | None:
    """The triangles of a polygon that a fan would not cover rightly, by ear clipping; None where a fan does.

    A fan is right where each of its triangles faces the way of the whole polygon (of Newell's normal). Where one does
    not, the fan covers what lies outside; then the polygon is seen along its normal and cut by mapbox's earcut.

    Args:
        points: (N, 3) corners in order.

    Returns:
        (M, 3) indices into ``points``, each triangle in the polygon's own sense of rotation.
    """
    arms = points[1:] - points[0]
    doubled = np.cross(arms[:-1], arms[1:])  # of each fan triangle: its normal, as long as twice its area
    normal = doubled.sum(axis=0)
    square = float(normal @ normal)
    if square == 0 or ((doubled @ normal) >= -_ROUNDING * square).all():
        return None
    flat = points @ _plane(normal)
    cut = mapbox_earcut.triangulate_float64(flat, np.array([len(points)], dtype=np.uint32))
    triangles = cut.astype(np.int64).reshape(-1, 3)
    edges = flat[triangles[:, 1:]] - flat[triangles[:, :1]]
    turned = np.linalg.det(edges) < 0
    triangles[turned] = triangles[turned][:, ::-1]
    return triangles


def _plane(normal: FloatArray) -> FloatArray:
    """(3, 2): two directions across ``normal``, counter-clockwise as seen from its tip."""
    up = normal / np.linalg.norm(normal)
    aside = np.eye(3)[np.abs(up).argmin()]
    first = np.cross(aside, up)
    first /= np.linalg.norm(first)
    return np.stack([first, np.cross(up, first)], axis=1)
