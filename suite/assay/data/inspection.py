"""A look at every picture file of a data set before anything is computed: its colours, and whether it can be read."""

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import PIL

from assay.common.canonical import canonical_sha256
from assay.data.files import DataFiles
from assay.data.hashes import Memory
from assay.data.layouts.base import open_picture
from assay.data.pixels import ColourPolicy, ColourTraits, Conversion, ImageError, conversions, decode, traits


@dataclass(frozen=True)
class Inspection:
    """What the pictures of a data set are like.

    Attributes:
        traits: how many pictures have them.
        unreadable: the files that cannot be decoded, sorted.
    """

    traits: Mapping[ColourTraits, int]
    unreadable: tuple[str, ...] = ()

    def conversions(self, policy: ColourPolicy) -> dict[Conversion, int]:
        """How many pictures ``policy`` converts, by kind of conversion."""
        found: Counter[Conversion] = Counter()
        for kind, count in self.traits.items():
            for conversion in conversions(kind, policy):
                found[conversion] += count
        return dict(sorted(found.items()))


def inspect(files: DataFiles, hashes: Mapping[str, str]) -> Inspection:
    """Decode every picture once; results for the same contents are remembered.

    Args:
        files: of the data set.
        hashes: of its picture files, by name.
    """
    memory = Memory("pictures.json")
    key = canonical_sha256({"pillow": PIL.__version__, "pictures": sorted(hashes.items())})
    known = _parsed(memory.get(key))
    if known is not None:
        return known
    found = _seen(files, sorted(hashes))
    memory.put(key, _written(found))
    memory.save()
    return found


def _seen(files: DataFiles, names: Sequence[str]) -> Inspection:
    # Pillow decodes without Python's lock.
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1), thread_name_prefix="assay-inspection") as pool:
        seen = list(pool.map(partial(_traits_of, files), names))
    unreadable = [name for name, kind in zip(names, seen, strict=True) if kind is None]
    return Inspection(Counter(kind for kind in seen if kind), tuple(unreadable))


def _traits_of(files: DataFiles, name: str) -> ColourTraits | None:
    """The traits of one picture, or None where the file is no picture."""
    try:
        with open_picture(files, name) as image:
            decode(image)
            return traits(image)
    except ImageError:
        return None


def _written(found: Inspection) -> str:
    kinds = [[*kind, count] for kind, count in sorted(found.traits.items())]
    return json.dumps({"traits": kinds, "unreadable": found.unreadable})


def _parsed(text: str | None) -> Inspection | None:
    try:
        document = json.loads(text or "")
        kinds = {ColourTraits(*kind): int(count) for *kind, count in document["traits"]}
        return Inspection(kinds, tuple(map(str, document["unreadable"])))
    except (ValueError, TypeError, KeyError):
        return None
