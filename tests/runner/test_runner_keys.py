"""A job's key covers exactly what changes the answer: every field of every configuration class is on a side."""

from dataclasses import fields, replace
from types import SimpleNamespace
from typing import Annotated, get_args

import pytest
from pydantic import BaseModel

from assay.common.canonical import canonical_sha256
from assay.common.fields import IDENTITY, RUNTIME, field_sides
from assay.data.draw import Draw
from assay.data.manifest import DataManifest
from assay.models.info import ModelInfo, Preprocessing
from assay.runner.identity import MODEL_SIDES, job_identity, question_identity
from assay.runner.job_document import job_document
from assay.runner.jobs import REQUEST_SIDES, Job, JobRequest
from assay.runner.plan import plan_jobs
from assay.runner.precision import Precision
from assay.runner.run import Runtime
from assay.tasks import families
from assay.tasks.base import RunContext
from assay.tasks.task_spec import TaskSpec
from small_jobs import LINEAR, SPEC, request, write_spec

PREPROCESSING = Preprocessing(crop=(8, 8), mean=(0.0,), std=(1.0,))
INFO = ModelInfo(
    name="m", source="s", licence="l", weights_sha256="0" * 64, architecture="a", label_space="digits",
    num_classes=10, input_shape=(1, 8, 8), preprocessing=PREPROCESSING, piecewise_linear=True,
)  # fmt: skip


def nested_models(model: type[BaseModel]) -> set[type[BaseModel]]:
    """``model`` and every pydantic model in the annotations of its fields."""
    found, waiting = set(), [model]
    while waiting:
        current = waiting.pop()
        if isinstance(current, type) and issubclass(current, BaseModel):
            if current not in found:
                found.add(current)
                waiting += [field.annotation for field in current.model_fields.values()]
        else:
            waiting += [part for part in get_args(current) if not isinstance(part, str | int)]
    return found


@pytest.mark.parametrize("name", sorted(families.families()))
def test_every_field_of_every_spec_is_on_a_side(name):
    for model in nested_models(families.family(name).spec_type):
        homeless = [field for field, side in field_sides(model).items() if side is None]
        assert not homeless, f"{model.__name__}: put {homeless} on the identity or the runtime side"


def test_a_field_that_nobody_put_on_a_side_is_found():
    class Forgetful(TaskSpec):
        colour: str = "red"

    class Nesting(TaskSpec):
        within: Annotated[tuple[Forgetful, ...] | None, IDENTITY] = None

    homeless = {model.__name__: [name for name, side in field_sides(model).items() if side is None]
                for model in nested_models(Nesting)}  # fmt: skip
    assert homeless == {"Nesting": [], "Forgetful": ["colour"]}


def test_every_field_of_requests_and_model_cards_is_on_a_side():
    assert set(REQUEST_SIDES) == {field.name for field in fields(JobRequest)}
    assert set(MODEL_SIDES) == set(ModelInfo.model_fields)
    assert {*REQUEST_SIDES.values(), *MODEL_SIDES.values()} == {IDENTITY, RUNTIME}


def test_precision_and_preprocessing_are_identity_as_a_whole(task):
    (job,) = plan_jobs([request(task)])
    assert set(job.identity["precision"]) == {"dtype", "tf32", "threads"}
    assert set(Precision(channels_last=True).identity()) == {field.name for field in fields(Precision)}
    as_published = {"resize", "crop", "interpolation", "mean", "std"}
    assert (
        set(job.identity["model"]["preprocessing"]) == as_published
    )  # later fields are silent at their default


def test_a_later_field_of_preprocessing_is_identity_once_it_says_something(task):
    (job,) = plan_jobs([request(task)])
    padded = job.info.preprocessing.model_copy(update={"pad": (7,)})
    other = replace(job, info=job.info.model_copy(update={"preprocessing": padded}))
    assert other.identity["model"]["preprocessing"] == {
        **job.identity["model"]["preprocessing"],
        "pad": [7],
    }
    assert other.key != job.key


def test_the_classes_that_are_runtime_as_a_whole_are_known():
    """Nothing of these reaches a key; a new field here must not change an answer, or must move elsewhere."""
    assert {field.name for field in fields(Runtime)} == {
        "executor", "display", "say", "shard", "retry_errors", "with_host",
    }  # fmt: skip
    assert {field.name for field in fields(RunContext)} == {
        "seed_root", "device", "batch_size", "advance", "loader", "first", "chunk_units", "work", "savepoints",
    }  # fmt: skip


def test_every_field_of_a_manifest_is_covered_by_the_data_s_hash_or_named_here(task):
    """The data's hash stands for the manifest: fields that leave it unchanged only describe or locate."""
    (job,) = plan_jobs([request(task)])
    manifest = job.question.data.manifest
    hashes = dict.fromkeys(manifest.files, "0" * 64)
    only_describe = {
        "schema_version",
        "name",
        "title",
        "licence",
        "source",
        "get",
        "location",
        "files",
        "urls",
        "archives",
    }
    changed = {
        "label_space": "mnist", "num_classes": 11, "channels": 3, "alpha": "composite", "cmyk": "convert",
        "layout": manifest.layout.model_copy(update={"file": "other.csv.gz"}),
    }  # fmt: skip
    where_a_picture_needs_it = {"to_grey", "deep"}  # tests/data/test_data_conversions.py
    where_the_data_are_corrupted = {"corruption"}  # tests/data/test_data_corrupted.py
    known = only_describe | set(changed) | where_a_picture_needs_it | where_the_data_are_corrupted
    assert set(DataManifest.model_fields) == known, "say which side the new field is on"
    before = manifest.identity_sha256(hashes)
    for name, value in changed.items():
        assert manifest.model_copy(update={name: value}).identity_sha256(hashes) != before, name


REQUEST_CHANGES = {
    "model": ("digits_models:quantised", True),
    "weights": (None, False),  # tested with real files in test_runner_run.py
    "limit": (50, True),
    "precision": (Precision(threads=2), True),
    "device": ("cuda", False),
    "batch_size": (3, False),
    "data_roots": (("/elsewhere",), False),
    "switches": (("save_adversarial",), True),
    "data": (None, False),  # tested with real folders in test_runner_own_pictures.py
    "trusted": (("digits_models:quantised",), False),
    "settings": (("eps=1/3",), True),
    "name": ("mine", False),
    "draw": (Draw.FIRST, True),
}


@pytest.mark.parametrize("name", [name for name in REQUEST_CHANGES if name != "device"])
def test_a_request_s_field_changes_the_key_exactly_on_the_identity_side(task, name):
    value, changes = REQUEST_CHANGES[name]
    before, after = (
        plan_jobs([one])[0].key for one in (request(task), replace(request(task), **{name: value}))
    )
    assert (before != after) == changes


def test_the_key_of_a_job_that_is_written_out():
    """Stored runs and submissions are found by their keys: this one must never change."""
    spec = TaskSpec(schema=1, family="f", title="t", data="d", seed=3)
    question = question_identity(
        spec, SimpleNamespace(family="f", record_version=2, chunk_units=lambda _: 16), "2" * 64, None
    )
    assert canonical_sha256(job_identity(question, INFO.model_dump(mode="json"), Precision().identity())) == (
        "5b20dad26ba26f3c7a2d46b02606ce81c2138e75cd54cdcd916b94881e05c860"
    )


def test_the_device_is_not_in_the_key(task):
    (job,) = plan_jobs([request(task)])
    moved = Job(replace(job.request, device="cuda:3"), job.question, job.info)
    assert moved.key == job.key


def test_a_limit_that_leaves_nothing_out_is_no_limit(task):
    (whole,), (enough,) = plan_jobs([request(task, limit=None)]), plan_jobs([request(task, limit=99_999)])
    assert whole.key == enough.key


MODEL_CHANGES = {
    "name": "n", "source": "x", "licence": "x", "weights_sha256": "1" * 64, "architecture": "b",
    "label_space": "other", "num_classes": 11, "input_shape": (1, 9, 9), "piecewise_linear": False,
    "max_pooling": True,
    "classes": tuple("abcdefghij"), "preprocessing": PREPROCESSING.model_copy(update={"interpolation": "nearest"}),
}  # fmt: skip


@pytest.mark.parametrize("name", MODEL_CHANGES)
def test_a_card_s_field_changes_the_key_exactly_on_the_identity_side(task, name):
    (job,) = plan_jobs([request(task)])
    before = Job(job.request, job.question, INFO).key
    after = Job(job.request, job.question, INFO.model_copy(update={name: MODEL_CHANGES[name]})).key
    assert (before != after) == (MODEL_SIDES[name] == IDENTITY)


@pytest.mark.parametrize("max_pooling", [False, True])
@pytest.mark.parametrize("pooling_version", [None, 99])
def test_max_pooling_changes_the_key_where_it_changed_the_records(task, pooling_version, max_pooling):
    """Where a family's records of pooling networks differ from before, their keys do, and no other's."""
    (job,) = plan_jobs([request(task)])
    family = job.question.task
    question = replace(job.question, task=SimpleNamespace(
        family=family.family, record_version=family.record_version, pooling_version=pooling_version,
        chunk_units=lambda _: 1, not_applicable=lambda *_: None,
    ))  # fmt: skip
    found = Job(job.request, question, INFO.model_copy(update={"max_pooling": max_pooling}))
    raised = max_pooling and pooling_version is not None
    assert found.identity["record"]["version"] == (99 if raised else family.record_version)
    assert job_document(found).get("record_version") == (99 if raised else None)
    assert (found.key == Job(job.request, question, INFO).key) != raised


@pytest.mark.parametrize("name", Precision.__dataclass_fields__)
def test_every_part_of_the_precision_is_in_the_key(task, name):
    other = {"dtype": "bfloat16", "tf32": True, "threads": 2, "channels_last": True}
    before, after = (
        plan_jobs([request(task, precision=precision)])[0].identity["precision"]
        for precision in (Precision(), Precision(**{name: other[name]}))
    )
    assert before != after
    assert Precision().identity() == {"dtype": "float32", "tf32": False, "threads": 1}


@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        ("title: Digits under attack", "title: Another title", False),
        ("data: digits", "data: digits\ndescription: words", False),
        ("data: digits", f"data: digits\ndefault_model: {LINEAR}", False),
        ("eps: [0, 1/10]", "eps: [0, 2/10]", True),
        ("eps: [0, 1/10]", "eps: [0, 0.1]", False),
        ("eps: [0, 1/10]", "eps: [0, 1/10]\nseed: 1", True),
        ("eps: [0, 1/10]", "eps: [0, 1/10]\nsave_adversarial: true", True),
        ("eps: [0, 1/10]", "eps: [0, 1/10]\nsheets: 0", True),
        ("eps: [0, 1/10]", "eps: [0, 1/10]\nchunk_units: 20", True),
        ("{method: fgsm}", "{method: bim, steps: 2, step_size: 0.2 eps}", True),
    ],
)
def test_a_spec_s_field_changes_the_key_exactly_when_it_changes_the_answer(tmp_path, old, new, changes):
    before, after = (
        plan_jobs([request(write_spec(tmp_path, text=text))])[0].key
        for text in (SPEC, SPEC.replace(old, new))
    )
    assert (before != after) == changes
