"""One file from an address; what an interrupted download left is gone on with."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from assay.common.errors import UserError

_BLOCK = 1 << 16
_SILENCE_SECONDS = 60
_BEYOND_ITS_END = 416  # the answer where all bytes are here already
_PARTIAL = 206

Advance = Callable[[str, int, int], None]
"""Told now and then: the file's name, the bytes that are here, and all of them (0 where nobody says)."""


def download(url: str, to: Path, known_hash: str | None, advance: Advance | None = None) -> Path:
    """Download ``url``; ``to`` appears whole, or not at all.

    Args:
        url: what to ask for.
        to: where to put it; what is there yet of an interrupted download lies beside it, as ``NAME.part``.
        known_hash: ``sha256:HEX`` or ``md5:HEX``; None where the caller looks itself.
        advance: see :data:`Advance`.

    Raises:
        UserError: no connection, no such file, another hash, or the connection broke.
        OSError: the folder cannot be written.
    """
    import pooch  # type: ignore[import-untyped]
    import requests

    # Pooch logs the hash of every file that comes without one; ours is the unpacked content's.
    pooch.get_logger().setLevel(logging.WARNING)
    going_on = _GoingOn(to.with_name(f"{to.name}.part"), advance or (lambda _name, _here, _all: None))
    try:
        return Path(pooch.retrieve(url, known_hash, fname=to.name, path=to.parent, downloader=going_on))
    except requests.RequestException as error:
        raise UserError(f"{url}: cannot be downloaded ({_reason(error)})") from error
    except ValueError as error:
        raise UserError(
            f"{url}: serves another file than the data set's (hash {known_hash}); nothing of it was kept: try "
            "again, and tell its publisher if that does not help"
        ) from error


def _reason(error: Exception) -> str:
    """Why, and what to do, without the library's own words."""
    import requests

    by_hand = "or get the file by hand"
    response = getattr(error, "response", None)
    if response is not None:
        return f"its server answers {response.status_code} {response.reason}; try again later, {by_hand}"
    if isinstance(error, requests.exceptions.ChunkedEncodingError | requests.exceptions.ContentDecodingError):
        return "the connection broke; the same command goes on from what is here"
    if isinstance(error, requests.Timeout):
        return f"its server is silent; check the network, {by_hand}"
    return f"no connection; check the network, {by_hand}"


class _GoingOn:
    """A downloader for pooch that keeps what it has in ``part``, and asks for the rest only."""

    def __init__(self, part: Path, advance: Advance) -> None:
        self._part, self._advance = part, advance

    def __call__(self, url: str, output_file: str, pooch: Any, check_only: bool = False) -> None:
        """Put what ``url`` serves into ``output_file``."""
        import requests

        here = self._part.stat().st_size if self._part.exists() else 0
        # A range counts the file's own bytes, so the server must not pack them for the way.
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={here}-"} if here else {})
        with requests.get(url, headers=headers, stream=True, timeout=_SILENCE_SECONDS) as response:
            if not (here and response.status_code == _BEYOND_ITS_END):
                response.raise_for_status()
                self._write(response, here if response.status_code == _PARTIAL else 0)
        self._part.replace(output_file)

    def _write(self, response: Any, here: int) -> None:
        name, whole = (
            self._part.name.removesuffix(".part"),
            here + int(response.headers.get("content-length", 0)),
        )
        self._advance(name, here, whole)
        with self._part.open("ab" if here else "wb") as file:
            for block in response.iter_content(_BLOCK):
                file.write(block)
                here += len(block)
                self._advance(name, here, whole)
