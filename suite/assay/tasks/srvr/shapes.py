"""Manifests of 3-D shapes: which meshes make a data set, their classes, and how to get them. No torch.

A shapes manifest says of meshes what a data manifest says of pictures, and its files are found and verified in the
same way. The shipped ones lie in ``data_manifests/shapes``.
"""

import difflib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from assay.common.errors import UserError
from assay.common.resources import shipped_folder
from assay.common.validation import StrictModel, read_yaml, validate
from assay.data.dataset import DataFacts, Dataset, verified_hashes
from assay.data.files import DataFiles
from assay.data.hashes import Memory
from assay.data.layouts.base import Names
from assay.data.manifest import DataManifest
from assay.data.pixels import ColourPolicy, Conversion
from assay.data.places import locate
from assay.tasks.srvr.mesh import EARS, SUFFIXES, TIDIED, Mesh, conversions_of, load_mesh
from assay.tasks.srvr.procedural import EMBEDDED_SHAPES, embedded_mesh

_POLYGONAL = (".obj", ".off", ".ply")  # formats with faces of more than three corners
_READING = 1  # raised whenever `conversions_of` would answer differently for some file

Labels = Annotated[dict[str, int], Field(min_length=1)]


@dataclass(frozen=True)
class Shape:
    """One shape of a data set.

    Attributes:
        id: stable and unique in its data set.
        class_name: as its manifest calls the class.
        class_index: the class in the manifest's label space.
        path: its mesh file; None for a shape that comes with the program, which ``id`` then names.
    """

    id: str
    class_name: str
    class_index: int
    path: Path | None

    def mesh(self) -> Mesh:
        """The mesh, cleaned and normalised.

        Raises:
            UserError: it cannot be used; see :func:`assay.tasks.srvr.mesh.load_mesh`.
        """
        return embedded_mesh(self.id) if self.path is None else load_mesh(self.path)


class EmbeddedLayout(StrictModel):
    """Shapes that come with the program (:mod:`assay.tasks.srvr.procedural`).

    Attributes:
        shapes: their names.
    """

    type: Literal["embedded"]
    shapes: Names

    @model_validator(mode="after")
    def _all_known(self) -> Self:
        unknown = [name for name in self.shapes if name not in EMBEDDED_SHAPES]
        if unknown:
            raise ValueError(f"unknown shapes {unknown}; choose from {', '.join(EMBEDDED_SHAPES)}")
        return self

    def required(self) -> tuple[str, ...]:
        """None: code makes them."""
        return ()

    def declared_classes(self) -> None:
        """None: labels are ImageNet's."""
        return

    def discover(self, folder: Path) -> tuple[str, ...]:
        """None."""
        return ()

    def open(self, files: DataFiles) -> tuple[Shape, ...]:
        """The shapes, in the manifest's order."""
        return tuple(Shape(name, name, EMBEDDED_SHAPES[name].imagenet_index, None) for name in self.shapes)


class MeshFolderLayout(StrictModel):
    """Mesh files with their class in the path.

    Attributes:
        class_in: ``folder``: the top folder (``chair/a.obj``); ``file-name``: what stands before the last
            underscore (``4_chair_341a.obj`` is of class ``4_chair``).
        labels: class to index in the label space.
    """

    type: Literal["mesh-folder"]
    class_in: Literal["folder", "file-name"]
    labels: Labels

    def required(self) -> tuple[str, ...]:
        """No file in particular."""
        return ()

    def declared_classes(self) -> None:
        """None: a data set of shapes need not show every class of its label space."""
        return

    def discover(self, folder: Path) -> tuple[str, ...]:
        """All mesh files in and under ``folder``, hidden ones left out."""
        found = (path.relative_to(folder) for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
        return tuple(
            sorted(path.as_posix() for path in found if not any(part.startswith(".") for part in path.parts))
        )

    def open(self, files: DataFiles) -> tuple[Shape, ...]:
        """One shape per file, in the order of paths.

        Raises:
            UserError: a file's class has no label.
        """
        return tuple(self._shape(files, name) for name in files.names)

    def _shape(self, files: DataFiles, name: str) -> Shape:
        path = PurePosixPath(name)
        class_name = path.parts[0] if self.class_in == "folder" else path.stem.rpartition("_")[0]
        if class_name not in self.labels or (self.class_in == "folder" and len(path.parts) == 1):
            raise UserError(
                f"{files.folder / name}: its class {class_name!r} has no label; add it to `layout.labels` "
                f"(there are {', '.join(self.labels)}), or take the file away"
            )
        identity = path.with_suffix("").as_posix()
        return Shape(identity, class_name, self.labels[class_name], files.path(name))


class ShapeNetCoreLayout(StrictModel):
    """Meshes as ShapeNetCore lays them out.

    Attributes:
        labels: synset (a class folder of ShapeNetCore) to index in the label space.
        shapes: synset to the ids of its shapes.
        path: where a shape's mesh lies.
    """

    type: Literal["shapenet-core"]
    labels: Labels
    shapes: Annotated[dict[str, Names], Field(min_length=1)]
    path: str = "{synset}/{shape}/models/model_normalized.obj"

    @model_validator(mode="after")
    def _all_labelled(self) -> Self:
        unlabelled = [synset for synset in self.shapes if synset not in self.labels]
        if unlabelled:
            raise ValueError(f"the classes {unlabelled} of `shapes` have no index in `labels`; add them")
        return self

    def required(self) -> tuple[str, ...]:
        """The mesh of every shape."""
        return tuple(
            self.path.format(synset=synset, shape=shape)
            for synset in self.shapes
            for shape in self.shapes[synset]
        )

    def declared_classes(self) -> None:
        """None: a data set of shapes need not show every class of its label space."""
        return

    def discover(self, folder: Path) -> tuple[str, ...]:
        """The required files."""
        return tuple(sorted(self.required())) if folder.is_dir() else ()

    def open(self, files: DataFiles) -> tuple[Shape, ...]:
        """The shapes, in the manifest's order."""
        return tuple(
            Shape(
                f"{synset}/{shape}",
                synset,
                self.labels[synset],
                files.path(self.path.format(synset=synset, shape=shape)),
            )
            for synset, shapes in self.shapes.items()
            for shape in shapes
        )


ShapeLayout = Annotated[EmbeddedLayout | MeshFolderLayout | ShapeNetCoreLayout, Field(discriminator="type")]


class ShapesManifest(DataManifest):
    """One data set of shapes.

    Attributes:
        kind: tells it from a manifest of pictures.
        layout: how shapes and their classes are found in the files.
    """

    kind: Literal["shapes"]
    layout: ShapeLayout  # type: ignore[assignment]  # the files hold meshes, all else is a data manifest's

    @property
    def labelled(self) -> bool:
        """Every shape has its class."""
        return True

    @model_validator(mode="after")
    def _holds_no_pictures(self) -> Self:
        given = sorted(self.model_fields_set & set(ColourPolicy.model_fields))
        if given:
            raise ValueError(
                f"{', '.join(given)}: meaningless for shapes, which are rendered white; remove it"
            )
        if self.corruption is not None:
            raise ValueError("corruption: shapes have no pictures yet; write it into the task's spec")
        return self


@dataclass(frozen=True)
class ShapeSet:
    """A verified data set of shapes.

    Attributes:
        manifest: what it is.
        sha256: the hash of all that decides its shapes: layout, labels and the files' hashes.
        shapes: in a stable order.
        facts: what was left out and read otherwise than it is stored.
        labelled: pictures to fit a network's temperature on; None where the spec names none.
    """

    manifest: ShapesManifest
    sha256: str
    shapes: tuple[Shape, ...]
    facts: DataFacts = field(default_factory=DataFacts)
    labelled: Dataset | None = None


def list_shapes() -> list[str]:
    """The names of the shipped shapes manifests, sorted."""
    return sorted(path.stem for path in (shipped_folder("data_manifests") / "shapes").glob("*.yaml"))


def load_shapes(name_or_path: str, relative_to: Path | None = None) -> ShapesManifest:
    """A shipped shapes manifest by name, or a user's own by the path of its YAML file.

    Args:
        name_or_path: anything with a folder in it or ending in .yaml or .yml is a path.
        relative_to: the folder that relative paths start from.

    Raises:
        UserError: no such manifest, or it is not a valid one.
    """
    if name_or_path.endswith((".yaml", ".yml")) or "/" in name_or_path:
        path = (relative_to or Path()) / Path(name_or_path).expanduser()
        manifest = validate(ShapesManifest, read_yaml(path), str(path))
        manifest._folder = path.parent
        return manifest
    names = list_shapes()
    if name_or_path not in names:
        nearest = difflib.get_close_matches(name_or_path, names, n=3, cutoff=0.4) or names
        raise UserError(
            f"unknown data set of shapes {name_or_path!r}: there are {', '.join(nearest)} "
            "(a file of your own ends in .yaml)"
        )
    path = shipped_folder("data_manifests") / "shapes" / f"{name_or_path}.yaml"
    return validate(ShapesManifest, read_yaml(path), str(path))


def made_by_code(manifest: ShapesManifest) -> bool:
    """Whether code makes the shapes, so that there are no files to look for."""
    return isinstance(manifest.layout, EmbeddedLayout)


def open_shapes(manifest: ShapesManifest, roots: tuple[Path, ...] = ()) -> ShapeSet:
    """Find, verify and index a data set of shapes; meshes are read only when asked for.

    Args:
        manifest: from :func:`load_shapes`.
        roots: folders to search first (``--data-root``).

    Raises:
        UserError: a file is missing or has another hash, a class is unknown or outside the label space, two
            files give one shape, or there is none.
    """
    files = DataFiles(Path(), ()) if made_by_code(manifest) else locate(manifest, roots)
    hashes = verified_hashes(manifest, files)
    shapes = manifest.layout.open(files)
    for shape in shapes:
        if not 0 <= shape.class_index < manifest.num_classes:
            raise UserError(
                f"data set {manifest.name}: the class {shape.class_name!r} has index {shape.class_index}, which "
                f"label space {manifest.label_space} lacks (0..{manifest.num_classes - 1}); correct it"
            )
    ids = [shape.id for shape in shapes]
    twice = sorted({each for each in ids if ids.count(each) > 1})
    if twice:
        raise UserError(f"data set {manifest.name}: two files give the shape {twice[0]!r}; remove one")
    made = _conversions(files, hashes)
    facts = DataFacts(converted={conversion.words: count for conversion, count in sorted(made.items())})
    return ShapeSet(manifest, manifest.identity_sha256(hashes, list(made)), shapes, facts)


def _conversions(files: DataFiles, hashes: Mapping[str, str]) -> Counter[Conversion]:
    """How many mesh files are read otherwise than trimesh alone would; remembered by their contents."""
    memory = Memory("meshes.json")
    found: Counter[Conversion] = Counter()
    for name, sha256 in hashes.items():
        path = files.path(name)
        if path.suffix.lower() not in _POLYGONAL:
            continue
        key = f"{_READING} {path.suffix.lower()} {sha256}"
        known = memory.get(key)
        if known is None:
            known = " ".join(conversion.value for conversion in conversions_of(path))
            memory.put(key, known)
        found.update(conversion for conversion in (EARS, TIDIED) if conversion.value in known)
    memory.save()
    return found
