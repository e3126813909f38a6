"""Triangle meshes: read through trimesh, polygons cut rightly, cleaned of faces that change nothing, normalised."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import trimesh

from assay.common.errors import UserError
from assay.data.pixels import Conversion
from assay.tasks.srvr.arrays import FloatArray, IntArray
from assay.tasks.srvr.mesh_text import tidied_obj, tidied_off
from assay.tasks.srvr.polygons import ear_clipped, fan

SUFFIXES = (".obj", ".ply", ".stl", ".off", ".glb")
# What changes a mesh's surface, and so is in its data set's hash.
EARS = Conversion("polygons", "ears", "with concave polygons, cut by ear clipping")
TIDIED = Conversion(
    "mesh text", "tidied", "with comments behind lines, relative numbers, or lines put in order"
)


@dataclass(frozen=True)
class FaceCounts:
    """What the cleaning of a mesh did to its triangles.

    Attributes:
        raw: triangles read from the file, after polygons were cut into triangles.
        duplicate: triangles removed because another one has the same three corners (in any order or sense).
        degenerate: triangles removed because they have no area.
        kept: triangles left to draw.
    """

    raw: int
    duplicate: int
    degenerate: int
    kept: int


@dataclass(frozen=True)
class Mesh:
    """A cleaned triangle mesh.

    Attributes:
        vertices: (V, 3) float64, y upwards.
        faces: (F, 3) int64 indices into ``vertices``; no two faces have the same corners.
        counts: what the cleaning removed.
    """

    vertices: FloatArray
    faces: IntArray
    counts: FaceCounts

    @property
    def corners(self) -> FloatArray:
        """(F, 3, 3) float64: face, corner, coordinate."""
        return self.vertices[self.faces]


def load_mesh(path: Path) -> Mesh:
    """Read, clean and normalise the mesh in a file.

    Materials and textures are ignored (the renderer paints every surface white), so files with missing textures can be
    read.

    Args:
        path: a file ending in one of ``SUFFIXES``; scenes are merged into one mesh.

    Raises:
        UserError: for a missing or unreadable file, an unknown suffix, a mesh without faces, vertices that
            are not finite, or a mesh of zero extent.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"mesh {path}: cannot read '{path.suffix}' files; use one of {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise UserError(f"mesh {path}: no such file; check the path, or the folder the manifest names")
    try:
        vertices, faces, _ = _read(path)
    except UserError:
        raise
    except Exception as error:  # parsers raise errors of every type
        reason = f"{type(error).__name__}: {error}"
        raise UserError(
            f"mesh {path}: not a readable {path.suffix} file ({reason}); export it again"
        ) from error
    return build_mesh(vertices, faces, name=str(path))


def conversions_of(path: Path) -> list[Conversion]:
    """How a mesh file is read otherwise than trimesh alone would; [] for one that cannot be read."""
    try:
        return list(_read(path)[2])
    except Exception:  # the one who loads the mesh gets a message
        return []


def _read(path: Path) -> tuple[FloatArray, IntArray, Sequence[Conversion]]:
    """Vertices (V, 3), triangles (F, 3), and what was not left to trimesh."""
    suffix = path.suffix.lower()
    if suffix in (".obj", ".off"):
        return _read_text(path, suffix)
    loaded = trimesh.load_mesh(path, process=False)
    vertices, faces = np.asarray(loaded.vertices), np.asarray(loaded.faces)
    if suffix == ".ply" and len(faces) != _ply_faces(path):
        ears = _ply_ears(loaded.metadata["_ply_raw"])
        if ears is not None:
            return *ears, [EARS]
    return vertices, faces, []


def _read_text(path: Path, suffix: str) -> tuple[FloatArray, IntArray, Sequence[Conversion]]:
    text = path.read_bytes().decode("latin-1")  # names may be in any encoding; only they have more than ASCII
    tidied = tidied_obj(text, str(path)) if suffix == ".obj" else tidied_off(text)
    options = {"maintain_order": True, "skip_materials": True} if suffix == ".obj" else {}
    made: list[Conversion] = []
    if tidied.text == text:
        loaded = trimesh.load_mesh(path, process=False, **options)
    else:
        stream = BytesIO(tidied.text.encode("latin-1"))
        loaded = trimesh.load_mesh(stream, file_type=suffix[1:], process=False, **options)
        made = [EARS] if tidied.ear_clipped else [TIDIED]
    return np.asarray(loaded.vertices), np.asarray(loaded.faces), made


def _ply_faces(path: Path) -> int | None:
    """How many faces the header of a .ply file promises."""
    header = path.read_bytes().partition(b"end_header")[0]
    found = re.search(rb"^element\s+face\s+(\d+)", header, re.MULTILINE)
    return int(found[1]) if found else None


def _ply_ears(elements: Mapping[str, Any]) -> tuple[FloatArray, IntArray] | None:
    """Vertices and triangles of a .ply file's elements as trimesh read them; None where fans cover its polygons."""
    corner, face = elements["vertex"]["data"], elements["face"]["data"]
    vertices = np.column_stack([corner[axis] for axis in "xyz"]).astype(np.float64)
    polygons = [np.asarray(corners, dtype=np.int64) for corners in _ply_corners(face)]
    ears = [ear_clipped(vertices[corners]) if len(corners) > 3 else None for corners in polygons]
    if all(cut is None for cut in ears):
        return None
    pieces = [
        corners[fan(len(corners)) if cut is None else cut]
        for corners, cut in zip(polygons, ears, strict=True)
    ]
    return vertices, np.concatenate(pieces)


def _ply_corners(face: Any) -> Sequence[Sequence[int]]:
    """The corners of each polygon: lists where their number varies (ASCII), else a structured array."""
    names = list(face) if isinstance(face, dict) else face.dtype.names
    name = next((name for name in ("vertex_index", "vertex_indices") if name in names), names[0])
    polygons: Sequence[Sequence[int]] = face[name] if isinstance(face, dict) else face[name]["f1"]
    return polygons


def build_mesh(vertices: npt.ArrayLike, faces: npt.ArrayLike, name: str = "mesh") -> Mesh:
    """Clean and normalise triangles given as arrays.

    Args:
        vertices: (V, 3) coordinates, y upwards. Vertices that no face uses still count for the normalisation,
            as in the published renders.
        faces: (F, 3) indices into ``vertices``.
        name: what error messages call the mesh.

    Raises:
        UserError: as :func:`load_mesh`.
    """
    points = np.asarray(vertices, dtype=np.float64).reshape(-1, 3)
    triangles = np.asarray(faces, dtype=np.int64).reshape(-1, 3)
    if len(triangles) == 0:
        raise UserError(
            f"mesh {name}: it has no faces; give a surface mesh, not a point cloud or an empty file"
        )
    if triangles.min() < 0 or triangles.max() >= len(points):
        raise UserError(
            f"mesh {name}: a face names a vertex outside 0..{len(points) - 1}; export the mesh again"
        )
    if not np.isfinite(points).all():
        bad = int((~np.isfinite(points)).any(axis=1).sum())
        raise UserError(f"mesh {name}: {bad} of {len(points)} vertices are NaN or infinite; repair the mesh")
    cleaned, counts = _clean_faces(points, triangles)
    if counts.kept == 0:
        raise UserError(
            f"mesh {name}: all of its {counts.raw} faces have zero area; give a mesh with a surface"
        )
    return Mesh(vertices=_normalise(points, name), faces=cleaned, counts=counts)


def _normalise(points: FloatArray, name: str) -> FloatArray:
    """Centre the bounding box at the origin, its longest side spanning [-1, 1]."""
    shifted: FloatArray = points - points.min(axis=0)
    extent = shifted.max()
    if extent <= 0:
        raise UserError(f"mesh {name}: all vertices coincide (zero extent); give a mesh with a size")
    scaled = shifted / extent * 2
    return np.asarray(scaled - scaled.max(axis=0) / 2)


def _clean_faces(points: FloatArray, faces: IntArray) -> tuple[IntArray, FaceCounts]:
    """Drop faces without area and all but the first of those that cover the same corners, by position."""
    edges = points[faces[:, 1:]] - points[faces[:, :1]]
    has_area = np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1) > 0
    solid = faces[has_area]
    _, merged = np.unique(points, axis=0, return_inverse=True)
    corner_sets = np.sort(merged.reshape(-1)[solid], axis=1)
    _, first = np.unique(corner_sets, axis=0, return_index=True)
    kept = solid[np.sort(first)]
    counts = FaceCounts(
        raw=len(faces), duplicate=len(solid) - len(kept), degenerate=len(faces) - len(solid), kept=len(kept)
    )
    return kept, counts
