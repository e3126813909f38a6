"""The is-a graph over a label space, and how near two classes stand in it.

A hierarchy file is JSON: `classes` lists the synset of every label in index order; `nodes` gives
each synset its name and its parents (hypernyms). The file is part of a task's identity, since
another hierarchy is another measure.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from scipy.sparse import csr_array
from scipy.sparse.csgraph import shortest_path

from assay.common.canonical import canonical_json
from assay.common.errors import UserError

MAX_CLASSES = 10_000  # a matrix of every class with every other then stays below 1 GB
IMAGENET_HIERARCHY = Path(__file__).parent / "data" / "imagenet_hierarchy.json"


class _Node(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    parents: tuple[str, ...]


class _HierarchyDocument(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)
    name: str
    licence_notice: str = ""
    classes: Annotated[tuple[str, ...], Field(min_length=1)]
    nodes: dict[str, _Node]


@dataclass(frozen=True)
class Hierarchy:
    """A validated is-a graph.

    Attributes:
        name: what the file calls itself.
        classes: the node of each label, in label order; no node twice.
        names: a readable name for every node.
        parents: the hypernyms of every node; acyclic, and every parent is itself a node.
        sha256: of the file's bytes.
    """

    name: str
    classes: tuple[str, ...]
    names: dict[str, str]
    parents: dict[str, tuple[str, ...]]
    sha256: str

    def class_name(self, label: int) -> str:
        """The readable name of one label."""
        return self.names[self.classes[label]]


def parse_hierarchy(content: bytes, where: str) -> Hierarchy:
    """Check the bytes of a hierarchy file; ``where`` names it in complaints.

    Raises:
        UserError: the file is malformed, a class or parent is not a node, a class stands twice, or the graph has a
            cycle.
    """
    try:
        document = _HierarchyDocument.model_validate(json.loads(content))
    except (json.JSONDecodeError, UnicodeDecodeError, ValidationError, RecursionError) as error:
        first = " ".join(str(error).split())
        raise UserError(f"hierarchy file {where} is not of the hierarchy format: {first}") from error
    hierarchy = Hierarchy(
        name=document.name,
        classes=document.classes,
        names={key: node.name for key, node in document.nodes.items()},
        parents={key: node.parents for key, node in document.nodes.items()},
        sha256=hashlib.sha256(content).hexdigest(),
    )
    _check_graph(hierarchy, where)
    return hierarchy


def flat_hierarchy(n_classes: int) -> bytes:
    """The content of a hierarchy file with every class a child of one root: two edges between any two."""
    classes = [f"class-{label}" for label in range(n_classes)]
    nodes = {name: {"name": name, "parents": ["root"]} for name in classes}
    document = {
        "name": "flat",
        "classes": classes,
        "nodes": {"root": {"name": "root", "parents": []}, **nodes},
    }
    return canonical_json(document).encode()


def named_hierarchy(name: str, n_classes: int) -> bytes | None:
    """The bytes of the hierarchy that goes by a name: ``imagenet``, or ``flat`` over so many classes.

    None for any other name, which is a file of the user's own.
    """
    if name == "flat":
        return flat_hierarchy(n_classes)
    return IMAGENET_HIERARCHY.read_bytes() if name == "imagenet" else None


def _check_graph(hierarchy: Hierarchy, where: str) -> None:
    if len(hierarchy.classes) > MAX_CLASSES:
        raise UserError(
            f"hierarchy file {where} has {len(hierarchy.classes)} classes, more than {MAX_CLASSES}; "
            "keep the classes of your data"
        )
    twice = sorted({name for name in hierarchy.classes if hierarchy.classes.count(name) > 1})
    if twice:
        raise UserError(f"hierarchy file {where} lists class {twice[0]} more than once; keep one")
    mentioned = set(hierarchy.classes).union(*hierarchy.parents.values())
    unknown = sorted(mentioned - hierarchy.parents.keys())
    if unknown:
        raise UserError(
            f"hierarchy file {where} uses {unknown[0]} but has no node of that name; add it to 'nodes'"
        )
    try:
        TopologicalSorter(hierarchy.parents).prepare()
    except CycleError as error:
        loop = " is a ".join(reversed(error.args[1]))
        raise UserError(f"hierarchy file {where} has a cycle ({loop}); remove one of these edges") from error


def path_lengths(hierarchy: Hierarchy) -> npt.NDArray[np.int64]:
    """Edges on the shortest path between every two classes, walking hypernym edges either way.

    Returns:
        (classes, classes), symmetric, zero on the diagonal.

    Raises:
        UserError: two classes are not connected.
    """
    order = {node: index for index, node in enumerate(hierarchy.parents)}
    edges = [(order[child], order[parent]) for child, above in hierarchy.parents.items() for parent in above]
    rows, columns = np.array(edges, dtype=np.int64).reshape(-1, 2).T
    graph = csr_array((np.ones(len(edges)), (rows, columns)), shape=(len(order), len(order)))
    at = np.array([order[name] for name in hierarchy.classes])
    lengths = shortest_path(graph, method="D", directed=False, unweighted=True, indices=at)[:, at]
    apart = np.argwhere(np.isinf(lengths))
    if len(apart):
        first, second = (hierarchy.classes[i] for i in apart[0])
        raise UserError(
            f"hierarchy {hierarchy.name} has no path between classes {first} and {second}; "
            "give them a common root"
        )
    return lengths.astype(np.int64)


def similarity(lengths: npt.NDArray[np.int64], sigma: float) -> npt.NDArray[np.float64]:
    """A with a_ij = exp(-d_ij^2 / (2 sigma^2)) (Dong et al., section 3.2), sigma in edges.

    Raises:
        UserError: sigma is not positive.
    """
    if not sigma > 0:
        raise UserError(f"sigma must be a positive number of edges, got {sigma}")
    matrix: npt.NDArray[np.float64] = np.exp(-(lengths.astype(np.float64) ** 2) / (2 * sigma**2))
    return matrix


def check_labels(hierarchy: Hierarchy, labels: npt.NDArray[np.integer]) -> None:
    """Raise UserError unless every label is an index into the hierarchy's classes."""
    outside = labels[(labels < 0) | (labels >= len(hierarchy.classes))]
    if outside.size:
        raise UserError(
            f"{outside.size} of {labels.size} labels lie outside hierarchy {hierarchy.name} "
            f"(first: {outside.flat[0]}; it has {len(hierarchy.classes)} classes); "
            "name the hierarchy file of this label space in the task"
        )
