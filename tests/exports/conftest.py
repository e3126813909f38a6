"""A finished run for the exports: one sound result, one limited, and one whose guard failed, of real networks."""

import pytest

from assay.exports.reading import results_of
from small_jobs import SPEC, request, run, write_spec

SOUND = "digits_models_linear"
DOUBTFUL = "digits_fnn"


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """The run's folder. digits_fnn was trained on most of `digits`, so its guard `not_trained_on` fails."""
    folder = tmp_path_factory.mktemp("exported")
    seen = write_spec(folder, "seen")
    unseen = write_spec(folder, "unseen", SPEC.replace("data: digits", "data: digits-test"))
    requests = [
        request(unseen, limit=None),
        request(seen, model="digits_fnn", limit=None),
        request(unseen, model="digits_fnn"),
    ]
    run(requests, folder / "run")
    return folder / "run"


@pytest.fixture(scope="session")
def results(finished):
    """Its results, by model and task."""
    return {(each.document.model.name, each.document.task): each for each in results_of(finished)}


@pytest.fixture
def exported(finished, tmp_path, assay):
    """Export the run in a format; gives the place and what was said."""

    def export(form, *options):
        place = tmp_path / form
        code, out, err = assay("export", finished, "--to", form, "--out", place, *options)
        assert code == 0, err
        assert out.startswith(f"{place}: ")
        return place, err

    return export
