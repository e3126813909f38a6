"""What the protocols ask and answer, held to what they asked and answered before.

A hash changes only with an answer. Whoever means to change one raises the family's ``record_version``, and the hash.
"""

from typing import Any

import pytest

from assay.common.canonical import canonical_sha256
from assay.data.draw import Draw
from opened_jobs import JobRequest, open_job, run_whole

LIST = """eps: [0, 1/20, 1/5]
curve: {curve}
certified: true
probe_queries: 9
save_adversarial: true
attacks:
  - {{method: fgsm, targeted: least_likely}}
  - {{method: bim, steps: 4, step_size: 0.3 eps, transfer_from: digits_fnn, name: moved}}
  - {{method: pgd, steps: 5, step_size: 1/50, restarts: 2}}
  - {{method: mim, steps: 5, step_size: 0.3 eps, momentum: 0.9, momentum_norm: l2, loss: dlr}}
  - {{method: apgd, steps: 6, draws: 2}}
  - {{method: apgd_t, steps: 6, restarts: 3, loss: margin}}
  - {{method: square, steps: 20, loss: margin}}
  - {{method: fab, steps: 6, restarts: 2, loss: margin}}
  - {{method: fab_t, steps: 6, restarts: 3, loss: margin}}
  - {{method: bim, steps: 3, step_size: 0.5 eps, backend: foolbox, name: theirs}}
  - {{method: LinfFastGradientAttack, backend: foolbox}}
"""
SHIPPED = {
    "adversarial/digits": (
        "727e0bfe6f3da84caabe116547e5ca354b486558be370932b774b08005f9306d",
        "133176ceb7f059eea8bbbed9795256ae47910af97f1d6a48ffe463075b4757ce",
    ),
    "adversarial/digits-strong": (
        "d049486c5d18af8b79ffbdbcce96f95d407bf46b52ca0ab4406084def2caaed3",
        "823484bb316bc2b9e635bb420c0ca6686dc610618500c65bd291beabc34bf549",
    ),
    "adversarial/digits-autoattack": (
        "55bd13cc81163f2087c2e52021707f9017249dd42a0d15986e028bed6067df71",
        "450ef81c537e0a73fe6c60d5d704755c6d702d0c23a35b426a749853f96f1bb1",
    ),
}
CURVES = {
    "each": (
        "295ab55d81321064ffad95d409a787a21f3f85d6dbdcd78bdfab5a76f2d89aea",
        "cfb2c19edfec69214ebc61b05226b2cd471c4af0c595960b6b8d98ee049a4239",
    ),
    "bisect": (
        "b815f4f3421ad60a1f324d41591e048a18de4e25440f00b7a3e834bd602fed6e",
        "a93313d429eccd7365cd78f8a4848ee6111e48274771a27b4bcd9bc92fc474d6",
    ),
}


def plain(value: Any) -> Any:
    """Values with four decimals: what two processors may compute alike."""
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    return round(value, 4) if isinstance(value, float) else value


def hashes(job: Any) -> tuple[str, str]:
    """Of what a job's spec adds to its key, and of its records with the names of their files."""
    records = [[each.unit_id, plain(each.values), sorted(each.files)] for each in run_whole(job).records]
    return canonical_sha256(job.spec.spec.identity()), canonical_sha256(records)


@pytest.mark.parametrize("task", SHIPPED)
def test_a_shipped_protocol_asks_and_answers_as_before(task: str) -> None:
    job = open_job(JobRequest("digits_fnn", task, limit=1 if "auto" in task else 2, draw=Draw.FIRST))
    assert hashes(job) == SHIPPED[task]


@pytest.mark.parametrize("curve", CURVES)
def test_every_method_asks_and_answers_as_before(curve: str, tmp_path) -> None:
    path = tmp_path / "all.yaml"
    head = "schema: 1\nfamily: adversarial\ntitle: t\ndata: digits-test\n"
    path.write_text(head + LIST.format(curve=curve))
    job = open_job(JobRequest("digits_fnn", str(path), limit=2, batch_size=2, draw=Draw.FIRST))
    assert hashes(job) == CURVES[curve]
