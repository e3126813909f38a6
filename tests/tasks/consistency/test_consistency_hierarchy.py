"""Distances in the is-a graph, checked by hand and by the laws of a graph metric."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from assay.common.errors import UserError
from assay.common.resources import shipped_folder
from assay.tasks.consistency.hierarchy import (
    IMAGENET_HIERARCHY,
    check_labels,
    parse_hierarchy,
    path_lengths,
    similarity,
)

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / "scripts" / "make_imagenet_hierarchy.py"
DATA_NOUN = Path("/usr/share/wordnet/data.noun")
TABBY, TIGER_CAT, PERSIAN_CAT, IRISH_WOLFHOUND = 281, 282, 283, 170


def read(path):
    return parse_hierarchy(path.read_bytes(), str(path))


@pytest.fixture(scope="module")
def imagenet():
    return read(IMAGENET_HIERARCHY)


@pytest.fixture(scope="module")
def lengths(imagenet):
    return path_lengths(imagenet)


def write(tmp_path, classes, nodes):
    document = {"name": "small", "classes": classes, "nodes": nodes}
    path = tmp_path / "small.json"
    path.write_text(json.dumps(document))
    return path


def node(*parents):
    return {"name": "x", "parents": list(parents)}


def test_every_imagenet_class_resolves_to_a_connected_node(imagenet, lengths):
    assert len(imagenet.classes) == 1000
    assert lengths.shape == (1000, 1000)


def test_distances_are_a_metric(lengths):
    assert (lengths == lengths.T).all()
    assert (np.diag(lengths) == 0).all()
    assert (lengths[~np.eye(1000, dtype=bool)] > 0).all()
    via = np.random.default_rng(0).integers(0, 1000, size=20)
    assert all((lengths <= lengths[:, [k]] + lengths[[k], :]).all() for k in via)


@pytest.mark.parametrize(
    ("first", "second", "edges"),
    [
        (TABBY, TIGER_CAT, 2),  # tabby - domestic cat - tiger cat
        # Persian cat, domestic cat, domestic animal, dog, hunting dog, hound, wolfhound, Irish wolfhound
        (PERSIAN_CAT, IRISH_WOLFHOUND, 7),
        (0, 0, 0),
    ],
)
def test_distances_worked_by_hand(lengths, first, second, edges):
    assert lengths[first, second] == edges


def test_class_names_stand_in_imagenet_order(imagenet):
    assert imagenet.class_name(0) == "tench"
    assert imagenet.class_name(PERSIAN_CAT) == "Persian cat"
    assert imagenet.class_name(999) == "toilet tissue"


def test_hierarchy_file_keeps_the_licence_notice_and_its_inputs_hash():
    document = json.loads(IMAGENET_HIERARCHY.read_text())
    assert "WordNet 3.0 Copyright 2006 by Princeton University" in document["licence_notice"]
    assert "THIS SOFTWARE AND DATABASE IS PROVIDED" in document["licence_notice"]
    assert f'DATA_NOUN_SHA256 = "{document["source"]["sha256"]}"' in SCRIPT.read_text()


def test_the_script_makes_the_committed_file(tmp_path):
    if not DATA_NOUN.exists():
        pytest.skip("Debian's wordnet-base is not installed")
    out = tmp_path / "made.json"
    subprocess.run([sys.executable, SCRIPT, "--out", out], check=True)
    assert out.read_bytes() == IMAGENET_HIERARCHY.read_bytes()


def test_the_script_refuses_another_wordnet(tmp_path):
    other = tmp_path / "data.noun"
    other.write_text("another edition")
    done = subprocess.run([sys.executable, SCRIPT, "--data-noun", other], capture_output=True, text=True)
    assert done.returncode != 0
    assert "WordNet 3.0" in done.stderr


def test_the_hash_is_of_the_file(imagenet):
    assert imagenet.sha256 == hashlib.sha256(IMAGENET_HIERARCHY.read_bytes()).hexdigest()


def test_a_path_may_pass_below_the_ancestors(tmp_path):
    # a and b share only the far root by ancestors (4 edges up and down), but c has both their parents: 4 < 6
    nodes = {
        "a": node("pa"),
        "b": node("pb"),
        "pa": node("qa"),
        "pb": node("qb"),
        "qa": node("root"),
        "qb": node("root"),
        "c": node("pa", "pb"),
        "root": node(),
    }
    lengths = path_lengths(read(write(tmp_path, ["a", "b"], nodes)))
    assert lengths.tolist() == [[0, 4], [4, 0]]


def test_similarity_is_the_gaussian_of_the_distance(lengths):
    matrix = similarity(lengths, sigma=2.0)
    assert matrix[TABBY, TIGER_CAT] == pytest.approx(np.exp(-4 / 8))
    assert (np.diag(matrix) == 1).all()
    assert similarity(lengths, sigma=1e-3)[TABBY, TIGER_CAT] == 0


@pytest.mark.parametrize("sigma", [0.0, -1.0, float("nan")])
def test_sigma_must_be_positive(lengths, sigma):
    with pytest.raises(UserError, match="sigma"):
        similarity(lengths, sigma)


@pytest.mark.parametrize(
    ("classes", "nodes", "message"),
    [
        (["a", "a"], {"a": node()}, "more than once"),
        (["a"], {"b": node()}, "no node"),
        (["a"], {"a": node("gone")}, "no node"),
        (["a"], {"a": node("b"), "b": node("a")}, "cycle"),
        ([], {"a": node()}, "hierarchy format"),
        (["a"], {"a": {"name": "x"}}, "hierarchy format"),
    ],
)
def test_a_broken_hierarchy_is_refused(tmp_path, classes, nodes, message):
    with pytest.raises(UserError, match=message):
        read(write(tmp_path, classes, nodes))


def test_a_malformed_file_is_named(tmp_path):
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(UserError, match=r"bad\.json"):
        read(tmp_path / "bad.json")


def test_classes_without_a_path_are_named(tmp_path):
    hierarchy = read(write(tmp_path, ["a", "b"], {"a": node(), "b": node()}))
    with pytest.raises(UserError, match="no path between classes a and b"):
        path_lengths(hierarchy)


def test_labels_outside_the_hierarchy_are_refused(imagenet):
    check_labels(imagenet, np.array([0, 999]))
    with pytest.raises(UserError, match="first: 1000"):
        check_labels(imagenet, np.array([3, 1000]))
    with pytest.raises(UserError, match="first: -1"):
        check_labels(imagenet, np.array([-1]))


def test_the_classes_of_cifar_10_stand_where_wordnet_has_them(imagenet):
    short = read(shipped_folder("benchmarks") / "consistency" / "cifar10-hierarchy.json")
    names = [short.class_name(label) for label in range(10)]
    assert names == ["airplane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    for node, above in short.parents.items():
        assert short.names[node] == imagenet.names[node]
        assert set(above) <= ancestors(imagenet, node)
    met = [node for node in short.parents if node not in short.classes]
    assert all(sum(node in above for above in short.parents.values()) >= 2 for node in met)
    lengths = path_lengths(short)
    cat, dog, frog, truck = (names.index(name) for name in ("cat", "dog", "frog", "truck"))
    assert [lengths[cat, other] for other in (dog, frog, truck)] == [2, 4, 7]


def ancestors(hierarchy, node):
    above = set(hierarchy.parents[node])
    return above.union(*(ancestors(hierarchy, parent) for parent in above))
