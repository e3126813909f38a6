import math

import pytest
import torch
from torch import nn

from assay.common.errors import UserError
from assay.tasks.verification import table
from assay.tasks.verification import verify as verify_module
from assay.tasks.verification.grammar import parse_theta
from assay.tasks.verification.network import read_network
from assay.tasks.verification.problem import ProofQuestion
from assay.tasks.verification.verify import verify

PLANE = ["brightness:0:1", "patch:0:1:0:0:1x1"]  # x1 = b + p, x2 = b


def two_neurons(weight, bias, out, out_bias):
    """A network on images of two pixels, from its numbers."""
    module = nn.Sequential(
        nn.Flatten(), nn.Linear(2, len(bias)), nn.ReLU(), nn.Linear(len(bias), len(out_bias))
    )
    for layer, (matrix, offset) in ((module[1], (weight, bias)), (module[3], (out, out_bias))):
        layer.weight.data = torch.tensor(matrix)
        layer.bias.data = torch.tensor(offset)
    return read_network(module, (1, 1, 2))


BLACK = torch.zeros(1, 1, 2)
# f0 = 1, f1 = 2 relu(x1 - 0.5) - relu(x2 - 0.25): two lines, b + p = 0.5 and b = 0.25, that cross inside
WORKED = two_neurons([[1.0, 0], [0, 1]], [-0.5, -0.25], [[0.0, 0], [2, -1]], [1.0, 0])


def finding(result, delta):
    return next(each for each in result.findings if each.delta == delta)


def test_hand_worked_network_has_its_four_cells():
    result = verify(WORKED, BLACK, ProofQuestion(parse_theta(PLANE)))
    areas = dict(zip(result.table.ai_max.tolist(), result.table.volumes.tolist(), strict=True))
    assert areas == pytest.approx({0: 0.09375, 1: 0.03125, 2: 0.15625, math.sqrt(5): 0.71875}, rel=1e-12)
    assert result.sup_ai == pytest.approx(math.sqrt(5), rel=1e-15)
    assert result.complete
    assert result.cells == 4


def test_hand_worked_network_has_its_shares_and_verdicts():
    result = verify(WORKED, BLACK, ProofQuestion(parse_theta(PLANE), deltas=(0.5, 1.5, 2.1, 2.3)))
    shares = [(each.verdict, each.satisfied, each.violated) for each in result.findings]
    expected = [("violated", 0.09375), ("violated", 0.125), ("violated", 0.28125), ("robust", 1)]
    for (verdict, satisfied, violated), (right, share) in zip(shares, expected, strict=False):
        assert verdict == right
        assert satisfied == pytest.approx(share, rel=1e-12)
        assert violated == pytest.approx(1 - share, abs=1e-12)


def test_hand_worked_network_has_its_smallest_margin():
    result = verify(WORKED, BLACK, ProofQuestion(parse_theta(PLANE)))
    assert result.label == 0
    assert result.min_margin == pytest.approx(-1.25, rel=1e-14)
    assert result.theta_min.tolist() == [1, 1]
    found = finding(result, None)
    assert found.verdict == "violated"
    assert (found.satisfied, found.violated) == pytest.approx((0.125, 0))
    assert found.partial == pytest.approx(0.875)


def test_hand_worked_network_has_its_component_and_boundary():
    result = verify(WORKED, BLACK, ProofQuestion(parse_theta(PLANE), deltas=(1.5,)))
    component = finding(result, 1.5).component
    assert component.share == pytest.approx(0.125, rel=1e-12)
    assert component.farthest.norm() == pytest.approx(0.5)
    length = (component.boundary[:, 0] - component.boundary[:, 1]).norm(dim=1).sum()
    assert float(length) == pytest.approx(math.sqrt(0.5), rel=1e-12)
    assert torch.allclose(component.boundary.sum(2), torch.tensor(0.5, dtype=torch.float64))


def test_a_satisfying_region_that_the_origin_cannot_reach_is_not_in_the_component():
    """ai is 1 only in the stripe 0.4 < b < 0.6: two equal safe parts, one of them connected to the origin."""
    network = two_neurons([[0.0, 1], [0, 1]], [-0.4, -0.6], [[0.0, 0], [1, -1]], [1.0, 0])
    found = finding(verify(network, BLACK, ProofQuestion(parse_theta(PLANE), deltas=(0.5,))), 0.5)
    assert found.satisfied == pytest.approx(0.8)
    assert found.component.share == pytest.approx(0.4)
    assert found.component.farthest.tolist() == pytest.approx([0.4, 1])


def test_expected_map_moves_with_a_translation():
    """f = x1: the expected map moves right, the actual one stays, so ai(t) = sqrt(2) t up to one pixel."""
    module = nn.Sequential(nn.Flatten(), nn.Linear(3, 2))
    module[1].weight.data = torch.tensor([[0.0, 1, 0], [0, 0, 0]])
    module[1].bias.data = torch.tensor([1.0, 0])
    result = verify(
        read_network(module, (1, 1, 3)),
        torch.zeros(1, 1, 3),
        ProofQuestion(parse_theta(["translation:x:0:1"])),
    )
    assert result.sup_ai == pytest.approx(math.sqrt(2), rel=1e-14)
    assert result.theta_sup.tolist() == [1]
    assert float(result.table.ai_min) == pytest.approx(0, abs=1e-12)


def test_partial_cells_are_found_where_the_heat_map_moves():
    module = nn.Sequential(nn.Flatten(), nn.Linear(3, 2))
    module[1].weight.data = torch.tensor([[0.0, 1, 0], [0, 0, 0]])
    question = ProofQuestion(parse_theta(["translation:x:0:2"]), deltas=(1.0, 1.9))
    result = verify(read_network(module, (1, 1, 3)), torch.zeros(1, 1, 3), question)
    # ai rises to sqrt(2) at one pixel, then falls to 1 as the map leaves the image: e1 - (2 - t) e2
    assert [each.partial for each in result.findings[:2]] == pytest.approx([1, 0])
    assert result.findings[1].satisfied == 1


def test_a_sliver_with_a_gradient_of_its_own_counts():
    """A cell 1e-13 wide between two parallel lines, with outputs that cancel beyond it."""
    network = two_neurons([[0.0, 1], [0, 1]], [-0.5, -0.5], [[0.0, 0], [100, -100]], [1.0, 0])
    network.module[1].bias.data[1] -= 1e-13
    network = read_network(network.module, (1, 1, 2))
    result = verify(network, BLACK, ProofQuestion(parse_theta(PLANE), deltas=(50.0,)))
    assert result.sup_ai == pytest.approx(100)
    assert finding(result, 50.0).verdict == "violated"
    assert result.ai_witness.value == pytest.approx(100)


def test_lines_that_coincide_make_no_cell_between_them():
    network = two_neurons([[0.3, 0], [0.9, 0]], [-0.15, -0.45], [[0.0, 0], [1, 1]], [1.0, 0])
    assert verify(network, BLACK, ProofQuestion(parse_theta(PLANE))).cells == 2


def test_clamping_counts_as_a_relu():
    """x2 saturates at b = 0.5: beyond it f1 = x1 - x2 still has the same gradient, but its value moves on."""
    image = torch.tensor([[[0.0, 0.5]]])
    module = nn.Sequential(nn.Flatten(), nn.Linear(2, 2))
    module[1].weight.data = torch.tensor([[0.0, 0], [1, -1]])
    module[1].bias.data = torch.tensor([0.25, 0])
    result = verify(
        read_network(module, (1, 1, 2)), image, ProofQuestion(parse_theta(["brightness:0:1:clamp"]))
    )
    assert result.cells == 2
    assert result.sup_ai == 0
    assert result.min_margin == pytest.approx(0.25)  # f1 = b - 1 reaches 0 at b = 1
    assert [each.verdict for each in result.findings] == ["robust", "robust"]


def test_delta_star_decides_every_delta(digits_network, digits):
    theta = parse_theta(["brightness:0:0.3", "patch:0:0.5:2:2:3x3"])
    sup = verify(digits_network, digits[0], ProofQuestion(theta)).sup_ai
    deltas = (sup * 0.99, sup * 1.01, sup)
    result = verify(digits_network, digits[0], ProofQuestion(theta, deltas=deltas))
    assert [finding(result, delta).verdict for delta in deltas] == ["violated", "robust", "unknown"]


def test_every_violation_is_confirmed_by_the_network_itself(digits_network, digits, monkeypatch):
    monkeypatch.setattr(verify_module.ProofProblem, "ai_at", lambda *_: 0.0)
    monkeypatch.setattr(verify_module.ProofProblem, "margin_at", lambda *_: 1.0)
    question = ProofQuestion(parse_theta(["brightness:0:0.5", "patch:0:1:2:2:3x3"]))
    result = verify(digits_network, digits[0], question)
    assert [each.verdict for each in result.findings] == ["unknown", "unknown"]


@pytest.mark.parametrize("labels", ["all", "predicted"])
def test_the_labels_that_count_are_those_asked_for(labels, digits_network, digits):
    theta = parse_theta(["brightness:0:0.3"])
    results = {
        each: verify(digits_network, digits[0], ProofQuestion(theta, each)) for each in ("all", "predicted")
    }
    assert results["predicted"].sup_ai < results["all"].sup_ai
    assert results["predicted"].cells == results["all"].cells


def test_no_time_claims_nothing(digits_network, digits):
    result = verify(digits_network, digits[0], ProofQuestion(parse_theta(PLANE_DIGITS), timeout_s=0))
    assert (result.cells, result.covered, result.complete) == (0, 0.0, False)
    assert result.sup_ai is result.min_margin is result.ai_witness is None
    assert {each.verdict for each in result.findings} == {"unknown"}


PLANE_DIGITS = ["brightness:0:0.5", "patch:0:1:2:2:3x3"]


def test_a_time_out_keeps_what_was_proved(digits_network, digits, monkeypatch):
    original = verify_module.tabulate

    def out_of_time(leaves, reading):
        table = next(iter(original(leaves, reading)))
        index = torch.arange(5)
        yield type(table)(
            table.cells[index],
            **{
                name: getattr(table, name)[index]
                for name in type(table).__dataclass_fields__
                if name != "cells"
            },
        )
        raise verify_module.OutOfTimeError

    monkeypatch.setattr(verify_module, "tabulate", out_of_time)
    result = verify(digits_network, digits[0], ProofQuestion(parse_theta(PLANE_DIGITS), deltas=(1.0, 1e6)))
    assert not result.complete
    assert 0 < result.covered < 1
    assert result.cells == 5
    assert finding(result, 1e6).verdict == "unknown"
    assert finding(result, 1e6).component is None


def test_early_stop_answers_yes_or_no_before_all_cells_are_read(digits_network, digits, monkeypatch):
    monkeypatch.setattr(table, "_DIFFERING", 4)
    whole = verify(digits_network, digits[0], ProofQuestion(parse_theta(PLANE_DIGITS)))
    result = verify(
        digits_network, digits[0], ProofQuestion(parse_theta(PLANE_DIGITS), stop_when_violated=True)
    )
    assert finding(result, 3.0).verdict == finding(whole, 3.0).verdict == "violated"
    assert result.cells < whole.cells
    assert not result.complete


def test_early_stop_does_not_stop_where_nothing_is_violated(digits_network, digits):
    question = ProofQuestion(parse_theta(PLANE_DIGITS), deltas=(1e3,), stop_when_violated=True)
    result = verify(digits_network, digits[0], question)
    assert result.complete
    assert finding(result, 1e3).verdict == "robust"


def test_shares_add_up_to_what_is_covered(digits_network, digits):
    result = verify(
        digits_network, digits[5], ProofQuestion(parse_theta(["brightness:0:0.3", "translation:x:0:2"]))
    )
    for each in result.findings:
        assert each.satisfied + each.violated + each.partial == pytest.approx(result.covered, abs=1e-12)


@pytest.mark.parametrize(
    "change",
    [
        {"deltas": (0.0,)},
        {"deltas": (-1.0,)},
        {"deltas": ()},
        {"labels": "some"},
        {"timeout_s": -1},
        {"timeout_s": math.nan},
        {"deltas": (math.nan,)},
    ],
)
def test_questions_without_an_answer_are_errors(change):
    with pytest.raises(UserError):
        ProofQuestion(parse_theta(PLANE), **change)


def test_an_image_of_another_shape_is_an_error(digits_network):
    with pytest.raises(UserError, match="shape"):
        verify(digits_network, torch.zeros(1, 8, 9), ProofQuestion(parse_theta(PLANE)))


def test_an_image_with_nan_is_an_error(digits_network):
    with pytest.raises(UserError, match="NaN"):
        verify(digits_network, torch.full((1, 8, 8), math.nan), ProofQuestion(parse_theta(PLANE)))


def test_a_patch_outside_the_image_is_an_error(digits_network, digits):
    with pytest.raises(UserError, match="not inside"):
        verify(digits_network, digits[0], ProofQuestion(parse_theta(["patch:0:1:7:7:2x2"])))


def test_component_in_three_dimensions_is_the_part_before_the_first_wall():
    """ai is 1 only where 0.4 < b + p < 0.6, two safe prisms, one of them at the origin."""
    network = two_neurons([[1.0, 0], [1, 0]], [-0.4, -0.6], [[0.0, 0], [1, -1]], [1.0, 0])
    theta = parse_theta([*PLANE, "patch:0:1:0:1:1x1"])
    found = finding(verify(network, BLACK, ProofQuestion(theta, deltas=(0.5,))), 0.5)
    assert found.component.share == pytest.approx(0.4**2 / 2, rel=1e-6)
    assert found.satisfied == pytest.approx(1 - (0.6**2 - 0.4**2) / 2, rel=1e-6)
    assert found.component.farthest.tolist()[2] == pytest.approx(1)
    assert len(found.component.boundary) == 1
    assert found.component.boundary[0, 0].tolist() == pytest.approx([0.2, 0.2, 0.5])


def test_component_crosses_the_kinks_of_a_translation():
    """A network with no hidden layer is safe everywhere at a large delta, across all pieces of the range."""
    module = nn.Sequential(nn.Flatten(), nn.Linear(3, 2))
    for texts in (["translation:x:-2:2"], ["brightness:0:1", "translation:x:-2:2"]):
        question = ProofQuestion(parse_theta(texts), deltas=(1e3,))
        result = verify(read_network(module, (1, 1, 3)), torch.zeros(1, 1, 3), question)
        assert result.cells == 4
        assert finding(result, 1e3).component.share == pytest.approx(1)
