"""What the protocols ask and answer, held to what they asked and answered before.

A hash changes only with an answer. Whoever means to change one raises the family's ``record_version``, and the hash.
"""

from typing import Any

import pytest

from assay.common.canonical import canonical_sha256
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
        "086e0387822a5e7d06f3829d39608ca65d13e97be74af6d0e90860ee8036db93",
    ),
    "adversarial/digits-strong": (
        "d049486c5d18af8b79ffbdbcce96f95d407bf46b52ca0ab4406084def2caaed3",
        "8ab05a16142d389a06bc5ce0f1e051f9ecd56d8cd0f8bda05d947ce30c5768a0",
    ),
    "adversarial/digits-autoattack": (
        "55bd13cc81163f2087c2e52021707f9017249dd42a0d15986e028bed6067df71",
        "e5c2eaef8e76edbf0a632d42871bb06c4ad73059b54a5ace93194186b134bdb4",
    ),
}
CURVES = {
    "each": (
        "295ab55d81321064ffad95d409a787a21f3f85d6dbdcd78bdfab5a76f2d89aea",
        "e2f849eeb9900dd21326fbf57e256c29cd88a9fb87a296bbb966ea7cb60f0036",
    ),
    "bisect": (
        "b815f4f3421ad60a1f324d41591e048a18de4e25440f00b7a3e834bd602fed6e",
        "f305fb370cec7ac05e6f0eb36a6317b2c2729cad2556c7d52b7395320ec8f13b",
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
    job = open_job(JobRequest("digits_fnn", task, limit=3))
    assert hashes(job) == SHIPPED[task]


@pytest.mark.parametrize("curve", CURVES)
def test_every_method_asks_and_answers_as_before(curve: str, tmp_path) -> None:
    path = tmp_path / "all.yaml"
    head = "schema: 1\nfamily: adversarial\ntitle: t\ndata: digits-test\n"
    path.write_text(head + LIST.format(curve=curve))
    job = open_job(JobRequest("digits_fnn", str(path), limit=3, batch_size=2))
    assert hashes(job) == CURVES[curve]
