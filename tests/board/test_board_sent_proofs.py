"""Proofs that a submission states are made again where its pictures are looked at."""

from dataclasses import replace

import pytest
from board_place import use_specs
from sent_runs import SAVING, TASK, saved_run, write_task

from assay.runner.assemble import stored_jobs
from assay.runner.store import RunFolder
from assay.tasks.adversarial.saved import look
from assay.tasks.families import load_spec
from assay.tasks.shared.images import DataSource
from assay.tasks.witness import ReferenceNetwork, SentRecords

# Beside attacks on every image, and in the place of attacks on what is proved.
SPECS = {"certified": f"{SAVING}certified: true\n", "proofs first": f"{SAVING}in_turn: true\nproofs: first\n"}


@pytest.fixture(scope="module", params=SPECS)
def sent(request, tmp_path_factory):
    """A run of a network whose labels can be proved, as it is looked at."""
    folder = write_task(tmp_path_factory.mktemp("specs"), SPECS[request.param], units=40)
    with pytest.MonkeyPatch.context() as patch:
        use_specs(patch, folder)
        patch.setenv("ASSAY_DATA", str(folder))
        (job,) = stored_jobs(RunFolder.existing(saved_run(tmp_path_factory.mktemp("sent") / "run")))
        loaded = load_spec(TASK, ("save_adversarial",))
        network = ReferenceNetwork("digits_fnn", None, job.document["model"])
        source = DataSource(loaded.spec.data, loaded.folder, ())
        yield SentRecords(loaded.spec, source, network, job.records(), job.store.path / "files")


def all_proved(record):
    """Let a record say that its label is proved at every radius at which no attack broke it."""
    attacks = record.values["attacks"].values()
    holds = {
        eps: all(by_eps[eps]["correct"] for by_eps in attacks) for eps in record.values["certified"]["holds"]
    }
    return replace(
        record, values=record.values | {"certified": record.values["certified"] | {"holds": holds}}
    )


def test_proofs_that_were_made_are_found_again(sent):
    assert sum(record.values["certified"]["holds"]["1/20"] for record in sent.records) >= 3
    assert look(sent).differences == ()


def test_proofs_that_were_only_stated_are_named(sent):
    stated = replace(sent, records=[all_proved(record) for record in sent.records])
    found = look(stated).differences
    assert any("an image is said to be proved, but no bound proves it" in text for text in found)
