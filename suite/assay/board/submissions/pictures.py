"""Checks of a submission's pictures: small real PNGs, charts that load nothing and say nothing in markup."""

import io
import re
from collections.abc import Iterator
from typing import Any

from assay.board.submissions.documents import Pictures
from assay.board.submissions.folder import SubmissionFiles
from assay.board.submissions.problems import Problem
from assay.board.submissions.reader import UnreadableError, parse_document, parse_json, strings
from assay.board.submissions.text import fault_of_text

_MAX_SIDE = 4096  # pixels
# What Plotly itself lays out in text; anything else in angle brackets is a stranger's.
_PLOTLY_MARKUP = re.compile(r"</?(?:b|i|sub|sup|em|strong)>|<br ?/?>|<extra>|</extra>|&nbsp;")
_MEND = "run `assay submit` again; its pictures follow from the records"


def picture_problems(files: SubmissionFiles, task: str) -> Iterator[Problem]:
    """The index names exactly the pictures that are there, and each of them is harmless."""
    prefix = f"figures/{task}/"
    names = {name.removeprefix(prefix) for name in files.names if name.startswith(prefix)}
    if not names:
        return
    index = parse_document(Pictures, prefix + "index.json", files.read(prefix + "index.json"))
    listed = {picture.file for picture in index.pictures}
    if listed != names - {"index.json"}:
        odd = ", ".join(sorted(listed ^ (names - {"index.json"})))
        yield Problem(prefix + "index.json", "pictures", odd, "each picture of the folder, once", _MEND)
        return
    for name in sorted(listed):
        data = files.read(prefix + name)
        problem = (
            _png_problem(prefix + name, data)
            if name.endswith(".png")
            else _chart_problem(prefix + name, data)
        )
        if problem:
            yield problem


def _png_problem(file: str, data: bytes) -> Problem | None:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
            size = picture.size
            picture.verify()
    except Exception as error:  # Pillow raises many kinds on damaged files
        return Problem(file, "content", f"{type(error).__name__}: {error}", "a PNG", _MEND)
    if max(size) > _MAX_SIDE:
        return Problem(file, "size", f"{size[0]} x {size[1]}", f"at most {_MAX_SIDE} pixels a side", _MEND)
    return None


def _chart_problem(file: str, data: bytes) -> Problem | None:
    try:
        chart: Any = parse_json(file, data)
    except UnreadableError as error:
        return error.problem
    if not isinstance(chart, dict) or not {"data"} <= set(chart) <= {"data", "layout"}:
        return Problem(file, "document", "other keys", "a Plotly figure: data and layout", _MEND)
    for text in strings(chart):
        if fault := fault_of_text(_PLOTLY_MARKUP.sub("", text)):
            return Problem(file, "text", fault, "plain text", _MEND)
        if "://" in text or text.startswith("//"):
            return Problem(file, "text", text, "no address: a page loads nothing", _MEND)
    return None
