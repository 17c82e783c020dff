"""Starting from another network's weights, and the check that needs no weights."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from meiju_utils.config import Training
from meiju_utils.errors import TrainingError
from meiju_utils.modelling.architecture import NetworkConfig, in_token_order
from meiju_utils.modelling.dataset import Dataset
from meiju_utils.modelling.network import JointNetwork
from meiju_utils.modelling.starting import check_start, start_from
from meiju_utils.modelling.training import Plan, train_network

MakeToy = Callable[..., Dataset]
Small = Callable[..., NetworkConfig]
Quick = Callable[..., Training]

APART = {"interaction": None, "auxiliary": False}  # a first stage: two tasks apart


def moved(config: NetworkConfig) -> JointNetwork:
    """A network whose parameters are all unlike those of a new one."""
    network = JointNetwork(config)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(1.0)
    return network


def test_a_network_of_the_same_architecture_takes_all_weights(
    make_toy: MakeToy, small: Small
) -> None:
    config = small(make_toy())
    start, network = moved(config), JointNetwork(config)
    start_from(network, start)
    for name, weight in network.state_dict().items():
        assert torch.equal(weight, start.state_dict()[name]), name


def test_a_joint_network_takes_encoders_tokens_and_fusion_of_one_whose_tasks_were_apart(
    make_toy: MakeToy, small: Small
) -> None:
    dataset = make_toy()
    start, network = moved(small(dataset, **APART)), JointNetwork(small(dataset))
    before = {name: weight.clone() for name, weight in network.state_dict().items()}
    start_from(network, start)
    for name, weight in network.state_dict().items():
        early = any(part in name for part in (".encoders.", ".missing.", ".fusion."))
        assert torch.equal(weight, start.state_dict()[name] if early else before[name]), name


def test_a_training_starts_from_anothers_weights(
    make_toy: MakeToy, small: Small, quick: Quick
) -> None:
    dataset = make_toy()
    first = Plan(small(dataset, **APART), quick(epochs=1), "weighted")
    start = train_network(dataset, first, 0).model.network
    slow = quick(epochs=1, learning_rate=1e-9)
    second = train_network(dataset, Plan(small(dataset), slow, "weighted", start=start), 0)
    found, wanted = (n.branches["emotion"].fusion for n in (second.model.network, start))
    for name, weight in found.state_dict().items():
        torch.testing.assert_close(weight, wanted.state_dict()[name])


@pytest.mark.parametrize(
    ("changes", "start_changes", "name"),
    [
        ({}, {"both": {"text": {"heights": [1]}}}, "encoders.text.convolutions.0.weight"),
        ({}, {"intent": {"hidden": 8}}, "branches.intent.encoders.visual.rnn.weight_ih_l0"),
        ({}, {"both": {"fusion": {"feed_forward": 8}}}, "fusion.layer.linear1.weight"),
        (APART, {"both": {"text": {"heights": [2]}}}, "encoders.text.convolutions.1.weight"),
        ({}, {"both": {"audio": "textcnn"}}, "encoders.audio.rnn.weight_ih_l0"),
    ],
)
def test_a_start_of_another_architecture_is_refused_by_the_parameters_name(
    make_toy: MakeToy,
    small: Small,
    changes: dict[str, Any],
    start_changes: dict[str, Any],
    name: str,
) -> None:
    dataset = make_toy()
    config, start = small(dataset, **changes), small(dataset, **start_changes)
    messages = []
    for refuse in (
        lambda: check_start(config, start),
        lambda: start_from(JointNetwork(config), JointNetwork(start)),
    ):
        with pytest.raises(TrainingError, match=name) as caught:
            refuse()
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    assert "another architecture" in messages[0]


def test_a_start_of_other_feature_widths_is_refused_before_training(
    make_toy: MakeToy, small: Small, quick: Quick
) -> None:
    dataset = make_toy()
    widths = in_token_order({**dataset.widths, "text": 9})
    start = JointNetwork(small(dataset).model_copy(update={"widths": widths}))
    plan = Plan(small(dataset), quick(), "weighted", start=start)
    with pytest.raises(TrainingError, match=r"text\.convolutions\.0\.weight is \[16, 9, 2\] there"):
        train_network(dataset, plan, 0)


def test_checking_a_start_makes_no_weights(
    make_toy: MakeToy, small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = make_toy()
    made: list[torch.device] = []
    register = nn.Module.register_parameter

    def record(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        if parameter is not None:
            made.append(parameter.device)
        register(module, name, parameter)

    monkeypatch.setattr(nn.Module, "register_parameter", record)
    before = torch.get_rng_state()
    check_start(small(dataset, both={"hidden": 2048}), small(dataset, both={"hidden": 2048}))
    assert len(made) > 100
    assert {device.type for device in made} == {"meta"}
    assert torch.equal(torch.get_rng_state(), before)


def test_checking_a_start_refuses_what_cannot_be_built(make_toy: MakeToy, small: Small) -> None:
    dataset = make_toy()
    with pytest.raises(TrainingError, match="3 fusion heads do not divide 16"):
        check_start(small(dataset, both={"fusion": {"heads": 3}}), small(dataset))
