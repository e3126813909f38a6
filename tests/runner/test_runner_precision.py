"""Precision: part of the key, set where the work is done, refused where figures would lose their meaning."""

import pytest
import torch

import digits_models
from assay.common.errors import UserError
from assay.models.zoo import load_model
from assay.runner import precision
from assay.runner.assemble import write_report
from assay.runner.job_document import job_document
from assay.runner.jobs import family
from assay.runner.plan import plan_jobs
from assay.runner.precision import Precision
from small_jobs import answers, request, run


def test_bfloat16_answers_in_float32_and_lets_gradients_through():
    model = precision.in_dtype(load_model("digits_models:linear"), "bfloat16")
    images = torch.rand(3, 1, 8, 8, requires_grad=True)
    logits = model.module(images)
    plain = load_model("digits_models:linear").module(images)
    assert logits.dtype == torch.float32
    assert not torch.equal(logits, plain)
    assert torch.allclose(logits, plain, rtol=0.05, atol=0.2)
    (gradient,) = torch.autograd.grad(logits[:, 0].sum(), images)
    expected = digits_models.linear_net()[1].weight[0].reshape(1, 8, 8)
    assert torch.allclose(gradient[0], expected, rtol=0.02, atol=0.01)


def test_autocast_keeps_weights_in_float32_and_lets_gradients_through():
    loaded = load_model("digits_fnn")
    model = precision.in_dtype(loaded, "autocast")
    images = torch.rand(3, 1, 8, 8, requires_grad=True)
    logits = model.module(images)
    plain = loaded.module(images)
    assert all(weight.dtype == torch.float32 for weight in model.module.parameters())
    assert logits.dtype == torch.float32
    assert not torch.equal(logits, plain)
    assert torch.allclose(logits, plain, rtol=0.05, atol=0.3)
    (gradient,) = torch.autograd.grad(logits[:, 0].sum(), images)
    assert gradient.dtype == torch.float32
    assert gradient.abs().amax() > 0


def test_channels_last_moves_the_weights_and_is_named_in_the_key_and_the_command(task):
    (plain,), (moved,) = (
        plan_jobs([request(task, precision=Precision(channels_last=asked))]) for asked in (False, True)
    )
    assert "channels_last" not in plain.identity["precision"]
    assert moved.identity["precision"]["channels_last"] is True
    assert plain.key != moved.key
    assert "--channels-last" in job_document(moved)["command"]
    loaded = precision.computing(load_model("efficientnet_lite0"), Precision(channels_last=True))
    weights = [weight for weight in loaded.module.parameters() if weight.dim() == 4]
    assert weights
    assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in weights)


def test_bfloat16_is_another_job_and_its_result_says_so(tmp_path, task):
    out = tmp_path / "o"
    run([request(task)], out)
    said_before = answers(out)["results.csv"]
    (result,) = write_report(run([request(task, precision=Precision("bfloat16"))], out)).results
    assert result.precision == {"dtype": "bfloat16", "tf32": False, "threads": 1}
    assert "--dtype bfloat16" in result.command
    assert len(list(out.glob("jobs/*"))) == 2
    assert said_before


def test_a_family_that_does_not_allow_it_refuses(task, monkeypatch):
    monkeypatch.setattr(type(family("adversarial")), "dtypes", ("float32",))
    with pytest.raises(UserError, match="can only be computed in float32"):
        plan_jobs([request(task, precision=Precision("bfloat16"))])


@pytest.mark.parametrize("tf32", [False, True])
def test_tf32_and_threads_are_set_where_the_work_is_done(tf32):
    before = torch.get_num_threads()
    try:
        precision.apply(Precision(tf32=tf32, threads=1), "cpu")
        assert torch.backends.cuda.matmul.allow_tf32 is tf32
        assert torch.backends.cudnn.allow_tf32 is tf32
        assert torch.get_num_threads() == 1
    finally:
        precision.apply(Precision(threads=before), "cpu")
