"""Croissant: what a data manifest says, as the JSON-LD that dataset search engines and mlcroissant read."""

import json
import mimetypes
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from assay.common.errors import UserError
from assay.data.dataset import verified_hashes
from assay.data.files import IMAGE_SUFFIXES
from assay.data.layouts.folder_per_class import FolderPerClass
from assay.data.manifest import DataManifest
from assay.data.places import locate
from assay.results.document import DataCard

SPECIFICATION = "http://mlcommons.org/croissant/1.0"
MOST_FILES = 2000
"""Files that are listed one by one; of more, the document says the pattern of their names."""
PICTURES = "pictures"


def write_manifest(
    manifest: DataManifest, roots: Sequence[Path], out: Path, used: DataCard | None = None
) -> None:
    """Write the Croissant document of a data set.

    Args:
        manifest: the data set. Hashes of files that it does not list are computed, where these are here.
        roots: folders to look for the files in.
        out: the ``.json`` file; mlcroissant resolves relative names from its folder.
        used: the data set as a run used it; None for the manifest alone.

    Raises:
        UserError: a file is here and is not the one that the manifest lists.
    """
    hashes = _hashes(manifest, roots)
    files = [_file(name, sha256, manifest.urls.get(name)) for name, sha256 in hashes.items()]
    record_sets: list[Any] = []
    if isinstance(manifest.layout, FolderPerClass):
        anything = [f"*{suffix}" for suffix in sorted(IMAGE_SUFFIXES)]
        files.append(_pictures(list(manifest.layout.only or anything)))
        record_sets = _records(manifest.layout)
    elif not files:
        files.append(_pictures(list(manifest.layout.required()) or ["*"]))
    about = {
        "name": manifest.name,
        "description": _description(manifest, used),
        "license": [" ".join(manifest.licence.split())],
        "keywords": [f"label space {manifest.label_space}", f"{manifest.num_classes} classes"],
    }
    _write(about, files, record_sets, out)


def write_card(card: DataCard, out: Path) -> None:
    """Write the Croissant document of data that a run used and that no manifest describes here: name, licence, hash."""
    description = f"{card.title}. {_identity(card)}"
    _write({"name": card.name, "description": description, "license": [card.licence]}, [], [], out)


def _write(about: Mapping[str, Any], files: Sequence[Any], record_sets: Sequence[Any], out: Path) -> None:
    import mlcroissant

    try:
        metadata = mlcroissant.Metadata(
            **about, conforms_to=[SPECIFICATION], distribution=list(files), record_sets=list(record_sets)
        )
        text = json.dumps(metadata.to_json(), indent=2, ensure_ascii=False, default=str)
    except mlcroissant.ValidationError as error:
        raise UserError(
            f"{about['name']}: mlcroissant refuses it: {' '.join(str(error).split())}; correct the manifest"
        ) from error
    out.write_text(text + "\n", encoding="utf-8")


def _hashes(manifest: DataManifest, roots: Sequence[Path]) -> dict[str, str]:
    """SHA-256 by name, as listed or as the files are here; {} where neither is known, or they are too many."""
    if manifest.files != "unlisted":
        return dict(manifest.files) if len(manifest.files) <= MOST_FILES else {}
    try:
        files = locate(manifest, roots)
    except UserError:
        return {}
    return verified_hashes(manifest, files) if len(files.names) <= MOST_FILES else {}


def _file(name: str, sha256: str, url: str | None) -> Any:
    import mlcroissant

    # The hash is the unpacked file's: an address that serves it packed says where it comes from, not what it is.
    same = url is not None and (PurePosixPath(url).suffix == ".gz") == (PurePosixPath(name).suffix == ".gz")
    return mlcroissant.FileObject(
        id=name,
        name=name,
        content_url=url if same else name,
        same_as=[url] if url is not None and not same else None,
        encoding_formats=[_media_type(name)],
        sha256=sha256,
    )


def _media_type(name: str) -> str:
    kind, packed = mimetypes.guess_type(name)
    return "application/gzip" if packed == "gzip" else kind or "application/octet-stream"


def _pictures(patterns: Sequence[str]) -> Any:
    import mlcroissant

    types = sorted({_media_type(pattern) for pattern in patterns})
    return mlcroissant.FileSet(id=PICTURES, name=PICTURES, includes=list(patterns), encoding_formats=types)


def _records(layout: FolderPerClass) -> list[Any]:
    """The pictures with the folder that names their class, and the number of each class where the manifest says it."""
    import mlcroissant as mlc

    def field(name: str, kind: Any, extract: Any, **more: Any) -> Any:
        source = mlc.Source(file_set=PICTURES, extract=extract, **more.pop("source", {}))
        return mlc.Field(id=f"images/{name}", name=name, data_types=[kind], source=source, **more)

    numbers = layout.labels or {name: number for number, name in enumerate(layout.classes or ())}
    # The last folder but the file's own name; the path begins at the folder of the pictures.
    folder = mlc.Transform(regex=r"^(?:.*/)?([^/]+)/[^/]+$")
    images = mlc.RecordSet(
        id="images",
        name="images",
        fields=[
            field("picture", mlc.DataType.IMAGE_OBJECT, mlc.Extract(file_property=mlc.FileProperty.content)),
            field(
                "folder", mlc.DataType.TEXT, mlc.Extract(file_property=mlc.FileProperty.fullpath),
                source={"transforms": [folder]},
                **({"references": mlc.Source(field="classes/folder")} if numbers else {}),
            ),
        ],
    )  # fmt: skip
    if not numbers:
        return [images]
    classes = mlc.RecordSet(
        id="classes",
        name="classes",
        key=["classes/folder"],
        fields=[
            mlc.Field(id="classes/folder", name="folder", data_types=[mlc.DataType.TEXT]),
            mlc.Field(id="classes/label", name="label", data_types=[mlc.DataType.INTEGER]),
        ],
        data=[{"classes/folder": name, "classes/label": number} for name, number in numbers.items()],
    )
    return [classes, images]


def _description(manifest: DataManifest, used: DataCard | None) -> str:
    sentences = [
        f"{manifest.title}.",
        " ".join(manifest.source.split()),
        f"To get it: {manifest.how_to_get}",
        f"Assay reads it by the layout {manifest.layout.model_dump()['type']}.",
    ]
    if manifest.corruption is not None:
        sentences.append("Its pictures are corrupted as they are read; the files are those from before.")
    return " ".join([*sentences, _identity(used)] if used else sentences)


def _identity(card: DataCard) -> str:
    """Which data these were, as a result says it."""
    remarks = "".join(f" {remark}." for remark in card.remarks)
    return f"SHA-256 of all that decides its pictures, labels and order, as a run used it: {card.sha256}.{remarks}"
