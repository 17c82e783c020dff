"""One training: it learns, repeats itself, resumes, and stops where it should."""

import copy
import ctypes
import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from meiju_utils.challenge import EMOTIONS, TASKS
from meiju_utils.config import Parallel, Training
from meiju_utils.embeddings.checkpoints import torch_device
from meiju_utils.errors import ConfigError, FeatureError, TrainingError
from meiju_utils.metrics import score
from meiju_utils.modelling import batches, optimisation
from meiju_utils.modelling import training as training_module
from meiju_utils.modelling.architecture import NetworkConfig
from meiju_utils.modelling.batches import ClipTensors, Standardiser
from meiju_utils.modelling.checkpoints import TrainedNetwork
from meiju_utils.modelling.dataset import UNKNOWN, Dataset
from meiju_utils.modelling.experiments import SeedJob, checkpoint_path
from meiju_utils.modelling.memory import keep_freed_memory
from meiju_utils.modelling.network import JointNetwork
from meiju_utils.modelling.optimisation import (
    AdamW,
    JointLoss,
    average_into,
    clipped_step,
    label_weights,
    learning_rate,
)
from meiju_utils.modelling.training import Plan, Trained, train_network
from meiju_utils.modelling.yardsticks import fit_yardsticks

MakeToy = Callable[..., Dataset]
Small = Callable[..., NetworkConfig]
Quick = Callable[..., Training]


def plan(dataset: Dataset, small: Small, training: Training, **options: Any) -> Plan:
    network = small(dataset, stage=options.pop("stage", "joint"))
    return Plan(network, training, "weighted", **options)


def same_weights(first: Trained, second: Trained) -> bool:
    a, b = (trained.model.network.state_dict() for trained in (first, second))
    return all(torch.equal(a[name], b[name]) for name in a)


def test_the_network_learns_what_a_logistic_regression_learns(make_toy: MakeToy) -> None:
    """With the default settings and widths of layers, at the size of the demo corpus."""
    sizes = {"train": 240, "valid": 80, "test": 1}
    dataset = make_toy(sizes, widths={"audio": 20, "visual": 30, "text": 25}, noise=2.5)
    network = NetworkConfig(dataset.widths, dict.fromkeys(TASKS, 2))
    training = Training(device="cpu", epochs=20)
    trained = train_network(dataset, Plan(network, training, "weighted"), seed=0)
    best = trained.history[trained.best_epoch - 1]["valid_joint"]
    table = fit_yardsticks(dataset, "weighted", Parallel(backend="serial")).table
    linear = table.set_index("name").loc["logistic regression", "joint"]
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
    answers = [found[task].argmax(axis=1) for task in TASKS]
    truth = dataset.truth(valid)
    again = score(truth[0], answers[0], truth[1], answers[1]).joint
    assert again == pytest.approx(max(joint))


def test_sequences_are_learned_too(make_toy: MakeToy, small: Small, quick: Quick) -> None:
    dataset = make_toy(frames={"audio": (3, 9), "text": (1, 6)}, noise=0.3)
    training = quick(epochs=20, learning_rate=5e-3)
    network = small(dataset, hidden=32)
    trained = train_network(dataset, Plan(network, training, "weighted"), seed=0)
    assert trained.history[-1]["train_loss"] < 0.5 * trained.history[0]["train_loss"]
    assert max(row["valid_joint"] for row in trained.history) > 0.5


def test_a_seed_fixes_the_weights_and_another_gives_others(
    make_toy: MakeToy, small: Small, quick: Quick
) -> None:
    dataset = make_toy(frames={"audio": (1, 4)})
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
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ema: float,
) -> None:
    dataset = make_toy()
    wanted = plan(dataset, small, quick(epochs=5, ema=ema))
    whole = train_network(dataset, wanted, 0)
    progress = tmp_path / "progress.safetensors"
    calls = []
    learning = training_module.learning_rate

    def interrupt(training: Training, epoch: int) -> float:
        calls.append(epoch)
        if epoch == 4 and len(calls) == 4:
            raise KeyboardInterrupt
        return learning(training, epoch)

    monkeypatch.setattr(training_module, "learning_rate", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train_network(dataset, wanted, 0, progress, checkpoint_seconds=0)
    assert progress.is_file()
    resumed = train_network(dataset, wanted, 0, progress, checkpoint_seconds=0)
    assert calls == [1, 2, 3, 4, 4, 5]
    assert same_weights(whole, resumed)
    assert [row["train_loss"] for row in whole.history] == [
        row["train_loss"] for row in resumed.history
    ]
    assert not progress.exists()


def test_the_validation_split_is_never_trained_on(
    make_toy: MakeToy, small: Small, quick: Quick
) -> None:
    dataset = make_toy()
    other = make_toy()
    for sequences in other.features.values():
        sequences.frames[other.split == "valid"] += 50
    losses = [
        [row["train_loss"] for row in train_network(d, plan(d, small, quick()), 0).history]
        for d in (dataset, other)
    ]
    assert losses[0] == losses[1]


def test_probabilities_do_not_depend_on_the_company_of_a_clip(
    make_toy: MakeToy, small: Small, quick: Quick, without: Any
) -> None:
    dataset = without(make_toy(frames={"audio": (1, 9), "text": (1, 5)}), "visual", [3, 70])
    model = train_network(dataset, plan(dataset, small, quick()), 0).model
    rows = np.arange(len(dataset.clip_ids))
    together = model.probabilities(dataset, rows)
    order = np.random.default_rng(0).permutation(rows)
    shuffled = model.probabilities(dataset, order)
    for task in TASKS:
        np.testing.assert_allclose(together[task].sum(1), 1, atol=1e-5)
        np.testing.assert_allclose(shuffled[task], together[task][order], atol=1e-6)
        alone = np.concatenate([model.probabilities(dataset, rows[i : i + 1])[task] for i in rows])
        np.testing.assert_allclose(alone, together[task], atol=1e-6)


def test_a_checkpoint_rebuilds_the_network_alone(
    make_toy: MakeToy, small: Small, quick: Quick, tmp_path: Path
) -> None:
    dataset = make_toy()
    model = train_network(dataset, plan(dataset, small, quick()), 0).model
    model.save(tmp_path / "seed-0.safetensors")
    loaded = TrainedNetwork.load(tmp_path / "seed-0.safetensors")
    rows = dataset.rows("test")
    for task in TASKS:
        np.testing.assert_array_equal(
            loaded.probabilities(dataset, rows)[task], model.probabilities(dataset, rows)[task]
        )
    wider = make_toy(widths={"audio": 9, "visual": 6, "text": 7})
    with pytest.raises(FeatureError, match="'audio': 9"):
        loaded.probabilities(wider, rows)
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes((tmp_path / "seed-0.safetensors").read_bytes()[:500])
    with pytest.raises(TrainingError, match=r"broken\.safetensors"):
        TrainedNetwork.load(broken)


@pytest.mark.parametrize("poison", [1e30, float("nan")])
def test_a_diverging_training_stops_with_its_seed_and_what_to_do(
    make_toy: MakeToy, small: Small, quick: Quick, monkeypatch: pytest.MonkeyPatch, poison: float
) -> None:
    dataset = make_toy()
    monkeypatch.setattr(
        JointLoss, "__call__", lambda self, output, *rows: output[0].square().sum() * poison
    )
    with pytest.raises(TrainingError, match=r"diverged.*epoch 1 \(seed 7\).*learning_rate"):
        train_network(dataset, plan(dataset, small, quick()), 7)


def test_a_rate_that_is_far_too_high_diverges(
    make_toy: MakeToy, small: Small, quick: Quick
) -> None:
    dataset = make_toy()
    wild = quick(learning_rate=1e4, clipping="none", epochs=10)
    with pytest.raises(TrainingError, match="diverged"):
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
    none = np.full(len(dataset.clip_ids), UNKNOWN)
    emotion = none.copy()
    emotion[dataset.rows("unlabeled")[:30]] = 2
    labels = {"emotion": emotion, "intent": none}
    first = train_network(dataset, plan(dataset, small, quick()), 0)
    second = train_network(
        dataset,
        plan(dataset, small, quick(batch_size=4), pseudo_labels=labels, start=first.model.network),
        0,
    )
    assert all(np.isfinite(row["train_loss"]) for row in second.history)
    pool = dataset.rows("unlabeled")[:30]
    before, after = (t.model.probabilities(dataset, pool)["emotion"][:, 2] for t in (first, second))
    assert after.mean() > before.mean()


def test_the_joint_stage_starts_from_the_pretrained_one(
    make_toy: MakeToy, small: Small, quick: Quick
) -> None:
    dataset = make_toy()
    first = train_network(dataset, plan(dataset, small, quick(), stage="pretrain"), 0)
    slow = quick(epochs=1, learning_rate=1e-9)
    second = train_network(dataset, plan(dataset, small, slow, start=first.model.network), 0)
    torch.testing.assert_close(
        second.model.network.fusion.widen.weight, first.model.network.fusion.widen.weight
    )


def test_balanced_weights_are_inverse_to_counts_and_one_on_average() -> None:
    emotion = np.array([0, 0, 0, 1, UNKNOWN, 2])
    labels = {"emotion": emotion, "intent": np.zeros(6, dtype=np.int64)}
    weights = label_weights(labels, np.arange(5), balanced=True)["emotion"]
    np.testing.assert_allclose(weights[:5], [2 / 3, 2 / 3, 2 / 3, 2, 0])
    assert weights[:4].mean() == pytest.approx(1)
    plain = label_weights(labels, np.arange(5), balanced=False)["emotion"]
    assert plain.tolist() == [1, 1, 1, 1, 0, 1]


def test_the_published_schedule_holds_and_then_falls_to_zero(quick: Quick) -> None:
    published = quick(schedule="hold-linear", hold_epochs=2, epochs=5, learning_rate=1.0)
    rates = [learning_rate(published, epoch) for epoch in range(1, 7)]
    assert rates == [1, 1, 0.75, 0.5, 0.25, 0]
    assert learning_rate(quick(learning_rate=0.3), 50) == 0.3


@pytest.mark.parametrize("scaling", [("cpu",), ()])  # devices whose optimiser scales gradients
@pytest.mark.parametrize("clipping", ["global", "per-network", "none"])
def test_a_step_takes_gradients_clipped_as_a_whole_or_by_part(
    make_toy: MakeToy,
    small: Small,
    quick: Quick,
    monkeypatch: pytest.MonkeyPatch,
    clipping: str,
    scaling: tuple[str, ...],
) -> None:
    monkeypatch.setattr(optimisation, "SCALING", scaling)
    torch.manual_seed(0)
    dataset = make_toy()
    network = JointNetwork(small(dataset)).eval()
    expected = copy.deepcopy(network)
    training = quick(clipping=clipping, clip_norm=0.5, beta1=0.5, weight_decay=0.1)
    ours = AdamW(network.parameters(), training)
    plain = torch.optim.AdamW(
        expected.parameters(), lr=3e-3, betas=(0.5, 0.999), weight_decay=0.1, foreach=False
    )
    x = {m: torch.randn(4, 3, width) for m, width in dataset.widths.items()}
    # Steps of unlike size: a first one of Adam's is the same whatever its gradient is scaled by.
    for size in (1e4, 1.0, 1e-4):
        for model in (network, expected):
            model.zero_grad()
            sum(part.square().sum() * size for part in model(x)).backward()
        gradients = [p.grad for p in expected.parameters() if p.grad is not None]
        parts = [gradients] if clipping == "global" else expected.gradients_by_part()
        assert sum(g.numel() for part in parts for g in part) == sum(g.numel() for g in gradients)
        for part in parts if clipping != "none" else []:
            norm = float(nn.utils.get_total_norm(part))
            for gradient in part:
                gradient.mul_(min(1.0, 0.5 / norm))
        clipped_step(network, ours, training, rate=3e-3)
        plain.step()
    for found, wanted in zip(network.parameters(), expected.parameters(), strict=True):
        # a twentieth of one step of 3e-3: Adam makes much of rounding in a gradient next to zero
        torch.testing.assert_close(found, wanted, atol=1.5e-4, rtol=0)


def test_a_batch_in_pieces_has_the_gradients_of_the_whole(
    make_toy: MakeToy, small: Small, without: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = without(make_toy(frames={"audio": (1, 9), "text": (1, 5)}), "visual", range(5))
    dataset.labels["intent"][:5] = UNKNOWN
    rows = np.arange(20)
    weights = label_weights(dataset.labels, rows, balanced=True)
    loss = JointLoss(dataset.labels, weights, 1.0, torch.device("cpu"))
    tensors = ClipTensors(dataset, Standardiser.fit(dataset))
    network = JointNetwork(small(dataset)).eval()
    loss(network(*tensors.batch(rows)), rows).backward()
    whole = {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}
    network.zero_grad()
    monkeypatch.setattr(batches, "FRAMES", 40)
    pieces = tensors.pieces(rows)
    assert len(pieces) > 2
    assert set(pieces[0]) <= set(range(5))  # one without any visual at all
    for piece in pieces:
        loss(network(*tensors.batch(piece)), piece, rows).backward()
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(parameter.grad, whole.get(name), atol=1e-5, rtol=1e-4)


def test_batches_stay_whole_where_padding_counts(
    make_toy: MakeToy, small: Small, quick: Quick, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = make_toy(frames={"audio": (1, 9)})
    for masking in (False, True):
        given = Plan(small(dataset, masking=masking), quick(epochs=1), "weighted")
        trained, answers = [], []
        for frames in (1000, 40):
            monkeypatch.setattr(batches, "FRAMES", frames)
            trained.append(train_network(dataset, given, 0))
            answers.append(trained[0].model.probabilities(dataset, np.arange(60), "cpu"))
        # Where padding is masked, pieces draw other dropout, and answers know no company.
        assert same_weights(*trained) is not masking
        for task in TASKS:
            exact = 1e-5 * masking  # but for rounding, as pieces are smaller products
            np.testing.assert_allclose(answers[0][task], answers[1][task], atol=exact, rtol=0)


def test_a_training_process_imports_neither_torchs_compiler_nor_scikit_learn(
    make_toy: MakeToy, small: Small, quick: Quick, tmp_path: Path
) -> None:
    dataset = make_toy()
    job = SeedJob(tmp_path, dataset, small(dataset), quick(epochs=1), "weighted", seed=3)
    (tmp_path / "job.pickle").write_bytes(pickle.dumps(job))
    code = (
        "import pickle, sys; from pathlib import Path; "
        "from meiju_utils.modelling.experiments import train_seed; "
        "train_seed(pickle.loads(Path(sys.argv[1]).read_bytes())); "
        "print(sorted({'torch._dynamo', 'sklearn'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "job.pickle")]
    ran = subprocess.run(command, check=True, capture_output=True, text=True)
    assert checkpoint_path(tmp_path, 3).is_file()
    assert ran.stdout.splitlines()[-1] == "[]"


def test_memory_is_kept_where_the_c_library_can_and_nothing_fails_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[int, int]] = []
    library = type("Glibc", (), {"mallopt": staticmethod(lambda *pair: asked.append(pair))})
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    keep_freed_memory()
    assert asked == [(-1, 1 << 30), (-3, 32 << 20)]
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())  # a library without mallopt
    keep_freed_memory()


def test_the_moving_average_forgets_the_first_weights(make_toy: MakeToy, small: Small) -> None:
    config = small(make_toy())
    average, network = JointNetwork(config), JointNetwork(config)
    for step in range(1, 400):
        average_into(average, network, decay=0.95, step=step)
    for slow, fast in zip(average.parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(slow, fast, atol=1e-5, rtol=0)


def test_history_is_data(make_toy: MakeToy, small: Small, quick: Quick) -> None:
    dataset = make_toy()
    history = train_network(dataset, plan(dataset, small, quick()), 3).history
    assert [row["epoch"] for row in history] == [1, 2, 3]
    assert {row["seed"] for row in history} == {3}
    assert json.loads(json.dumps(history)) == history


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'tpu'.*this machine has .*cpu"):
        torch_device("tpu")
    assert torch_device("cpu").type == "cpu"


def test_features_of_another_width_than_the_starts_are_refused(
    make_toy: MakeToy, small: Small, quick: Quick
) -> None:
    dataset = make_toy()
    start = JointNetwork(replace(small(dataset), widths={**dataset.widths, "text": 9}))
    with pytest.raises(TrainingError, match="another architecture"):
        train_network(dataset, plan(dataset, small, quick(), start=start), 0)
