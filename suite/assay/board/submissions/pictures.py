"""The pictures of a submission's results: drawn from the checked records, and compared where a submission brings some.

A submission of today brings none: the site draws them. Older ones do. A harmless file is not enough to be shown: a
chart or a map can lie. Pictures that need more than the records (renders, adversarial images) are on the page of the
run alone.
"""

import io
import json
from collections.abc import Iterator, Sequence
from typing import Any

from assay.board.submissions.documents import PictureEntry, PictureIndex
from assay.board.submissions.folder import SubmissionFiles
from assay.board.submissions.problems import Problem
from assay.board.submissions.reader import UnreadableError, parse_json
from assay.board.submissions.results import CheckedResult, equal
from assay.common.canonical import canonical_json
from assay.runner.files import path_name
from assay.tasks.base import Figure, Record
from assay.tasks.families import family

_MEND = "run `assay submit` again, with the packages that constraints.txt names"
_LEVELS = 2  # levels of 255 that a pixel may differ by: another processor's rounding, invisible to the eye


def picture_problems(
    files: SubmissionFiles, checked: CheckedResult, records: Sequence[Record]
) -> Iterator[Problem]:
    """The records can be drawn, and the pictures that a submission brings are those that its family draws from them."""
    task, prefix = checked.result.task, f"figures/{checked.result.task}/"
    present = {name for name in files.names if name.startswith(prefix)}
    try:
        figures = family(checked.spec.spec.family).figures(checked.spec.spec, records)
        expected = dict(picture_files(task, figures))
    except Exception as error:  # a hostile record may raise anything
        found = f"{type(error).__name__}: {error}"
        yield Problem(f"records/{task}.jsonl.gz", "values", found, "records that can be drawn", _MEND)
        return
    if not present:
        return
    if present != set(expected):
        odd = ", ".join(sorted(present ^ set(expected)))
        yield Problem(f"{prefix}index.json", "pictures", odd, "each picture of the records, once", _MEND)
        return
    for name, drawn in sorted(expected.items()):
        same = _same_png if name.endswith(".png") else _same_document
        try:
            shows_it = same(name, files.read(name), drawn)
        except UnreadableError as error:
            yield error.problem
            continue
        if not shows_it:
            yield Problem(name, "content", "another picture", "the one that follows from the records", _MEND)


def picture_files(task: str, figures: Sequence[Figure]) -> Iterator[tuple[str, bytes]]:
    """The pictures as files: PNG as they are, charts without their theme (the site has its own)."""
    pictures = []
    for figure in figures:
        suffix = "png" if figure.kind == "png" else "json"
        stem = path_name(figure.name.removesuffix(f".{suffix}")).replace("/", "-").replace(".", "-")
        name = f"{stem[:60]}.{suffix}"
        pictures.append(PictureEntry(file=name, title=figure.title, caption=figure.caption))
        yield f"figures/{task}/{name}", _picture(figure)
    if pictures:
        index = PictureIndex(pictures=tuple(pictures))
        yield f"figures/{task}/index.json", (index.model_dump_json(indent=1) + "\n").encode()


def _picture(figure: Figure) -> bytes:
    if isinstance(figure.content, bytes):
        return figure.content
    chart = json.loads(figure.content)
    chart.get("layout", {}).pop("template", None)
    return (canonical_json(chart) + "\n").encode()


def _same_document(name: str, data: bytes, drawn: bytes) -> bool:
    return _close(parse_json(name, data), json.loads(drawn))


def _close(value: Any, wanted: Any) -> bool:
    """Equal JSON, up to the last digits of numbers."""
    if isinstance(wanted, dict):
        return (
            isinstance(value, dict)
            and value.keys() == wanted.keys()
            and all(_close(value[key], wanted[key]) for key in wanted)
        )
    if isinstance(wanted, list):
        return isinstance(value, list) and len(value) == len(wanted) and all(map(_close, value, wanted))
    return type(value) is type(wanted) and equal(value, wanted)


def _same_png(name: str, data: bytes, drawn: bytes) -> bool:
    """Whether both show the same; a file that claims another size is not unpacked."""
    import numpy as np
    from PIL import Image

    with Image.open(io.BytesIO(drawn)) as picture:
        size, wanted = picture.size, np.asarray(picture.convert("RGBA"), dtype=np.int16)
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
            if picture.size != size:
                return False
            found = np.asarray(picture.convert("RGBA"), dtype=np.int16)
    except Exception as error:  # Pillow raises many kinds on damaged files
        text = f"{type(error).__name__}: {error}"
        raise UnreadableError(Problem(name, "content", text, "a PNG", _MEND)) from error
    return int(np.abs(found - wanted).max()) <= _LEVELS
