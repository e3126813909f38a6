"""Networks whose neurons are known, through the whole task."""

import json

import pytest

from assay.tasks.consistency.task import TASK
from opened_jobs import JobRequest, open_job, run_units
from tasks.consistency.coloured_place import HIERARCHY, MANIFEST, MEMBERS, MODELS, SPEC, draw


@pytest.fixture(scope="session")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("colours")
    draw(folder)
    (folder / "colours.yaml").write_text(MANIFEST)
    (folder / "near.json").write_text(json.dumps(HIERARCHY))
    (folder / "t.yaml").write_text(SPEC)
    return folder


@pytest.fixture(scope="session")
def outcome(place):
    """Job and records of one of the models, and its summary."""
    found = {}

    def run(model="detectors", text=SPEC, batch_size=16):
        key = model, text, batch_size
        if key not in found:
            path = place / "t.yaml"
            path.write_text(text)
            job = open_job(JobRequest(f"{MODELS}:{model}", str(path), batch_size=batch_size, trusted=MEMBERS))
            records = [
                record
                for chunk in range(job.chunk_count)
                for record in run_units(job, job.chunk(chunk), lambda _units: None)
            ]
            clean = [record for record in records if record.error is None]
            found[key] = job, records, TASK.summarise(job.spec.spec, clean) if clean else None
        return found[key]

    return run
