"""One training: it learns, repeats itself, resumes, and stops where it should."""

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from meiju_utils.challenge import EMOTIONS, TASKS
from meiju_utils.components import Component
from meiju_utils.config import Training
from meiju_utils.errors import ConfigError, FeatureError, TrainingError
from meiju_utils.linear import LinearLogistic
from meiju_utils.modelling import training as training_module
from meiju_utils.modelling.architecture import (
    NetworkConfig,
    in_token_order,
    published_architecture,
)
from meiju_utils.modelling.batches import ClipTensors, Standardiser
from meiju_utils.modelling.checkpoints import TrainedNetwork
from meiju_utils.modelling.dataset import Dataset, make_dataset
from meiju_utils.modelling.network import JointNetwork, logits_type
from meiju_utils.modelling.objectives import OBJECTIVES, Consistent, Contrastive, CrossEntropy
from meiju_utils.modelling.optimisation import (
    clip_gradients,
    learning_rate,
    make_optimizer,
    moving_average,
)
from meiju_utils.modelling.targets import TargetTensors, TaskTargets, balanced
from meiju_utils.modelling.training import Plan, Trained, train_network
from meiju_utils.predictions import Targets, class_columns
from meiju_utils.scoring import JOINT, score

MakeToy = Callable[..., Dataset]
Small = Callable[..., NetworkConfig]
Quick = Callable[..., Training]

# No chance in a step but the order of clips.
CALM = {"text": {"dropout": 0}, "fusion": {"dropout": 0}, "head": {"dropout": 0}}


def plan(dataset: Dataset, small: Small, training: Training, **options: Any) -> Plan:
    network = small(dataset, **options.pop("changes", {}))
    return Plan(network, training, "weighted", **options)


def same_weights(first: Trained, second: Trained) -> bool:
    a, b = (trained.model.network.state_dict() for trained in (first, second))
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def losses(trained: Trained) -> list[float]:
    return [row["train_loss"] for row in trained.history]


def with_weights(targets: Targets, **weights: Any) -> Targets:
    """The same targets, `<task>_weight` changed."""
    return Targets(targets.table.assign(**weights))


def test_the_network_learns_what_a_logistic_regression_learns(make_toy: MakeToy) -> None:
    """With the default settings and widths of layers, at the size of the demo corpus."""
    sizes = {"train": 240, "valid": 80, "test": 1}
    dataset = make_toy(sizes, widths={"audio": 20, "visual": 30, "text": 25}, noise=2.5)
    network = NetworkConfig(
        architecture=published_architecture(TASKS),
        widths=in_token_order(dataset.widths),
        classes={task: len(labels) for task, labels in dataset.classes.items()},
    )
    training = Training(device="cpu", epochs=10)
    trained = train_network(dataset, Plan(network, training, "weighted"), seed=0)
    best = trained.history[trained.best_epoch - 1]["valid_joint"]

    x = np.concatenate([s.means() for s in dataset.features.values()], axis=1, dtype=np.float64)
    train, valid = dataset.labelled("train"), dataset.labelled("valid")
    answers = {}
    for task, labels in dataset.classes.items():
        model = LinearLogistic(len(labels), "weighted", strengths=(10.0,), folds=2)
        targets = dataset.targets(train)
        model.fit(x[train], targets.probabilities(task), targets.weights(task))
        answers[task] = model.probabilities(x[valid]).argmax(axis=1)
    linear = score(dataset.truth(valid), answers)[JOINT]
    assert best > 0.9 * linear > 0.4


def test_training_stops_when_patience_ends_and_keeps_the_best_epoch(
    make_toy: MakeToy, small: Small, quick: Quick
) -> None:
    dataset = make_toy()
    training = quick(epochs=40, patience=3, learning_rate=3e-3)
    trained = train_network(dataset, plan(dataset, small, training), seed=0)
    joint = [row["valid_joint"] for row in trained.history]
    assert trained.best_epoch == 1 + int(np.argmax(joint))
    assert len(joint) == trained.best_epoch + 3 < 40
    valid = dataset.labelled("valid")
    found = trained.model.probabilities(dataset, valid)
    answers = {task: found[task].argmax(axis=1) for task in TASKS}
    assert score(dataset.truth(valid), answers)[JOINT] == pytest.approx(max(joint))


def test_sequences_are_learned_too(make_toy: MakeToy, small: Small, quick: Quick) -> None:
    dataset = make_toy(frames={"audio": (3, 9), "text": (1, 6)}, noise=0.3)
    training = quick(epochs=20, learning_rate=5e-3)
    wanted = plan(dataset, small, training, changes={"both": {"hidden": 32}})
    trained = train_network(dataset, wanted, seed=0)
    assert losses(trained)[-1] < 0.5 * losses(trained)[0]
    assert max(row["valid_joint"] for row in trained.history) > 0.5


def test_a_task_and_classes_of_ones_own_are_learned(
    make_toy: MakeToy, small: Small, quick: Quick
) -> None:
    toy = make_toy()
    low = toy.labels["emotion"] < 3
    clips = {"clip_id": toy.clip_ids, "split": toy.split, "arousal": np.where(low, "low", "high")}
    dataset = make_dataset(pd.DataFrame(clips), toy.features, classes={"arousal": ("low", "high")})
    trained = train_network(dataset, plan(dataset, small, quick(epochs=8, learning_rate=5e-3)), 0)
    assert max(row["valid_arousal"] for row in trained.history) > 0.8
    found = trained.model.probabilities(dataset, dataset.rows("test"))
    assert list(found) == ["arousal"]
    assert found["arousal"].shape == (20, 2)


def test_a_seed_fixes_the_weights_and_another_gives_others(
    make_toy: MakeToy, small: Small, quick: Quick, without: Any
) -> None:
    dataset = without(make_toy(frames={"audio": (1, 4)}), "text", [3])
    first, again, other = (
        train_network(dataset, plan(dataset, small, quick()), seed) for seed in (0, 0, 1)
    )
    assert same_weights(first, again)
    assert not same_weights(first, other)


def test_training_leaves_the_callers_random_numbers_and_threads_alone(
    make_toy: MakeToy, small: Small, quick: Quick
) -> None:
    dataset = make_toy()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    threads = torch.get_num_threads()
    train_network(dataset, plan(dataset, small, quick(epochs=1)), 0)
    torch.testing.assert_close(torch.rand(3), expected)
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_an_interrupted_training_resumes_to_the_same_weights(
    make_toy: MakeToy,
    small: Small,
    quick: Quick,
    without: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ema: float,
) -> None:
    dataset = without(make_toy(frames={"audio": (1, 4)}), "text", [3])
    wanted = plan(dataset, small, quick(epochs=5, ema=ema))
    whole = train_network(dataset, wanted, 0)
    progress = tmp_path / "seed-0.progress"
    calls = []

    def interrupt(training: Training, epoch: int) -> float:
        calls.append(epoch)
        if calls == [1, 2, 3, 4]:
            raise KeyboardInterrupt
        return learning_rate(training, epoch)

    monkeypatch.setattr(training_module, "learning_rate", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train_network(dataset, wanted, 0, progress, checkpoint_seconds=0)
    resumed = train_network(dataset, wanted, 0, progress, checkpoint_seconds=0)
    assert calls == [1, 2, 3, 4, 4, 5]
    assert same_weights(whole, resumed)
    assert whole.best_epoch == resumed.best_epoch
    seconds = {"seconds": 0.0}
    assert [r | seconds for r in whole.history] == [r | seconds for r in resumed.history]
    # A file of a finished training gives its result again; its owner removes it.
    again = train_network(dataset, wanted, 0, progress, checkpoint_seconds=0)
    assert calls == [1, 2, 3, 4, 4, 5]
    assert same_weights(again, whole)


@pytest.mark.parametrize("kept", [0, 100, 0.5, "noise"])
def test_progress_that_cannot_be_read_is_as_good_as_none(
    make_toy: MakeToy, small: Small, quick: Quick, tmp_path: Path, kept: Any
) -> None:
    dataset = make_toy()
    wanted = plan(dataset, small, quick(epochs=2))
    progress = tmp_path / "seed-0.progress"
    whole = train_network(dataset, wanted, 0, progress, checkpoint_seconds=0)
    content = progress.read_bytes()
    if kept == "noise":
        progress.write_bytes(np.random.default_rng(0).bytes(5000))
    else:
        progress.write_bytes(content[: int(kept * len(content)) if kept == 0.5 else kept])
    again = train_network(dataset, wanted, 0, progress)
    assert same_weights(whole, again)
    assert len(again.history) == 2


def test_the_validation_split_is_never_trained_on(
    make_toy: MakeToy, small: Small, quick: Quick
) -> None:
    dataset = make_toy()
    other = make_toy()
    for sequences in other.features.values():
        sequences.frames[other.split == "valid"] += 50
    ours, theirs = (train_network(d, plan(d, small, quick()), 0) for d in (dataset, other))
    assert losses(ours) == losses(theirs)
    assert ours.history[0]["valid_loss"] != theirs.history[0]["valid_loss"]


def test_probabilities_do_not_depend_on_the_company_of_a_clip(
    make_toy: MakeToy, small: Small, quick: Quick, without: Any
) -> None:
    dataset = without(make_toy(frames={"audio": (1, 9), "text": (1, 5)}), "visual", [3, 70])
    model = train_network(dataset, plan(dataset, small, quick()), 0).model
    rows = np.arange(len(dataset.clip_ids))
    together = model.probabilities(dataset, rows)
    order = np.random.default_rng(0).permutation(rows)
    shuffled = model.probabilities(dataset, order)
    some = rows[::7]
    for task in TASKS:
        np.testing.assert_allclose(together[task].sum(1), 1, atol=1e-5)
        # sums of float32 in products of other shapes
        np.testing.assert_allclose(shuffled[task], together[task][order], atol=1e-6)
        alone = np.concatenate([model.probabilities(dataset, rows[i : i + 1])[task] for i in some])
        np.testing.assert_allclose(alone, together[task][some], atol=1e-6)


def test_a_checkpoint_rebuilds_the_network_alone(
    make_toy: MakeToy, small: Small, quick: Quick, tmp_path: Path
) -> None:
    dataset = make_toy()
    changes = {"emotion": {"text": {"textcnn": [1]}}, "intent": {"hidden": 12}, "masking": False}
    model = train_network(dataset, plan(dataset, small, quick(), changes=changes), 0).model
    path = tmp_path / "seed-0.safetensors"
    model.save(path)
    loaded = TrainedNetwork.load(path)
    assert loaded.network.config == model.network.config
    rows = dataset.rows("test")
    for task in TASKS:
        np.testing.assert_array_equal(
            loaded.probabilities(dataset, rows)[task], model.probabilities(dataset, rows)[task]
        )
    wider = make_toy(widths={"audio": 9, "visual": 6, "text": 7})
    with pytest.raises(FeatureError, match="'audio': 9"):
        loaded.probabilities(wider, rows)
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(path.read_bytes()[:500])
    with pytest.raises(TrainingError, match=r"broken\.safetensors is not a checkpoint.*damaged"):
        TrainedNetwork.load(broken)
    with pytest.raises(TrainingError, match=r"none\.safetensors is not a checkpoint"):
        TrainedNetwork.load(tmp_path / "none.safetensors")


@pytest.mark.parametrize("about", [None, {}, {"network": {"hidden": 8}}, {"network": None}])
def test_a_file_of_another_kind_is_no_checkpoint(tmp_path: Path, about: Any) -> None:
    path = tmp_path / "other.safetensors"
    metadata = None if about is None else {"about": json.dumps(about)}
    save_file({"weight": torch.zeros(2)}, path, metadata=metadata)
    with pytest.raises(TrainingError, match=r"other\.safetensors is not a checkpoint"):
        TrainedNetwork.load(path)


@pytest.mark.parametrize("poison", [1e30, float("nan")])
def test_a_diverging_training_stops_with_its_seed_and_what_to_do(
    make_toy: MakeToy, small: Small, quick: Quick, monkeypatch: pytest.MonkeyPatch, poison: float
) -> None:
    class Poisoned(CrossEntropy):
        def __call__(self, logits: Any, targets: Mapping[str, TaskTargets]) -> Tensor:
            return super().__call__(logits, targets) + logits[0].square().sum() * poison

    monkeypatch.setitem(OBJECTIVES, "cross-entropy", Poisoned)
    dataset = make_toy()
    with pytest.raises(TrainingError, match=r"diverged.*epoch 1 \(seed 7\).*learning_rate"):
        train_network(dataset, plan(dataset, small, quick()), 7)


def test_weights_that_the_last_step_of_an_epoch_ruined_are_not_kept(
    make_toy: MakeToy, small: Small, quick: Quick, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = make_toy()
    monkeypatch.setattr(
        training_module._Trainer, "_validate", lambda self: (float("nan"), {"joint": 0.9})
    )
    with pytest.raises(TrainingError, match="diverged: mean loss nan in epoch 1"):
        train_network(dataset, plan(dataset, small, quick()), 0)


def test_a_rate_that_is_far_too_high_diverges(
    make_toy: MakeToy, small: Small, quick: Quick
) -> None:
    dataset = make_toy()
    wild = quick(learning_rate=1e4, clipping="none", epochs=10)
    with pytest.raises(TrainingError, match=r"diverged.*now 10000.*clipping: global"):
        train_network(dataset, plan(dataset, small, wild), 0)


def test_a_class_absent_from_train_gets_no_probability(
    make_toy: MakeToy, small: Small, quick: Quick
) -> None:
    def drop_fear(clips: Any) -> None:
        fear = (clips["emotion"] == "fear") & (clips["split"] == "train")
        clips.loc[fear, "emotion"] = "sad"

    dataset = make_toy(change=drop_fear)
    trained = train_network(dataset, plan(dataset, small, quick(class_weights=True)), 0)
    found = trained.model.probabilities(dataset, dataset.rows("test"))["emotion"]
    assert (found[:, EMOTIONS.index("fear")] == 0).all()
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-5)
    assert all(np.isfinite(row["valid_loss"]) for row in trained.history)


def test_splits_of_one_clip_train_and_predict(
    make_toy: MakeToy, small: Small, quick: Quick
) -> None:
    dataset = make_toy(sizes={"train": 1, "valid": 1, "test": 1})
    trained = train_network(dataset, plan(dataset, small, quick()), 0)
    assert trained.model.probabilities(dataset, dataset.rows("test"))["intent"].shape == (1, 8)


def test_pseudo_labels_of_one_task_train_that_task_alone(
    make_toy: MakeToy, small: Small, quick: Quick
) -> None:
    dataset = make_toy()
    pool = dataset.rows("unlabeled")[:30]
    labels = {task: np.full(30, "") for task in TASKS} | {"emotion": np.full(30, EMOTIONS[2])}
    table = dataset.targets(pool).table[["clip_id"]].assign(**labels)
    targets = Targets.of_labels(table, dataset.classes)
    apart = {"interaction": None, "auxiliary": False}
    first = train_network(dataset, plan(dataset, small, quick(), changes=apart), 0)
    start = first.model.network
    wanted = plan(dataset, small, quick(batch_size=4), changes=apart, targets=targets, start=start)
    second = train_network(dataset, wanted, 0)
    assert all(np.isfinite(loss) for loss in losses(second))
    before, after = (t.model.probabilities(dataset, pool)["emotion"][:, 2] for t in (first, second))
    assert after.mean() > before.mean()
    for name, weight in second.model.network.branches["intent"].state_dict().items():
        assert torch.equal(weight, start.branches["intent"].state_dict()[name]), name


def test_true_labels_given_as_targets_are_those_that_are_trained_on_by_default(
    make_toy: MakeToy, small: Small, quick: Quick
) -> None:
    dataset = make_toy()
    train = dataset.labelled("train")
    pool = dataset.targets(np.setdiff1d(np.arange(len(dataset.clip_ids)), train))
    nothing = with_weights(pool, emotion_weight=0.0, intent_weight=0.0)
    default, given, more = (
        train_network(dataset, plan(dataset, small, quick(), targets=targets), 0)
        for targets in (
            None,
            dataset.targets(train),
            dataset.targets(train).with_others(nothing),  # clips that count nothing
        )
    )
    assert same_weights(default, given)
    assert same_weights(default, more)


def test_a_network_learns_the_distribution_of_soft_targets(
    make_toy: MakeToy, small: Small, quick: Quick
) -> None:
    dataset = make_toy()
    targets = dataset.targets(dataset.labelled("train"))
    soft = {"emotion": [0.6, 0.3, 0.1, 0, 0, 0, 0], "intent": [0, 0.5, 0, 0, 0, 0, 0, 0.5]}
    columns = {
        column: share
        for task, shares in soft.items()
        for column, share in zip(class_columns(dataset.classes, task), shares, strict=True)
    }
    wanted = plan(
        dataset,
        small,
        quick(epochs=15, patience=15, learning_rate=1e-2),
        targets=Targets(targets.table.assign(**columns)),
    )
    trained = train_network(dataset, wanted, 0)
    entropy = -sum(p * np.log(p) for shares in soft.values() for p in shares if p)
    # twice: the auxiliary heads learn the same; what dropout leaves is some per cent
    assert losses(trained)[-1] == pytest.approx(2 * entropy, rel=0.1)
    assert losses(trained)[-1] >= 2 * entropy - 1e-4


def logits_of(dataset: Dataset, network: JointNetwork, rows: Any) -> Any:
    return network(*ClipTensors(dataset, Standardiser.fit(dataset)).batch(rows))


def gradients(network: JointNetwork) -> dict[str, Tensor]:
    found = {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}
    network.zero_grad()
    return found


def assert_same_gradients(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    for name, gradient in first.items():  # sums over clips in another order
        torch.testing.assert_close(gradient, second[name], atol=1e-6, rtol=1e-4)


def test_the_cross_entropy_of_one_hot_targets_is_that_of_labels(
    make_toy: MakeToy, small: Small
) -> None:
    dataset = make_toy()
    rows = dataset.labelled("train")
    logits = logits_of(dataset, JointNetwork(small(dataset)).eval(), rows)
    targets = TargetTensors(dataset.targets(rows), dataset.clip_ids).batch(rows)
    labels = {task: torch.from_numpy(dataset.labels[task][rows]) for task in TASKS}
    first = sum(F.cross_entropy(getattr(logits, task), labels[task]) for task in TASKS)
    more = sum(F.cross_entropy(getattr(logits, f"{t}_auxiliary"), labels[t]) for t in TASKS)
    torch.testing.assert_close(CrossEntropy()(logits, targets), first + more)
    torch.testing.assert_close(CrossEntropy(auxiliary=0.3)(logits, targets), first + 0.3 * more)
    torch.testing.assert_close(CrossEntropy(auxiliary=0)(logits, targets), first)
    plain = logits_type(("emotion", "intent"))(*logits[:2], None, None, *logits[4:])
    torch.testing.assert_close(CrossEntropy()(plain, targets), first)


def test_a_weight_of_two_is_a_clip_twice_and_of_zero_none(make_toy: MakeToy, small: Small) -> None:
    dataset = make_toy()
    rows = dataset.labelled("train")[:12]
    network = JointNetwork(small(dataset)).eval()
    objective, targets = CrossEntropy(), dataset.targets(rows)

    def gradients_of(targets: Targets, rows: Any) -> dict[str, Tensor]:
        batch = TargetTensors(targets, dataset.clip_ids).batch(rows)
        objective(logits_of(dataset, network, rows), batch).backward()
        return gradients(network)

    weight = np.ones(12)
    weight[3], weight[5] = 2, 0
    weighted = with_weights(targets, emotion_weight=weight, intent_weight=weight)
    repeated = np.concatenate([np.delete(rows, 5), rows[3:4]])
    assert_same_gradients(gradients_of(weighted, rows), gradients_of(targets, repeated))
    # Of one task alone: the other is as it was.
    of_emotion = with_weights(targets, emotion_weight=weight)
    own = [
        {k: v for k, v in gradients_of(t, rows).items() if "branches.intent.auxiliary" in k}
        for t in (of_emotion, targets)
    ]
    assert_same_gradients(*own)


def test_a_batch_without_a_known_label_of_a_task_has_no_loss_of_it(
    make_toy: MakeToy, small: Small
) -> None:
    dataset = make_toy()
    rows = dataset.labelled("train")[:8]
    targets = with_weights(dataset.targets(rows), intent_weight=0.0)
    network = JointNetwork(small(dataset, interaction=None)).eval()
    batch = TargetTensors(targets, dataset.clip_ids).batch(rows)
    CrossEntropy()(logits_of(dataset, network, rows), batch).backward()
    for name, gradient in gradients(network).items():
        assert torch.isfinite(gradient).all()
        assert "intent" not in name or (gradient == 0).all()


def test_targets_are_found_by_clip_and_only_those_that_count_are_trained_on(
    make_toy: MakeToy,
) -> None:
    dataset = make_toy()
    targets = dataset.targets(np.array([9, 2, 70]))
    weights = {"emotion_weight": [1.0, 0.0, 0.0], "intent_weight": [0.0, 3.0, 0.0]}
    tensors = TargetTensors(with_weights(targets, **weights), dataset.clip_ids)
    assert tensors.rows.tolist() == [2, 9]
    batch = tensors.batch(np.array([9, 0, 2]))
    assert batch["intent"].weights.tolist() == [0, 0, 3]
    label = int(batch["emotion"].probabilities[0].argmax())
    assert label == dataset.labels["emotion"][9]
    torch.testing.assert_close(batch["emotion"].probabilities.sum(dim=1), torch.ones(3))
    with pytest.raises(KeyError, match="clip0070"):
        TargetTensors(targets, dataset.clip_ids[:60])


def test_balanced_weights_are_inverse_to_counts_and_one_on_average(make_toy: MakeToy) -> None:
    table = {"clip_id": list("abcdef"), "emotion": ["sad"] * 3 + ["fear", "", "happy"]}
    table["intent"] = ["neutral"] * 6
    classes = make_toy().classes
    targets = Targets.of_labels(pd.DataFrame(table), classes)
    known = with_weights(targets, emotion_weight=[1.0, 1, 1, 1, 0, 0])
    found = balanced(known, known)
    np.testing.assert_allclose(found.weights("emotion"), [2 / 3, 2 / 3, 2 / 3, 2, 0, 0])
    np.testing.assert_allclose(found.weights("intent"), 1)
    # Those of another table: a class that does not count there counts nothing.
    other = balanced(targets, known).weights("emotion")
    np.testing.assert_allclose(other, [2 / 3, 2 / 3, 2 / 3, 2, 0, 0])


def test_class_weights_balance_what_is_trained_on(
    make_toy: MakeToy, small: Small, quick: Quick
) -> None:
    dataset = make_toy()
    targets = dataset.targets(dataset.labelled("train"))
    by_setting = plan(dataset, small, quick(class_weights=True))
    by_hand = plan(dataset, small, quick(), targets=balanced(targets, targets))
    plain = plan(dataset, small, quick())
    first, second, third = (
        train_network(dataset, wanted, 0) for wanted in (by_setting, by_hand, plain)
    )
    assert same_weights(first, second)
    assert not same_weights(first, third)


def test_the_published_schedule_holds_and_then_falls_to_zero(quick: Quick) -> None:
    published = quick(schedule="hold-linear", hold_epochs=2, epochs=5, learning_rate=1.0)
    rates = [learning_rate(published, epoch) for epoch in range(1, 7)]
    assert rates == [1, 1, 0.75, 0.5, 0.25, 0]
    assert learning_rate(quick(learning_rate=0.3), 50) == 0.3


def test_each_epoch_has_the_rate_of_the_schedule(
    make_toy: MakeToy, small: Small, quick: Quick
) -> None:
    dataset = make_toy()
    published = quick(schedule="hold-linear", hold_epochs=1, epochs=3, learning_rate=3e-3)
    history = train_network(dataset, plan(dataset, small, published), 0).history
    assert [row["learning_rate"] for row in history] == pytest.approx([3e-3, 2e-3, 1e-3])


@pytest.mark.parametrize("clipping", ["global", "per-network", "none"])
def test_a_step_takes_gradients_clipped_as_a_whole_or_by_part(
    make_toy: MakeToy, small: Small, quick: Quick, clipping: str
) -> None:
    torch.manual_seed(0)
    dataset = make_toy()
    # In double precision: Adam makes much of rounding in a gradient next to zero.
    network = JointNetwork(small(dataset)).eval().double()
    expected = copy.deepcopy(network)
    training = quick(
        clipping=clipping, clip_norm=0.5, beta1=0.5, weight_decay=0.1, learning_rate=3e-3
    )
    ours = make_optimizer(network, training)
    plain = torch.optim.AdamW(
        expected.parameters(), lr=3e-3, betas=(0.5, 0.999), weight_decay=0.1, foreach=False
    )
    x = {m: torch.randn(4, 3, width, dtype=torch.double) for m, width in dataset.widths.items()}
    # Steps of unlike size: a first one of Adam's is the same whatever its gradient is scaled by.
    for size in (1e4, 1.0, 1e-4):
        for model in (network, expected):
            model.zero_grad()
            sum(part.square().sum() * size for part in model(x)).backward()
        parts: list[nn.Module] = [expected] if clipping == "global" else expected.parts()
        for part in parts if clipping != "none" else []:
            own = [p.grad for p in part.parameters() if p.grad is not None]
            norm = float(sum(gradient.square().sum() for gradient in own)) ** 0.5
            for gradient in own:
                gradient.mul_(min(1.0, 0.5 / (norm + 1e-6)))  # as torch, which cannot divide by 0
        clip_gradients(network, training)
        ours.step()
        plain.step()
    for found, wanted in zip(network.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-9, rtol=0)


def test_the_moving_average_moves_as_by_hand_and_forgets_the_first_weights(
    make_toy: MakeToy, small: Small
) -> None:
    network = JointNetwork(small(make_toy()))
    average = moving_average(network, decay=0.95)
    weight = network.branches["emotion"].head.layers[1].weight
    expected = None
    for step in range(1, 60):
        with torch.no_grad():
            weight.fill_(step)
        average.update_parameters(network)
        keep = min(0.95, step / (step + 10))
        expected = step if expected is None else keep * expected + (1 - keep) * step
    slow = average.module.branches["emotion"].head.layers[1].weight
    torch.testing.assert_close(slow, torch.full_like(slow, expected))
    assert (weight == 59).all()
    for _ in range(400):
        average.update_parameters(network)
    for slow, fast in zip(average.module.parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(slow, fast, atol=1e-4, rtol=0)


def test_the_averaged_network_is_the_one_that_is_kept(
    make_toy: MakeToy, small: Small, quick: Quick
) -> None:
    dataset = make_toy()
    plain, averaged = (
        train_network(dataset, plan(dataset, small, quick(epochs=1, ema=ema)), 0)
        for ema in (0.0, 0.9)
    )
    assert losses(plain) == losses(averaged)  # what is averaged does not train
    assert not same_weights(plain, averaged)


def test_history_is_data(make_toy: MakeToy, small: Small, quick: Quick) -> None:
    dataset = make_toy()
    history = train_network(dataset, plan(dataset, small, quick()), 3).history
    assert [row["epoch"] for row in history] == [1, 2, 3]
    assert {row["seed"] for row in history} == {3}
    assert set(history[0]) == {
        *("seed", "epoch", "learning_rate", "train_loss", "valid_loss", "seconds"),
        *("valid_emotion", "valid_intent", "valid_joint"),
    }
    assert json.loads(json.dumps(history)) == history


@pytest.mark.parametrize("options", [{"batch_size": 8}, {"batch_size": 64, "class_weights": True}])
def test_the_validation_loss_is_the_objective_that_is_trained(
    make_toy: MakeToy, small: Small, quick: Quick, options: dict[str, Any]
) -> None:
    """Where the same clips are in both splits and nothing is left to chance, they are equal."""
    toy = make_toy(sizes={"train": 24, "valid": 24})
    twice = np.concatenate([np.arange(24)] * 2)
    features = {m: replace(s, frames=s.frames[twice]) for m, s in toy.features.items()}
    labels = {task: labels[twice] for task, labels in toy.labels.items()}
    dataset = replace(toy, features=features, labels=labels)
    training = quick(epochs=1, learning_rate=1e-9, noise=0.0, **options)
    wanted = plan(
        dataset,
        small,
        training,
        changes={"both": CALM},
        objective=Component(name="cross-entropy", options={"auxiliary": 0.4}),
    )
    (row,) = train_network(dataset, wanted, 0).history
    assert row["valid_loss"] == pytest.approx(row["train_loss"], rel=1e-5)  # sums of float32


def test_an_objective_of_ones_own_is_a_class_and_a_line_in_its_registry(
    make_toy: MakeToy, small: Small, quick: Quick, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Scaled(CrossEntropy):
        def __init__(self, *, factor: float) -> None:
            super().__init__()
            self.factor = factor

        def __call__(self, logits: Any, targets: Mapping[str, TaskTargets]) -> Tensor:
            return self.factor * super().__call__(logits, targets)

    monkeypatch.setitem(OBJECTIVES, "scaled", Scaled)
    dataset = make_toy()
    scaled = Component(name="scaled", options={"factor": 2.0})
    slow = quick(epochs=1, learning_rate=1e-9)
    twice, once = (
        train_network(dataset, plan(dataset, small, slow, **objective), 0)
        for objective in ({"objective": scaled}, {})
    )
    assert losses(twice)[0] == pytest.approx(2 * losses(once)[0])


def test_an_unknown_device_is_refused(make_toy: MakeToy, small: Small, quick: Quick) -> None:
    dataset = make_toy()
    with pytest.raises(ConfigError, match=r"'tpu'.*this machine has .*cpu"):
        train_network(dataset, plan(dataset, small, quick(device="tpu")), 0)


def features(*rows: list[float]) -> Any:
    """Logits of emotion alone, all alike, with these features before the head."""
    own = torch.tensor(rows)
    zeros = torch.zeros(len(rows), 3)
    return logits_type(("emotion",))(zeros, None, own)


def test_the_contrastive_loss_draws_clips_of_one_class_together() -> None:
    hard = TaskTargets(torch.eye(3)[[0, 0, 1, 1]], torch.ones(4))
    loss, plain = Contrastive(weight=1.0), CrossEntropy()
    apart = features([1.0, 0.0], [1.0, 0.1], [-1.0, 0.0], [-1.0, 0.1])
    mixed = features([1.0, 0.0], [-1.0, 0.1], [1.0, 0.1], [-1.0, 0.0])
    low, high = loss(apart, {"emotion": hard}), loss(mixed, {"emotion": hard})
    assert low < high - 1
    torch.testing.assert_close(plain(apart, {"emotion": hard}), plain(mixed, {"emotion": hard}))
    # Nobody of the same class: nothing to draw together.
    alone = TaskTargets(torch.eye(3), torch.ones(3))
    three = features([1.0, 0.0], [0.0, 1.0], [-1.0, 0.0])
    torch.testing.assert_close(loss(three, {"emotion": alone}), plain(three, {"emotion": alone}))
    # A clip of weight zero has no part in it.
    some = TaskTargets(hard.probabilities, torch.tensor([1.0, 1.0, 1.0, 0.0]))
    moved = features([1.0, 0.0], [1.0, 0.1], [-1.0, 0.0], [9.0, 9.0])
    turned = features([1.0, 0.0], [1.0, 0.1], [-1.0, 0.0], [-9.0, 9.0])
    flat = Contrastive(weight=1.0, temperature=50.0)
    first, second = (flat(x, {"emotion": some}) for x in (moved, turned))
    assert abs(float(first - second)) < 0.1


def test_consistency_is_least_where_network_and_average_agree() -> None:
    sure = logits_type(("emotion",))(torch.tensor([[4.0, 0.0, 0.0]]), None, None)
    other = logits_type(("emotion",))(torch.tensor([[0.0, 4.0, 0.0]]), None, None)
    agree = Consistent().consistency(sure, sure, ["emotion"])
    assert agree < Consistent().consistency(other, sure, ["emotion"])
    assert Consistent(weight=0.0).consistency(other, sure, ["emotion"]) == 0


def test_consistency_trains_on_the_pool_and_needs_an_average(
    make_toy: MakeToy, small: Small, quick: Quick
) -> None:
    dataset = make_toy()
    plan = Plan(small(dataset), quick(ema=0.9), "weighted", Component(name="consistent"))
    found = train_network(dataset, plan, 0)
    again = train_network(dataset, plan, 0)
    plain = train_network(dataset, replace(plan, objective=Component(name="cross-entropy")), 0)
    weights = [t.model.network.state_dict() for t in (found, again, plain)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not all(torch.equal(weights[0][name], weights[2][name]) for name in weights[0])
    with pytest.raises(TrainingError, match="needs a moving average"):
        train_network(dataset, replace(plan, training=quick()), 0)
    without_pool = make_toy(sizes={"train": 20, "valid": 10, "test": 5})
    train_network(without_pool, replace(plan, network=small(without_pool)), 0)


def test_the_last_epoch_is_kept_where_nothing_is_to_be_chosen(
    make_toy: MakeToy, small: Small, quick: Quick
) -> None:
    dataset = make_toy()
    plan = Plan(small(dataset), quick(epochs=5, patience=1, keep="last"), "weighted")
    found = train_network(dataset, plan, 0)
    assert found.best_epoch == len(found.history) == 5
