"""Make the is-a graph of the 1000 ImageNet classes from WordNet 3.0's data files.

ImageNet names a class by its WordNet 3.0 synset ("n" and the byte offset of its line in
`data.noun`). This script reads that file from Debian's package `wordnet-base` and keeps the
part of its hypernym graph that the measure needs: the 1000 classes, the nodes of one
shortest path between every two of them, and everything above these. Path lengths between classes
are then those of the whole graph. (The classes' ancestors alone do not do: where a synset has
several parents, a shortest path can pass below them, and 11 % of all pairs would come out longer.)
The JSON it writes holds the hashes of the inputs and WordNet's licence notice, which the licence
asks to keep. The same inputs give the same bytes.

    apt-get install wordnet-base
    python scripts/make_imagenet_hierarchy.py
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order

DATA_NOUN_SHA256 = "fea17d2f9656611334eac790e5d69e47645fa180c4aa481fb4cd9b3520754ca2"
HYPERNYM_POINTERS = {"@", "@i"}  # is a kind of; is an instance of
PACKAGE_FOLDER = Path("suite/assay/tasks/consistency/data")
Synset = tuple[str, list[str]]  # (first word, hypernyms)


def parse_synset(line: str) -> tuple[str, Synset]:
    """One line of `data.noun` (wndb(5WN)) as (id, (first word, hypernyms))."""
    fields = line.split(" | ", 1)[0].split()
    word_count = int(fields[3], 16)
    pointers_at = 4 + 2 * word_count
    pointer_count = int(fields[pointers_at])
    pointers = [fields[pointers_at + 1 + 4 * i : pointers_at + 5 + 4 * i] for i in range(pointer_count)]
    hypernyms = [f"n{offset}" for symbol, offset, *_ in pointers if symbol in HYPERNYM_POINTERS]
    return f"n{fields[0]}", (fields[4].replace("_", " "), hypernyms)


def parse_data_noun(text: str) -> tuple[str, dict[str, Synset]]:
    """The licence notice at the head of `data.noun` and every noun synset below it."""
    lines = text.splitlines()
    header = [line for line in lines if line.startswith("  ")]
    notice = "\n".join(line.strip().partition(" ")[2].strip() for line in header).strip()
    return notice, dict(parse_synset(line) for line in lines[len(header) :])


def ancestor_closure(start: Iterable[str], synsets: dict[str, Synset]) -> list[str]:
    """The given synsets and everything above them, sorted."""
    waiting, closure = list(start), set[str]()
    while waiting:
        synset = waiting.pop()
        if synset not in closure:
            closure.add(synset)
            waiting.extend(synsets[synset][1])
    return sorted(closure)


def shortest_path_nodes(classes: list[str], synsets: dict[str, Synset]) -> set[str]:
    """The nodes of one shortest path, edges walked either way, between every two classes."""
    names = list(synsets)
    order = {name: index for index, name in enumerate(names)}
    edges = np.array([(order[child], order[up]) for child, (_, above) in synsets.items() for up in above])
    ends = np.concatenate([edges, edges[:, ::-1]])
    graph = csr_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(len(names), len(names)))
    graph.sort_indices()  # so that breadth-first search visits in one defined order
    at = [order[name] for name in classes]
    kept = set(at)
    for source in at:
        came_from = breadth_first_order(graph, source)[1]
        reached = {source}
        for node in at:
            while node not in reached:
                reached.add(node)
                node = int(came_from[node])
        kept |= reached
    return {names[index] for index in kept}


def make_document(classes: list[str], data_noun: bytes, classes_sha256: str) -> dict[str, object]:
    """The hierarchy document; raises ValueError naming the classes that WordNet lacks."""
    notice, synsets = parse_data_noun(data_noun.decode("ascii"))
    missing = [wnid for wnid in classes if wnid not in synsets]
    if missing:
        raise ValueError(f"{len(missing)} classes are not in this WordNet, e.g. {missing[:5]}")
    return {
        "schema": 1,
        "name": "imagenet-wordnet30",
        "title": "Hypernym graph of the 1000 ImageNet classes in WordNet 3.0",
        "source": {
            "file": "data.noun of Debian's wordnet-base 1:3.0-37",
            "sha256": hashlib.sha256(data_noun).hexdigest(),
            "classes_file": "imagenet_synsets.txt of timm",
            "classes_sha256": classes_sha256,
        },
        "licence": "WordNet 3.0 licence",
        "licence_notice": notice,
        "classes": classes,
        "nodes": {
            synset: {"name": synsets[synset][0], "parents": synsets[synset][1]}
            for synset in ancestor_closure(shortest_path_nodes(classes, synsets), synsets)
        },
    }


def timm_class_list() -> Path:
    """The list in timm of the 1000 class ids in index order, found without importing timm."""
    spec = importlib.util.find_spec("timm")
    if spec is None or spec.origin is None:
        raise SystemExit("timm is not installed; give the list of class ids with --classes")
    return Path(spec.origin).parent / "data" / "_info" / "imagenet_synsets.txt"


def write_document(document: dict[str, object], path: Path) -> None:
    """Write the document with one node a line, so that a change can be read in a diff."""
    nodes = document["nodes"]
    assert isinstance(nodes, dict)
    head = json.dumps({**document, "nodes": None}, indent=1, ensure_ascii=False)
    body = ",\n".join(f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in nodes.items())
    path.write_text(head.replace('"nodes": null', f'"nodes": {{\n{body}\n }}') + "\n", encoding="utf-8")


def main() -> None:
    """Read the two inputs, check WordNet's hash and write the JSON file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-noun", type=Path, default=Path("/usr/share/wordnet/data.noun"))
    parser.add_argument("--classes", type=Path, help="class ids in index order, one a line (default: timm's)")
    parser.add_argument("--out", type=Path, default=PACKAGE_FOLDER / "imagenet_hierarchy.json")
    args = parser.parse_args()
    if not args.data_noun.is_file():
        raise SystemExit(f"{args.data_noun} is missing; install Debian's wordnet-base or give --data-noun")
    data_noun = args.data_noun.read_bytes()
    if hashlib.sha256(data_noun).hexdigest() != DATA_NOUN_SHA256:
        raise SystemExit(
            f"{args.data_noun} is not the data.noun of WordNet 3.0 as packaged in wordnet-base 1:3.0-37"
        )
    class_bytes = (args.classes or timm_class_list()).read_bytes()
    document = make_document(class_bytes.decode().split(), data_noun, hashlib.sha256(class_bytes).hexdigest())
    write_document(document, args.out)


if __name__ == "__main__":
    main()
