"""The joint network against the published one's recorded outputs, and its masking."""

import csv
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from meiju_utils.challenge import TASKS
from meiju_utils.errors import FeatureError, TrainingError
from meiju_utils.modelling.architecture import NetworkConfig
from meiju_utils.modelling.layers import Dropout, LstmEncoder, TextCnn
from meiju_utils.modelling.network import JointNetwork

WIDTHS = {"audio": 5, "visual": 4, "text": 6}
DATA = Path(__file__).parents[1] / "data"


def published_weights() -> dict[str, torch.Tensor]:
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
def weights() -> dict[str, torch.Tensor]:
    return published_weights()


@pytest.fixture(scope="module")
def reference() -> dict[str, Any]:
    with np.load(DATA / "joint_network_reference.npz", allow_pickle=False) as arrays:
        return dict(arrays)


def network(**options: Any) -> JointNetwork:
    torch.manual_seed(0)
    values = {"hidden": 8, "feed_forward": 16, "fusion_heads": {"emotion": 2, "intent": 1}}
    return JointNetwork(NetworkConfig(**{"widths": WIDTHS, **values, **options})).eval()


def batch(clips: int = 3, **steps: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return {m: torch.randn(clips, steps.get(m, 1), width) for m, width in WIDTHS.items()}


@torch.inference_mode()
def logits(model: JointNetwork, *arguments: Any) -> torch.Tensor:
    return torch.cat([part for part in model(*arguments) if part is not None], dim=1)


@pytest.mark.parametrize("heads", [1, 2])
@torch.inference_mode()
def test_outputs_equal_the_published_networks(
    weights: dict[str, torch.Tensor], reference: dict[str, Any], heads: int
) -> None:
    model = JointNetwork.from_official(weights, heads)
    inputs = {m: torch.from_numpy(reference[m]) for m in WIDTHS}
    output = model(inputs)
    names = ("emotion_logits", "intent_logits", "emotion_aux_logits", "intent_aux_logits")
    for name, found in zip(names, output, strict=True):
        np.testing.assert_allclose(found, reference[f"{name}_heads{heads}"], atol=1e-4)


@torch.inference_mode()
def test_intermediates_equal_the_published_networks_with_other_heads_for_each_task(
    weights: dict[str, torch.Tensor], reference: dict[str, Any]
) -> None:
    model = JointNetwork.from_official(weights, {"emotion": 2, "intent": 1})
    embedded = model.embed({m: torch.from_numpy(reference[m]) for m in WIDTHS}, {}, {})
    fused = model.fusion(embedded)
    for task, (prefix, heads) in enumerate([("Emo", 2), ("Int", 1)]):
        for position, modality in enumerate(("visual", "audio", "text")):
            expected = reference[f"{prefix}_{modality}_embedding_heads{heads}"]
            np.testing.assert_allclose(embedded[task, :, position], expected, atol=1e-4)
        expected = reference[f"{prefix}_fused_heads{heads}"]
        np.testing.assert_allclose(fused[task].transpose(0, 1), expected, atol=1e-4)


def test_a_checkpoint_with_other_names_or_shapes_is_refused(
    weights: dict[str, torch.Tensor],
) -> None:
    lacking = {k: v for k, v in weights.items() if k != "IntL.embd.0.bias"}
    with pytest.raises(TrainingError, match=r"IntL\.embd\.0\.bias"):
        JointNetwork.from_official(lacking, 2)
    with pytest.raises(TrainingError, match="module"):
        JointNetwork.from_official({**weights, "module.x": torch.zeros(1)}, 2)
    odd = {**weights, "EmoFusion.layers.0.linear1.bias": torch.zeros(7)}
    odd["IntFusion.layers.0.linear1.bias"] = torch.zeros(7)
    with pytest.raises(TrainingError, match="shapes"):
        JointNetwork.from_official(odd, 2)


@pytest.mark.parametrize("heights", [(1,), (2, 3, 4), (2, 5)])
def test_padding_does_not_change_a_clips_logits(heights: tuple[int, ...]) -> None:
    model = network(kernel_heights=heights)
    lengths = {"audio": 9, "visual": 2, "text": 3}
    alone = batch(1, **lengths)
    expected = logits(model, alone)
    padded = {m: torch.full((2, 12, w), torch.nan) for m, w in WIDTHS.items()}
    for modality, x in alone.items():
        padded[modality][0, : lengths[modality]] = x[0]
        padded[modality][1] = torch.randn(12, WIDTHS[modality])
    found = logits(model, padded, {m: torch.tensor([n, 12]) for m, n in lengths.items()})
    torch.testing.assert_close(found[:1], expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("masking", [True, False])
def test_packed_steps_give_the_same_logits(masking: bool) -> None:
    model = network(masking=masking)
    x = batch(3, audio=6, visual=6, text=6)
    lengths = {
        m: torch.tensor(n) for m, n in zip(x, ([6, 2, 0], [1, 6, 3], [0, 0, 6]), strict=True)
    }
    valid = {m: torch.arange(6) < n.unsqueeze(1) for m, n in lengths.items()}
    zeroed = {m: v.masked_fill(~valid[m].unsqueeze(2), 0) for m, v in x.items()}
    packed = {m: v[valid[m]] for m, v in x.items()}
    torch.testing.assert_close(logits(model, packed, lengths), logits(model, zeroed, lengths))
    nobody = {**packed, "text": packed["text"][:0]}, {**lengths, "text": torch.zeros(3).long()}
    without = {m: v for m, v in zeroed.items() if m != "text"}
    torch.testing.assert_close(logits(model, *nobody), logits(model, without, lengths))


def test_without_masking_padding_counts_as_in_the_published_code() -> None:
    model = network(masking=False)
    x = batch(2, audio=4, visual=4, text=4)
    lengths = {m: torch.tensor([4, 4]) for m in WIDTHS}
    padded = {m: F.pad(v, (0, 0, 0, 3)) for m, v in x.items()}
    assert not torch.allclose(logits(model, padded, lengths), logits(model, x, lengths))
    torch.testing.assert_close(logits(model, padded, lengths), logits(model, padded))


def test_who_else_is_in_the_batch_does_not_matter() -> None:
    model = network()
    x = batch(6, audio=5, visual=1, text=4)
    lengths = {m: torch.tensor([v.shape[1]] * 6) for m, v in x.items()}
    together = logits(model, x, lengths)
    for row in range(6):
        alone = {m: v[row : row + 1] for m, v in x.items()}
        torch.testing.assert_close(together[row : row + 1], logits(model, alone), atol=1e-6, rtol=0)


def test_one_step_equals_the_general_path() -> None:
    lstm = LstmEncoder(5, 8)
    x = torch.randn(4, 1, 5)
    expected = torch.stack([rnn(x)[0][:, 0] for rnn in lstm.rnns])
    torch.testing.assert_close(lstm(x[:, 0], None), expected)
    torch.testing.assert_close(lstm(x[:, 0], torch.ones(4, 1, dtype=torch.bool)), expected)
    text = TextCnn(5, 8, (2, 3), dropout=0.5).eval()
    of_two = torch.tensor([[True, False]] * 4)
    torch.testing.assert_close(text(x[:, 0], None), text(x[:, 0], of_two))


def test_the_recurrence_equals_torchs_lstm_in_outputs_and_gradients() -> None:
    lengths = torch.tensor([7, 1, 4])
    valid = torch.arange(7) < lengths.unsqueeze(1)
    x = torch.randn(3, 7, 5, dtype=torch.float64)
    lstm = LstmEncoder(5, 8).double()
    found = []
    for steps in (lstm._steps, lstm._library_steps):
        states = steps(x[valid], valid).masked_fill(~valid.unsqueeze(2), 0)
        total = (states * torch.arange(states.numel()).view_as(states).sin()).sum()
        # Twice, as those do who take the gradients of one task after the other.
        for _ in range(2):
            lstm.zero_grad()
            total.backward(retain_graph=True)
        found.append([states.detach(), *(p.grad.clone() for p in lstm.parameters())])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=1e-9)


def test_gradients_do_not_see_what_stands_in_the_padding() -> None:
    model = network()
    lengths = {"audio": torch.tensor([2, 5]), "text": torch.tensor([5, 1])}
    gradients = []
    for filling in (0.0, torch.nan):
        x = batch(2, audio=5, text=5)
        for modality, length in lengths.items():
            x[modality][torch.arange(5) >= length.unsqueeze(1)] = filling
        model.zero_grad()
        logits_of = model(x, lengths)
        sum(part.sum() for part in logits_of).backward()
        gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("heights", [(1,), (2, 3, 4), (4, 1)])
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_text_convolution_equals_torchs_on_zero_padded_text(
    heights: tuple[int, ...], steps: int
) -> None:
    text = TextCnn(5, 8, heights, dropout=0.5).eval()
    x = torch.randn(3, steps, 5)
    padded = F.pad(x, (0, 0, 0, max(0, max(heights) - steps)))
    pooled = []
    for position, height in enumerate(sorted(heights)):
        rows = [row for h, row in text.kernel_rows() if h == height]  # [G, H, D] each
        kernel = torch.stack(rows, dim=2).flatten(0, 1).unsqueeze(1)  # [G·H, 1, height, D]
        bias = text.bias[:, 8 * position : 8 * (position + 1)].flatten()
        # Zeros stand in for what this kernel alone lacks, not for what a taller one does.
        own = padded[:, : max(steps, height)].unsqueeze(1)
        pooled.append(F.conv2d(own, kernel, bias).squeeze(3).amax(2).unflatten(1, (2, 8)))
    expected = F.relu(text.project(torch.cat(pooled, dim=2).relu().transpose(0, 1)))
    valid = torch.ones(3, steps, dtype=torch.bool)
    torch.testing.assert_close(text(x.flatten(0, 1), valid), expected)
    if steps == 1:
        torch.testing.assert_close(text(x[:, 0], None), expected)


def test_a_learned_token_stands_for_a_missing_modality() -> None:
    model = network()
    nn.init.normal_(model.missing["audio"])
    x = batch(2, audio=3)
    present = {"audio": torch.tensor([True, False])}
    found = logits(model, x, None, present)
    torch.testing.assert_close(found[0], logits(model, x)[0])
    other = {**x, "audio": torch.randn(2, 3, WIDTHS["audio"])}
    torch.testing.assert_close(found[1], logits(model, other, None, present)[1])
    assert not torch.allclose(found[1], logits(model, x)[1])
    # A length of zero says the same.
    by_length = logits(model, x, {"audio": torch.tensor([3, 0])})
    torch.testing.assert_close(found, by_length)
    sum(part.sum() for part in model(x, None, present)).backward()
    assert model.missing["audio"].grad.abs().sum() > 0
    assert model.missing["text"].grad is None


@pytest.mark.parametrize("modalities", [("text",), ("audio", "visual"), ("visual", "text")])
def test_any_subset_of_modalities_gives_logits_of_both_tasks(modalities: tuple[str, ...]) -> None:
    model = network(widths={m: WIDTHS[m] for m in modalities})
    x = {m: v for m, v in batch(4, text=3).items() if m in modalities}
    shapes = [tuple(part.shape) for part in model(x)]
    assert shapes == [(4, 7), (4, 8), (4, 7), (4, 8)]


def test_stage_pretrain_has_neither_interaction_nor_auxiliary_logits() -> None:
    output = network(stage="pretrain")(batch())
    assert output.emotion.shape == (3, 7)
    assert output.emotion_auxiliary is None
    assert output.intent_auxiliary is None


def test_a_joint_network_takes_encoders_and_fusion_of_a_pretrained_one() -> None:
    pretrained, joint = network(stage="pretrain"), network()
    with torch.no_grad():
        for parameter in pretrained.parameters():
            parameter.add_(1.0)
    before = joint.classifiers.first.weight.clone()
    joint.start_from(pretrained)
    torch.testing.assert_close(joint.fusion.widen.weight, pretrained.fusion.widen.weight)
    torch.testing.assert_close(joint.encoders["text"].bias, pretrained.encoders["text"].bias)
    torch.testing.assert_close(joint.classifiers.first.weight, before)
    with pytest.raises(TrainingError, match="another architecture"):
        joint.start_from(network(kernel_heights=(1,)))


def test_features_that_do_not_fit_are_refused() -> None:
    model = network()
    x = batch()
    with pytest.raises(FeatureError, match=r"text features \[B, T, 6\]; got \[3, 1, 9\]"):
        model({**x, "text": torch.zeros(3, 1, 9)})
    with pytest.raises(FeatureError, match="at least one of: visual, audio, text"):
        model({})


@pytest.mark.parametrize("modality", list(WIDTHS))
def test_the_learned_token_stands_for_a_modality_the_whole_batch_lacks(modality: str) -> None:
    model = network()
    with torch.no_grad():
        model.missing[modality].uniform_()
    x = batch(text=5, audio=4)
    nobody = torch.zeros(3, dtype=torch.bool)
    expected = logits(model, x, {}, {modality: nobody})
    without = {m: v for m, v in x.items() if m != modality}
    torch.testing.assert_close(logits(model, without), expected)
    empty = {**x, modality: x[modality][:, :0]}
    torch.testing.assert_close(logits(model, empty, {modality: torch.zeros(3)}), expected)


@pytest.mark.parametrize(
    "options",
    [
        {"fusion_heads": dict.fromkeys(TASKS, 3)},
        {"kernel_heights": ()},
        {"kernel_heights": (0,)},
        {"widths": {}},
    ],
)
def test_an_impossible_architecture_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(TrainingError):
        network(**options)


def test_an_architecture_survives_json() -> None:
    config = network().config
    assert NetworkConfig.from_json(config.to_json()) == config


def test_dropout_keeps_the_mean_and_drops_the_rate() -> None:
    torch.manual_seed(0)
    layer = Dropout(0.3)
    dropped = layer(torch.ones(400, 401))
    assert (dropped == 0).float().mean() == pytest.approx(0.3, abs=0.01)
    assert dropped.mean() == pytest.approx(1.0, abs=0.01)
    torch.testing.assert_close(layer.eval()(dropped), dropped)


def test_kaiming_initialisation_has_the_spread_of_its_fan_in() -> None:
    model = network(hidden=64, kernel_heights=(1, 3), fusion_heads=dict.fromkeys(TASKS, 2))
    model.initialise_kaiming()
    weight = model.classifiers.first.weight.detach()
    assert float(weight.std()) == pytest.approx((2 / 192) ** 0.5, rel=0.1)
    for height, row in model.encoders["text"].kernel_rows():
        spread = float(row.detach().std())
        assert spread == pytest.approx((2 / (6 * height)) ** 0.5, rel=0.15)
    for name, bias in model.named_parameters():
        if name.endswith("bias") and "rnns" not in name and "norm" not in name:
            assert (bias == 0).all(), name
    # As torch's multi-head attention: Xavier over queries, keys and values as one matrix.
    assert model.fusion.attention.query.weight.abs().max() <= (6 / 256) ** 0.5
