"""What a chunk under way has done so far: kept beside the stored chunks, so that a stop loses seconds and no chunk.

::

    DIR/jobs/<key>/unfinished/000012/spent.json   what its work took before it was stopped
    DIR/jobs/<key>/unfinished/000012/<hash>/      savepoints of some of its units (``common.savepoints``)

The hash is of all that could change a bit of the work: units, batch, versions and machine. Where one of these differs,
the work begins anew. The folder goes when the chunk is stored.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from assay.common.canonical import canonical_sha256
from assay.common.savepoints import NONE, Savepoints
from assay.runner.work import COUNTED, summed

_SECONDS = ("wall_seconds", "cpu_seconds", "device_seconds", "waiting_seconds")
_MOST = 10**9


class Unfinished:
    """The unfinished work of one task, in this process and in those before it that were stopped."""

    def __init__(
        self, folder: Path | None, environment: Mapping[str, Any], spent: Callable[[], Mapping[str, Any]]
    ) -> None:
        """Read what was spent before.

        Args:
            folder: where the work is kept; None where nothing is.
            environment: of this process.
            spent: what the work has taken in this process: seconds and passes.
        """
        self._folder = folder
        self._environment, self._spent = environment, spent
        self._before = {} if self._folder is None else _spent_in(self._folder / "spent.json")

    def savepoints(self, unit_ids: Sequence[str], batch_size: int) -> Savepoints:
        """The savepoints of some units that are run together."""
        if self._folder is None:
            return NONE
        decisive = {"units": list(unit_ids), "batch_size": batch_size, "environment": dict(self._environment)}
        return Savepoints(self._folder / canonical_sha256(decisive)[:16], on_save=self._note)

    def spent(self) -> dict[str, Any]:
        """What all of the work has taken; the rest is of this process."""
        return summed([self._before, self._spent()])

    def _note(self) -> None:
        assert self._folder is not None
        spent = {name: value for name, value in self.spent().items() if name in (*_SECONDS, *COUNTED)}
        with suppress(OSError):
            (self._folder / "spent.json").write_text(json.dumps(spent), encoding="utf-8")


def _spent_in(path: Path) -> dict[str, float]:
    """A file of :meth:`Unfinished._note`; what is missing or torn counts as nothing."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {
            name: found[name]
            for name in (*_SECONDS, *COUNTED)
            if type(found.get(name)) in (int, float) and 0 <= found[name] < _MOST
        }
    except (OSError, ValueError, AttributeError):
        return {}
