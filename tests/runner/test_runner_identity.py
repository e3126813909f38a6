"""Another network's figures are never reported: not for equal weights, not after a change, not from the cache."""

import json
import sys

import pytest

from assay.common.errors import UserError
from assay.runner.assemble import write_report
from assay.runner.jobs import forget
from assay.runner.plan import Shard, plan_jobs
from assay.runner.run import Runtime, run_jobs
from assay.runner.shards import merge
from small_jobs import request, run

SAME_WEIGHTS = """
from torch import nn
from digits_models import DESCRIPTION, linear_net

class Defended(nn.Module):
    def __init__(self, activation, levels=None):
        super().__init__()
        self.net, self.activation, self.levels = linear_net(), activation, levels

    def forward(self, images):
        images = images if self.levels is None else (images * self.levels).round() / self.levels
        return self.activation(self.net(images))

def plain(): return Defended(nn.Identity()), DESCRIPTION
def tanh(): return Defended(nn.Tanh()), DESCRIPTION
def quantised(): return Defended(nn.Identity(), levels=1), DESCRIPTION
"""

BY_SETTING = """
import pathlib
from torch import nn
from digits_models import DESCRIPTION, linear_net

SETTING = pathlib.Path(__file__).with_name("setting.txt")

class Shifted(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = linear_net()

    def forward(self, images):
        return self.net((images + float(SETTING.read_text())) % 1.0)

def net(): return Shifted(), DESCRIPTION
"""


@pytest.fixture
def code(tmp_path, monkeypatch):
    """Writes a module of factories that no other test has; gives its name."""

    def write(text):
        name = f"identity_{abs(hash(str(tmp_path)))}"
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.syspath_prepend(tmp_path)
        return name

    return write


def figures(result):
    return {metric.name: metric.value for metric in result.metrics}


def test_networks_of_equal_weights_get_their_own_figures(tmp_path, task, code):
    name = code(SAME_WEIGHTS)
    requests = [request(task, model=f"{name}:{net}") for net in ("plain", "quantised", "tanh")]
    plain, quantised, tanh = write_report(run(requests, tmp_path / "o")).results  # sorted by name
    assert len({one.model.weights_sha256 for one in (plain, tanh, quantised)}) == 1
    assert len({one.model.structure_sha256 for one in (plain, tanh, quantised)}) == 3
    assert len({one.job_key for one in (plain, tanh, quantised)}) == 3
    assert figures(quantised) != figures(plain)


def test_a_defence_meets_the_random_numbers_of_the_network_alone(task, code):
    name = code(SAME_WEIGHTS)
    plain, quantised = plan_jobs([request(task, model=f"{name}:{net}") for net in ("plain", "quantised")])
    assert plain.key != quantised.key
    assert plain.seed_root == quantised.seed_root


def test_a_line_of_the_factory_s_file_makes_another_job(task, tmp_path, code, monkeypatch):
    name = code(SAME_WEIGHTS)
    (before,) = plan_jobs([request(task, model=f"{name}:plain")])
    code(SAME_WEIGHTS.replace("images if", "images * 0.5 if"))
    monkeypatch.delitem(sys.modules, name)
    (after,) = plan_jobs([request(task, model=f"{name}:plain")])
    assert before.key != after.key


def test_a_network_that_answers_otherwise_does_not_go_on_another_s_run(tmp_path, task, code):
    name = code(BY_SETTING)
    (tmp_path / "setting.txt").write_text("0.0")
    asked = [request(task, model=f"{name}:net")]
    run(asked, tmp_path / "o")
    before = {path: path.read_bytes() for path in (tmp_path / "o").rglob("*") if path.is_file()}
    (tmp_path / "setting.txt").write_text("0.5")
    with pytest.raises(UserError, match=r"gives other answers .* give this one another --out"):
        run(asked, tmp_path / "o")
    assert {path: path.read_bytes() for path in (tmp_path / "o").rglob("*") if path.is_file()} == before
    (tmp_path / "setting.txt").write_text("0.0")
    run(asked, tmp_path / "o")


def test_a_worker_whose_network_answers_otherwise_refuses(tmp_path, task, code):
    name = code(BY_SETTING)
    (tmp_path / "setting.txt").write_text("0.0")
    jobs = plan_jobs([request(task, model=f"{name}:net")])
    (tmp_path / "setting.txt").write_text("0.5")
    forget()
    with pytest.raises(UserError, match="changed while the run was under way"):
        run_jobs(jobs, tmp_path / "o")


def test_shards_of_two_networks_do_not_merge(tmp_path, task, code):
    name = code(BY_SETTING)
    for number, setting in ((1, "0.0"), (2, "0.5")):
        (tmp_path / "setting.txt").write_text(setting)
        run_jobs(
            plan_jobs([request(task, model=f"{name}:net")]),
            tmp_path / str(number),
            Runtime(shard=Shard(number, 2)),
        )
    with pytest.raises(UserError, match="their networks give other answers"):
        merge([tmp_path / "1", tmp_path / "2"], tmp_path / "whole")
    assert not (tmp_path / "whole").exists()


def test_a_merged_run_knows_the_network_that_began_it(tmp_path, task, code):
    name = code(BY_SETTING)
    (tmp_path / "setting.txt").write_text("0.0")
    asked = [request(task, model=f"{name}:net")]
    for number in (1, 2):
        run_jobs(plan_jobs(asked), tmp_path / str(number), Runtime(shard=Shard(number, 2)))
    merge([tmp_path / "1", tmp_path / "2"], tmp_path / "whole")
    (tmp_path / "setting.txt").write_text("0.5")
    with pytest.raises(UserError, match=r"gives? other answers"):
        run_jobs(plan_jobs(asked), tmp_path / "whole")


def test_a_damaged_fingerprint_is_one_sentence(tmp_path, task):
    folder = run([request(task)], tmp_path / "o")
    (stored,) = (tmp_path / "o").glob("jobs/*/fingerprint.json")
    assert json.loads(stored.read_text())
    stored.write_text("{")
    with pytest.raises(UserError, match="is damaged"):
        run([request(task)], folder.path)
