"""The joint network against the published one's recorded outputs, and its masking."""

import csv
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from meiju_utils.errors import FeatureError, TrainingError
from meiju_utils.modelling.architecture import (
    NetworkConfig,
    in_token_order,
    published_architecture,
)
from meiju_utils.modelling.network import JointNetwork
from meiju_utils.modelling.parts import ENCODERS, FUSIONS, HEADS, INTERACTIONS
from meiju_utils.modelling.parts.encoders import LstmEncoder, TextCnn
from meiju_utils.modelling.starting import initialise_kaiming
from meiju_utils.modelling.streams import read_streams

WIDTHS = {"audio": 5, "visual": 4, "text": 6}
CLASSES = {"emotion": 7, "intent": 8}
DATA = Path(__file__).parents[1] / "data"
TOKENS = ("visual", "audio", "text")
# Sums in another order of float32: over a toy's features, over up to 768 published ones in layers.
ROUNDING = {"atol": 1e-6, "rtol": 1e-5}
SUMS = 1e-4


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    """The weights behind the reference: drawn by name, scaled by fan-in."""
    weights = {}
    with (DATA / "joint_network_state_dict.csv").open() as lines:
        for row in csv.DictReader(lines):
            shape = tuple(int(n) for n in row["shape"].split("x"))
            rng = np.random.default_rng(zlib.crc32(row["key"].encode()))
            values = rng.standard_normal(shape)
            if len(shape) > 1:
                values /= np.sqrt(np.prod(shape[1:]))
            else:
                values = 0.1 * values + (row["kind"] == "scale")
            weights[row["key"]] = torch.from_numpy(values.astype(np.float32))
    return weights


@pytest.fixture(scope="module")
def reference() -> dict[str, Any]:
    with np.load(DATA / "joint_network_reference.npz", allow_pickle=False) as arrays:
        return dict(arrays)


def network(
    widths: Mapping[str, int] = WIDTHS, classes: Mapping[str, int] = CLASSES, **changes: Any
) -> JointNetwork:
    """A narrow network in evaluation mode; `changes` as in a recipe."""
    torch.manual_seed(0)
    narrow = {
        "both": {"hidden": 8, "fusion": {"feed_forward": 16}},
        "intent": {"fusion": {"heads": 1}},
    }
    architecture = published_architecture(classes).changed(narrow, "narrow")
    config = NetworkConfig(
        architecture=architecture.changed(changes, "test").of_streams(list(widths)),
        widths=in_token_order(widths),
        classes=dict(classes),
    )
    return JointNetwork(config).eval()


def batch(clips: int = 3, **steps: int) -> dict[str, Tensor]:
    torch.manual_seed(1)
    return {m: torch.randn(clips, steps.get(m, 1), width) for m, width in WIDTHS.items()}


@torch.inference_mode()
def logits(model: JointNetwork, *arguments: Any) -> Tensor:
    found = model(*arguments)
    parts = [part for name, part in found._asdict().items() if not name.endswith("_features")]
    return torch.cat([part for part in parts if part is not None], dim=1)


@pytest.mark.parametrize("heads", [1, 2])
@torch.inference_mode()
def test_outputs_equal_the_published_networks(
    weights: dict[str, Tensor], reference: dict[str, Any], heads: int
) -> None:
    model = JointNetwork.from_official(weights, heads)
    output = model({m: torch.from_numpy(reference[m]) for m in WIDTHS})
    names = ("emotion_logits", "intent_logits", "emotion_aux_logits", "intent_aux_logits")
    for name, found in zip(names, output[:4], strict=True):
        np.testing.assert_allclose(found, reference[f"{name}_heads{heads}"], atol=SUMS)


@torch.inference_mode()
def test_intermediates_equal_the_published_networks_with_other_heads_for_each_task(
    weights: dict[str, Tensor], reference: dict[str, Any]
) -> None:
    """Also the auxiliary logits; the others see both tasks, and were recorded with like heads."""
    model = JointNetwork.from_official(weights, {"emotion": 2, "intent": 1})
    features = {m: torch.from_numpy(reference[m]) for m in WIDTHS}
    streams, clips = read_streams(model.config.widths, features, {}, {}, masking=True)
    output = model(features)
    for task, prefix, heads in (("emotion", "Emo", 2), ("intent", "Int", 1)):
        tokens = model.branches[task].embed(streams, clips)
        for position, modality in enumerate(TOKENS):
            expected = reference[f"{prefix}_{modality}_embedding_heads{heads}"]
            np.testing.assert_allclose(tokens[:, position], expected, atol=SUMS)
        expected = reference[f"{prefix}_fused_heads{heads}"]  # [M, B, H]
        fused = model.branches[task].fusion(tokens)
        np.testing.assert_allclose(fused.transpose(0, 1), expected, atol=SUMS)
        expected = reference[f"{task}_aux_logits_heads{heads}"]
        np.testing.assert_allclose(getattr(output, f"{task}_auxiliary"), expected, atol=SUMS)


def test_a_published_checkpoint_with_other_names_or_shapes_is_refused(
    weights: dict[str, Tensor],
) -> None:
    lacking = {k: v for k, v in weights.items() if k != "IntL.embd.0.bias"}
    with pytest.raises(TrainingError, match=r"IntL\.embd\.0\.bias"):
        JointNetwork.from_official(lacking, 2)
    with pytest.raises(TrainingError, match=r"EmoL\.conv1\.weight"):
        JointNetwork.from_official({}, 2)
    with pytest.raises(TrainingError, match=r"module\.x"):
        JointNetwork.from_official({**weights, "module.x": torch.zeros(1)}, 2)
    odd = {**weights, "IntFusion.layers.0.linear1.bias": torch.zeros(7)}
    with pytest.raises(TrainingError, match="shapes"):
        JointNetwork.from_official(odd, 2)
    with pytest.raises(TrainingError, match="3 fusion heads do not divide 128"):
        JointNetwork.from_official(weights, 3)


@pytest.mark.parametrize("heights", [(1,), (2, 3, 4), (2, 5)])
def test_padding_does_not_change_a_clips_logits(heights: tuple[int, ...]) -> None:
    model = network(both={"text": {"heights": heights}})
    lengths = {"audio": 9, "visual": 2, "text": 3}
    alone = batch(1, **lengths)
    padded = {m: torch.full((2, 12, w), torch.nan) for m, w in WIDTHS.items()}
    for modality, x in alone.items():
        padded[modality][0, : lengths[modality]] = x[0]
        padded[modality][1] = torch.randn(12, WIDTHS[modality])
    found = logits(model, padded, {m: torch.tensor([n, 12]) for m, n in lengths.items()})
    torch.testing.assert_close(found[:1], logits(model, alone), **ROUNDING)


@pytest.mark.parametrize("modality", list(WIDTHS))
def test_an_encoder_of_any_kind_ignores_padding(modality: str) -> None:
    for encoder in ENCODERS:
        model = network(both={modality: encoder})
        alone = batch(1, **{modality: 3})
        padded = {**alone, modality: F.pad(alone[modality], (0, 0, 0, 4), value=torch.nan)}
        found = logits(model, padded, {modality: torch.tensor([3])})
        torch.testing.assert_close(found, logits(model, alone), **ROUNDING)


def test_gradients_do_not_see_what_stands_in_the_padding() -> None:
    model = network()
    lengths = {"audio": torch.tensor([2, 5]), "text": torch.tensor([5, 1])}
    gradients = []
    for filling in (0.0, torch.nan):
        x = batch(2, audio=5, text=5)
        for modality, length in lengths.items():
            x[modality][torch.arange(5) >= length.unsqueeze(1)] = filling
        model.zero_grad()
        sum(part.sum() for part in model(x, lengths)).backward()
        gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    assert len(gradients[0]) > 50
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_without_masking_padding_counts_as_in_the_published_code() -> None:
    model = network(masking=False)
    x = batch(2, audio=4, visual=4, text=4)
    lengths = {m: torch.tensor([4, 4]) for m in WIDTHS}
    padded = {m: F.pad(v, (0, 0, 0, 3)) for m, v in x.items()}
    assert not torch.allclose(logits(model, padded, lengths), logits(model, x, lengths))
    torch.testing.assert_close(logits(model, padded, lengths), logits(model, padded))
    # Who has nothing at all gets the learned token all the same.
    nobody = logits(model, padded, {"audio": torch.tensor([4, 0])})
    present = logits(model, padded, None, {"audio": torch.tensor([True, False])})
    torch.testing.assert_close(nobody, present)


def test_who_else_is_in_the_batch_does_not_matter() -> None:
    model = network()
    x = batch(6, audio=5, visual=1, text=4)
    lengths = {"audio": torch.tensor([5, 3, 1, 5, 0, 2]), "text": torch.tensor([4, 0, 1, 2, 4, 3])}
    together = logits(model, x, lengths)
    for row in range(6):
        alone = {m: v[row : row + 1] for m, v in x.items()}
        found = logits(model, alone, {m: n[row : row + 1] for m, n in lengths.items()})
        torch.testing.assert_close(found, together[row : row + 1], **ROUNDING)


def test_one_step_equals_the_general_path() -> None:
    x = torch.randn(4, 1, 5)
    one = torch.ones(4, dtype=torch.long)
    lstm = LstmEncoder(5, 8)
    torch.testing.assert_close(lstm(x, one), lstm.rnn(x)[0][:, 0])
    longer = F.pad(x, (0, 0, 0, 3))
    torch.testing.assert_close(lstm(x, one), lstm(longer, one))
    text = TextCnn(5, 8, heights=(1, 2, 3)).eval()
    torch.testing.assert_close(text(x, one), text(longer, one))


def test_the_lstm_takes_the_maximum_over_a_clips_own_steps() -> None:
    lstm = LstmEncoder(5, 8)
    x = torch.randn(3, 7, 5)
    lengths = torch.tensor([7, 1, 4])
    expected = [lstm.rnn(x[i : i + 1, :n])[0].amax(dim=1) for i, n in enumerate(lengths.tolist())]
    torch.testing.assert_close(lstm(x, lengths), torch.cat(expected))


@pytest.mark.parametrize("heights", [(1,), (2, 3, 4), (4, 1)])
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_text_convolution_equals_torchs_on_zero_padded_text(
    heights: tuple[int, ...], steps: int
) -> None:
    text = TextCnn(5, 8, heights=heights).eval()
    x = torch.randn(3, steps, 5)
    pooled = []
    for height, convolution in zip(heights, text.convolutions, strict=True):
        kernel = convolution.weight.transpose(1, 2).unsqueeze(1)  # [H, 1, height, D]
        # Zeros stand in for what this kernel alone lacks, not for what a taller one does.
        image = F.pad(x, (0, 0, 0, max(0, height - steps))).unsqueeze(1)
        pooled.append(F.conv2d(image, kernel, convolution.bias).squeeze(3).amax(2))
    expected = F.relu(text.project(torch.cat(pooled, dim=1).relu()))
    torch.testing.assert_close(text(x, torch.full((3,), steps)), expected)


def test_a_learned_token_stands_for_a_missing_modality() -> None:
    model = network()
    missing = [branch.missing["audio"] for branch in model.branches.values()]
    for token in missing:
        nn.init.normal_(token)
    x = batch(2, audio=3)
    present = {"audio": torch.tensor([True, False])}
    found = logits(model, x, None, present)
    torch.testing.assert_close(found[0], logits(model, x)[0])
    other = {**x, "audio": torch.randn(2, 3, WIDTHS["audio"])}
    torch.testing.assert_close(found[1], logits(model, other, None, present)[1])
    assert not torch.allclose(found[1], logits(model, x)[1])
    # A length of zero says the same.
    torch.testing.assert_close(found, logits(model, x, {"audio": torch.tensor([3, 0])}))
    sum(part.sum() for part in model(x, None, present)).backward()
    for branch, token in zip(model.branches.values(), missing, strict=True):
        assert token.grad.abs().sum() > 0
        assert branch.missing["text"].grad is None


@pytest.mark.parametrize("modality", list(WIDTHS))
def test_the_learned_token_stands_for_a_modality_the_whole_batch_lacks(modality: str) -> None:
    model = network()
    for branch in model.branches.values():
        nn.init.normal_(branch.missing[modality])
    x = batch(text=5, audio=4)
    expected = logits(model, x, {}, {modality: torch.zeros(3, dtype=torch.bool)})
    without = {m: v for m, v in x.items() if m != modality}
    torch.testing.assert_close(logits(model, without), expected)
    empty = {**x, modality: x[modality][:, :0]}
    torch.testing.assert_close(logits(model, empty, {modality: torch.zeros(3)}), expected)


@pytest.mark.parametrize("modalities", [("text",), ("audio", "visual"), ("visual", "text")])
def test_any_subset_of_modalities_gives_logits_of_both_tasks(modalities: tuple[str, ...]) -> None:
    model = network({m: WIDTHS[m] for m in modalities})
    x = {m: v for m, v in batch(4, text=3).items() if m in modalities}
    assert [tuple(part.shape) for part in model(x)[:4]] == [(4, 7), (4, 8), (4, 7), (4, 8)]


def test_one_task_alone_has_its_own_logits_and_no_interaction() -> None:
    model = network(classes={"emotion": 7})
    output = model(batch())
    assert output._fields == ("emotion", "emotion_auxiliary", "emotion_features")
    assert output.emotion.shape == output.emotion_auxiliary.shape == (3, 7)
    assert len(model.interactions) == 0
    # It is the emotion branch of a network of both tasks without an interaction.
    both = network(interaction=None)
    own = {k: v for k, v in both.state_dict().items() if "intent" not in k}
    model.load_state_dict(own)
    torch.testing.assert_close(model(batch()).emotion, both(batch()).emotion)


def test_other_tasks_and_numbers_of_classes_are_possible() -> None:
    output = network(classes={"arousal": 5, "valence": 9})(batch(2))
    shapes = {name: tuple(part.shape) for name, part in output._asdict().items()}
    assert shapes.pop("valence_features") == shapes.pop("arousal_features")
    assert shapes == {
        "arousal": (2, 5),
        "valence": (2, 9),
        "arousal_auxiliary": (2, 5),
        "valence_auxiliary": (2, 9),
    }


def test_branches_may_be_unlike_in_everything() -> None:
    model = network(
        emotion={
            "hidden": 12,
            "text": {"textcnn": {"heights": [1], "dropout": 0.1}},
            "fusion": {"heads": 3, "feed_forward": 10, "dropout": 0.2},
            "head": {"dropout": 0.4},
        },
        intent={"hidden": 6, "audio": "textcnn", "text": "lstm", "fusion": {"heads": 1}},
    )
    emotion, intent = model.branches["emotion"], model.branches["intent"]
    assert [len(c.bias) for c in emotion.encoders["text"].convolutions] == [12]
    assert isinstance(intent.encoders["text"], LstmEncoder)
    assert isinstance(intent.encoders["audio"], TextCnn)
    assert emotion.fusion.layer.self_attn.num_heads == 3
    rates = [m.p for m in emotion.head.modules() if isinstance(m, nn.Dropout)]
    assert rates == [0.4, 0.4]
    x = batch(4, audio=6, visual=2, text=5)
    lengths = {"audio": torch.tensor([6, 1, 0, 3]), "text": torch.tensor([2, 5, 1, 0])}
    output = model(x, lengths)
    assert [tuple(part.shape) for part in output[:4]] == [(4, 7), (4, 8), (4, 7), (4, 8)]
    sum(part.square().sum() for part in output).backward()
    for name, parameter in model.named_parameters():
        # everybody has a face
        assert (parameter.grad is not None) is not name.endswith("missing.visual"), name


def test_without_interaction_and_auxiliary_heads_tasks_are_apart() -> None:
    model = network(interaction="none", auxiliary=False)
    output = model(batch())
    assert output.emotion.shape == (3, 7)
    assert output.emotion_auxiliary is None
    assert output.intent_auxiliary is None
    output.emotion.sum().backward()
    assert all(p.grad is None for p in model.branches["intent"].parameters())


def test_an_interaction_lets_each_task_see_the_other() -> None:
    model = network()
    for task, other in (("emotion", "intent"), ("intent", "emotion")):
        model.zero_grad()
        getattr(model(batch()), task).sum().backward()
        assert any(p.grad is not None for p in model.branches[other].parameters())


def test_features_that_do_not_fit_are_refused() -> None:
    model = network()
    x = batch()
    with pytest.raises(FeatureError, match=r"text features \[B, T, 6\]; got \[3, 1, 9\]"):
        model({**x, "text": torch.zeros(3, 1, 9)})
    with pytest.raises(FeatureError, match=r"text features \[B, T, 6\]; got \[3, 6\]"):
        model({**x, "text": torch.zeros(3, 6)})
    with pytest.raises(FeatureError, match="at least one of: visual, audio, text"):
        model({})


@pytest.mark.parametrize(
    ("classes", "changes"),
    [
        (CLASSES, {}),
        (CLASSES, {"interaction": None, "auxiliary": False}),
        ({"emotion": 7}, {"both": {"audio": "textcnn"}}),
    ],
)
def test_the_parts_hold_every_parameter_once(
    classes: dict[str, int], changes: dict[str, Any]
) -> None:
    model = network(classes=classes, **changes)
    held = [parameter for part in model.parts() for parameter in part.parameters()]
    assert len(held) == len(set(held))
    assert set(held) == set(model.parameters())


def test_kaiming_initialisation_has_the_spread_of_its_fan_in() -> None:
    model = network(both={"hidden": 64, "text": {"heights": [1, 3]}})
    initialise_kaiming(model)
    branch = model.branches["emotion"]
    assert float(branch.head.layers[1].weight.detach().std()) == pytest.approx(
        (2 / 192) ** 0.5, rel=0.1
    )
    for convolution in branch.encoders["text"].convolutions:
        fan_in = 6 * convolution.kernel_size[0]
        # 384 draws at least: their standard deviation is known to some 4 %
        assert float(convolution.weight.detach().std()) == pytest.approx(
            (2 / fan_in) ** 0.5, rel=0.15
        )
    for name, bias in model.named_parameters():
        if name.endswith("bias") and "rnn" not in name and "norm" not in name:
            assert (bias == 0).all(), name
    # As published, torch's attention keeps Xavier over queries, keys and values as one matrix.
    assert branch.fusion.layer.self_attn.in_proj_weight.abs().max() <= (6 / 256) ** 0.5


class MeanEncoder(nn.Module):
    def __init__(self, width: int, hidden: int, *, gain: float = 1.0) -> None:
        super().__init__()
        self.project, self.gain = nn.Linear(width, hidden), gain

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        means = x.sum(dim=1) / lengths.clamp(min=1).unsqueeze(1)
        return self.gain * self.project(means)


class NoFusion(nn.Module):
    def __init__(self, hidden: int) -> None:
        super().__init__()

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens


class Sum(nn.Module):
    def __init__(self, hidden: int, other_hidden: int, *, weight: float = 1.0) -> None:
        super().__init__()
        self.project, self.weight = nn.Linear(other_hidden, hidden), weight

    def forward(self, own: Tensor, other: Tensor) -> Tensor:
        return own + self.weight * self.project(other)


class FirstToken(nn.Module):
    def __init__(self, tokens: int, hidden: int, classes: int) -> None:
        super().__init__()
        self.project = nn.Linear(hidden, classes)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.project(tokens[:, 0])


def test_a_part_of_ones_own_is_a_class_and_a_line_in_its_registry(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(ENCODERS, "mean", MeanEncoder)
    monkeypatch.setitem(FUSIONS, "no", NoFusion)
    monkeypatch.setitem(INTERACTIONS, "sum", Sum)
    monkeypatch.setitem(HEADS, "first", FirstToken)
    model = network(
        both={"audio": {"mean": {"gain": 2.0}}, "visual": {"mean": {}}},
        emotion={"fusion": "no", "head": "first", "hidden": 5},
        interaction={"sum": 0.5},
    )
    assert model.branches["intent"].encoders["audio"].gain == 2.0
    assert isinstance(model.branches["intent"].fusion, FUSIONS["transformer"])
    assert model.interactions["emotion"].weight == 0.5
    x = batch(2, audio=4)
    lengths = {"audio": torch.tensor([4, 2])}
    shapes = [tuple(part.shape) for part in model(x, lengths)[:4]]
    assert shapes == [(2, 7), (2, 8), (2, 7), (2, 8)]
    # The auxiliary head of emotion reads the first token, visual's, alone.
    visual = model.branches["emotion"].encoders["visual"].project(x["visual"][:, 0])
    expected = model.branches["emotion"].auxiliary.project(visual)
    torch.testing.assert_close(model(x, lengths).emotion_auxiliary, expected)
    rebuilt = NetworkConfig.model_validate_json(model.config.model_dump_json())
    JointNetwork(rebuilt).load_state_dict(model.state_dict())
