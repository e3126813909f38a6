"""Rewrites what trimesh silently misreads or refuses in text files of meshes.

In an .obj file: comments behind a line, indented lines, vertex numbers that count backwards (from where they stand),
faces of two corners. In .obj and .off files: polygons that a fan of triangles would not cover rightly
(:mod:`assay.tasks.srvr.polygons`). A file without any of these stays as it is, to the byte.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from assay.common.errors import UserError
from assay.tasks.srvr.polygons import ear_clipped

_COUNTED = ("v", "vt", "vn")  # what the three numbers of a corner count, in their order


@dataclass(frozen=True)
class TidiedText:
    """A text, and how many of its polygons were cut by ear clipping."""

    text: str
    ear_clipped: int


def tidied_obj(text: str, name: str) -> TidiedText:
    """The text of an .obj file as trimesh reads it rightly.

    Raises:
        UserError: a face names a vertex before the first.
    """
    plain = text.replace("\r\n", "\n")
    lines = plain.replace("\\\n", " ").split("\n")
    counts = dict.fromkeys(_COUNTED, 0)
    vertices: list[list[str]] = []
    faces: dict[int, list[str]] = {}
    for number, line in enumerate(lines):
        words = line.partition("#")[0].split()
        keyword = words[0] if words else ""
        if keyword in counts:
            counts[keyword] += 1
        if keyword == "v":
            vertices.append(words[1:4])
        if keyword == "f":
            faces[number] = [_absolute(corner, counts, name) for corner in words[1:]]
        # A comment behind a line, or an indented line: trimesh misreads both.
        elif words and ("#" in line or not line.startswith(f"{keyword} ")) and line != keyword:
            lines[number] = " ".join(words)
    cut = 0
    for number, corners in faces.items():
        triangles = _cut([vertices[index] for index in _vertex_indices(corners, len(vertices))])
        cut += triangles is not None
        written = _faces(corners, triangles)
        # Only lines that change are written, so that an unaffected file stays as it is, to the byte.
        if written.split() != lines[number].split() or not lines[number].startswith("f "):
            lines[number] = written
    tidy = "\n".join(lines)
    return TidiedText(text if tidy == plain else tidy, cut)  # trimesh knows both ends of lines


def _absolute(corner: str, counts: dict[str, int], name: str) -> str:
    """``-1/-1`` as numbers from the beginning; what is no number is left for the reader to complain of."""
    parts = corner.split("/")
    for place, (part, what) in enumerate(zip(parts, _COUNTED, strict=False)):
        if not re.fullmatch(r"[-+]?\d+", part):
            continue
        absolute = counts[what] + 1 + int(part) if part.startswith("-") else int(part)
        if place == 0 and absolute < 1:
            raise UserError(
                f"mesh {name}: a face names the vertex {part}, but an .obj file counts from 1, or backwards from -1 to "
                f"-{counts['v']}; export it again"
            )
        parts[place] = str(absolute) if part.startswith("-") else part
    return "/".join(parts)


def _vertex_indices(corners: Sequence[str], count: int) -> list[int]:
    """0-based indices of a polygon's vertices; [] where there is nothing to cut, or the reader will complain."""
    found = [corner.partition("/")[0] for corner in corners]
    if len(found) < 4 or not all(part.isdecimal() and 1 <= int(part) <= count for part in found):
        return []
    return [int(part) - 1 for part in found]


def _faces(corners: Sequence[str], triangles: Sequence[Sequence[int]] | None) -> str:
    """The lines of a face, or of the triangles that it was cut into; none for a face of two corners."""
    if triangles is not None:
        return "\n".join(f"f {' '.join(corners[index] for index in triangle)}" for triangle in triangles)
    return f"f {' '.join(corners)}" if len(corners) > 2 else ""


def tidied_off(text: str) -> TidiedText:
    """The text of an .off file with its concave polygons cut; a file that is none is left for the reader."""
    lines = [line for line in (line.partition("#")[0].split() for line in text.splitlines()) if line]
    if not lines or lines[0][0] not in ("OFF", "COFF"):
        return TidiedText(text, 0)
    # The counts of vertices and faces stand behind the keyword, or in the next line.
    head = lines[0][1:] or (lines[1] if len(lines) > 1 else [])
    body = lines[1 if lines[0][1:] else 2 :]
    try:
        vertices, count = int(head[0]), int(head[1])
        # A face begins with its number of corners; a colour may follow the last corner, and is dropped.
        faces = [
            [int(word) for word in line]
            for line in (row[: int(row[0]) + 1] for row in body[vertices:][:count])
        ]
        # Only four or more corners can need a cut; an index out of range is left for the reader to complain of.
        pieces = [
            _cut([body[index] for index in face[1:]]) if len(face) > 4 and 0 <= min(face) <= max(face[1:]) < vertices
            else None
            for face in faces
        ]  # fmt: skip
    except (ValueError, IndexError):
        return TidiedText(text, 0)
    cut = sum(piece is not None for piece in pieces)
    if not cut:
        return TidiedText(text, 0)
    written = []
    for face, piece in zip(faces, pieces, strict=True):
        corners = [face[1:]] if piece is None else [[face[1 + index] for index in each] for each in piece]
        written += [f"{len(each)} {' '.join(map(str, each))}" for each in corners]
    start = [lines[0][0], f"{vertices} {len(written)} 0"]
    return TidiedText("\n".join([*start, *(" ".join(row) for row in body[:vertices]), *written]) + "\n", cut)


def _cut(vertices: Sequence[Sequence[str]]) -> list[list[int]] | None:
    """The ears of the polygon with these vertices; None where a fan does, or a coordinate is no number."""
    if len(vertices) < 4:
        return None
    try:
        points = np.array([vertex[:3] for vertex in vertices], dtype=np.float64)
    except ValueError:
        return None
    triangles = ear_clipped(points) if points.shape[1:] == (3,) and np.isfinite(points).all() else None
    return None if triangles is None else triangles.tolist()
