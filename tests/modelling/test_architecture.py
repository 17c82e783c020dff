"""The architecture as data: the published one, and what a recipe changes of it."""

from typing import Any

import pytest

from meiju_utils.challenge import TASKS
from meiju_utils.components import Component
from meiju_utils.errors import ConfigError, TrainingError
from meiju_utils.modelling.architecture import (
    Architecture,
    NetworkConfig,
    in_token_order,
    published_architecture,
)
from meiju_utils.modelling.network import JointNetwork

PUBLISHED = published_architecture(TASKS)


def options(part: Component | None) -> dict[str, Any]:
    assert part is not None
    return part.options


def test_the_published_architecture_has_the_published_values() -> None:
    for branch in PUBLISHED.branches.values():
        assert {s: e.name for s, e in branch.encoders.items()} == {
            "visual": "lstm",
            "audio": "lstm",
            "text": "textcnn",
        }
        assert branch.encoders["text"].options == {"heights": [2, 3, 4], "dropout": 0.5}
        assert branch.fusion.options == {"heads": 2, "feed_forward": 2048, "dropout": 0.1}
        assert branch.head.options == {"dropout": 0.2}
        assert branch.hidden == 128
    assert PUBLISHED.interaction == Component(name="gated")
    assert PUBLISHED.auxiliary
    assert PUBLISHED.masking


def test_what_is_said_of_one_task_goes_over_what_is_said_of_both() -> None:
    found = PUBLISHED.changed(
        {
            "intent": {"fusion": {"heads": 1}, "hidden": 64},
            "both": {"fusion": {"heads": 4, "dropout": 0.0}, "text": {"textcnn": [1]}},
        },
        "network",
    )
    emotion, intent = found.branches["emotion"], found.branches["intent"]
    assert emotion.fusion.options == {"heads": 4, "feed_forward": 2048, "dropout": 0.0}
    assert intent.fusion.options == {"heads": 1, "feed_forward": 2048, "dropout": 0.0}
    assert (emotion.hidden, intent.hidden) == (128, 64)
    for branch in (emotion, intent):
        assert branch.encoders["text"].options == {"heights": [1], "dropout": 0.5}
        assert branch.encoders["audio"] == PUBLISHED.branches["emotion"].encoders["audio"]


def test_a_change_leaves_alone_what_it_does_not_name_and_what_it_came_from() -> None:
    before = PUBLISHED.model_dump_json()
    once = PUBLISHED.changed({"both": {"audio": "textcnn"}, "masking": False}, "network")
    twice = once.changed({"emotion": {"audio": {"heights": [5]}}}, "network")
    assert PUBLISHED.model_dump_json() == before
    assert not twice.masking
    assert options(twice.branches["emotion"].encoders["audio"])["heights"] == [5]
    assert options(twice.branches["intent"].encoders["audio"])["heights"] == [2, 3, 4]
    assert PUBLISHED.changed({}, "network") == PUBLISHED
    assert PUBLISHED.changed({"both": None}, "network") == PUBLISHED


@pytest.mark.parametrize("none", [None, "none"])
def test_the_interaction_can_be_left_out_and_taken_back(none: Any) -> None:
    alone = PUBLISHED.changed({"interaction": none, "auxiliary": False}, "network")
    assert alone.interaction is None
    assert not alone.auxiliary
    again = alone.changed({"interaction": "gated", "auxiliary": True}, "network")
    assert again == PUBLISHED


def test_the_challenges_tasks_are_ignored_where_they_are_not_in_use() -> None:
    alone = published_architecture(["emotion"])
    changes = {"intent": {"fusion": {"heads": 1}}, "emotion": {"hidden": 64}}
    found = alone.changed(changes, "network")
    assert list(found.branches) == ["emotion"]
    assert found.branches["emotion"].hidden == 64
    other = published_architecture(["arousal"]).changed({"arousal": {"hidden": 8}}, "network")
    assert other.branches["arousal"].hidden == 8
    with pytest.raises(ConfigError, match="no part 'arousal'"):
        alone.changed({"arousal": {"hidden": 8}}, "network")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"emotoin": {}}, r"network: no part 'emotoin'.*did you mean 'emotion'"),
        ({"both": {"fusoin": {}}}, r"network\.both: no part 'fusoin'.*did you mean 'fusion'"),
        ({"intent": {"text": {"textcn": [1]}}}, r"network\.intent\.text: no 'textcn'.*'textcnn'"),
        ({"both": {"fusion": {"head": 1}}}, r"network\.both\.fusion: no 'head'.*'heads'"),
        ({"both": {"fusion": {"heads": 0}}}, r"both\.fusion: transformer: heads = 0"),
        ({"both": {"head": {"dropout": 1.5}}}, r"both\.head: mlp: dropout = 1\.5"),
        ({"both": {"text": {"heights": [0]}}}, r"both\.text: textcnn: heights\.0 = 0"),
        ({"both": {"text": {"heights": []}}}, r"both\.text: textcnn: heights = \[\]"),
        ({"both": {"hidden": 0}}, r"network\.both\.hidden = 0: expected a whole number above 0"),
        ({"both": {"hidden": True}}, r"hidden = True: expected a whole number"),
        ({"both": {"hidden": 12.0}}, r"hidden = 12\.0: expected a whole number"),
        ({"both": ["lstm"]}, r"network\.both = \['lstm'\]: expected parts of a branch by name"),
        ({"interaction": "gate"}, r"network\.interaction: no 'gate'.*'gated'"),
        ({"masking": "yes"}, r"network\.masking = 'yes': expected true or false"),
        ({"auxiliary": 1}, r"network\.auxiliary = 1: expected true or false"),
        (["emotion"], r"network = \['emotion'\]: expected parts of the network by name"),
    ],
)
def test_what_a_network_cannot_have_is_refused_with_its_place(values: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PUBLISHED.changed(values, "network")


def test_heads_must_divide_the_hidden_units() -> None:
    odd = PUBLISHED.changed({"emotion": {"fusion": {"heads": 3}}}, "network")
    config = NetworkConfig(
        architecture=odd, widths={"audio": 4, "visual": 4, "text": 4}, classes={"emotion": 7}
    )
    with pytest.raises(TrainingError, match="3 fusion heads do not divide 128 hidden units"):
        JointNetwork(config)


def test_of_the_encoders_only_those_of_streams_in_use_are_kept() -> None:
    for branch in PUBLISHED.of_streams(["text", "audio"]).branches.values():
        assert set(branch.encoders) == {"text", "audio"}
    with pytest.raises(ConfigError, match=r"emotion branch has no encoder for the stream 'gaze'"):
        PUBLISHED.of_streams(["text", "gaze"])


def test_streams_stand_in_the_published_order_and_others_behind() -> None:
    widths = {"gaze": 1, "text": 2, "audio": 3, "visual": 4}
    assert list(in_token_order(widths)) == ["visual", "audio", "text", "gaze"]


def test_a_network_config_survives_json() -> None:
    changed = PUBLISHED.changed({"both": {"text": {"textcnn": [1]}}, "interaction": None}, "x")
    config = NetworkConfig(architecture=changed, widths={"text": 3}, classes={"emotion": 7})
    assert NetworkConfig.model_validate_json(config.model_dump_json()) == config
    assert isinstance(config.architecture, Architecture)
