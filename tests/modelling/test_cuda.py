"""On a GPU: the CPU's answers, repeatable, resumable, and the caller's generator left alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from meiju_utils.challenge import TASKS
from meiju_utils.config import Training
from meiju_utils.modelling import training as training_module
from meiju_utils.modelling.architecture import NetworkConfig
from meiju_utils.modelling.dataset import Dataset
from meiju_utils.modelling.optimisation import learning_rate
from meiju_utils.modelling.training import Plan, Trained, train_network

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU of CUDA's")

# Kernels may add in another order from one run to the next, which each step of training grows.
REPEATED = 1e-3


@pytest.fixture
def toy(make_toy: Callable[..., Dataset], without: Any) -> Dataset:
    """Sequences and vectors, and a text that some clips lack."""
    return without(make_toy(frames={"audio": (1, 9), "text": (1, 6)}), "text", [3, 70, 90])


@pytest.fixture
def make_plan(
    small: Callable[..., NetworkConfig], quick: Callable[..., Training], toy: Dataset
) -> Callable[..., Plan]:
    def build(**options: Any) -> Plan:
        return Plan(small(toy), quick(**{"device": "cuda", **options}), "weighted")

    return build


def answers(trained: Trained, dataset: Dataset, device: str = "cuda") -> dict[str, Any]:
    return trained.model.probabilities(dataset, np.arange(len(dataset.clip_ids)), device)


def assert_close(first: dict[str, Any], second: dict[str, Any], atol: float) -> None:
    for task in TASKS:
        np.testing.assert_allclose(first[task], second[task], atol=atol)


@pytest.mark.parametrize(("tf32", "atol"), [(False, 1e-4), (True, 1e-2)])
def test_probabilities_are_the_cpus(
    toy: Dataset,
    make_plan: Callable[..., Plan],
    monkeypatch: pytest.MonkeyPatch,
    tf32: bool,
    atol: float,
) -> None:
    """With torch's default cuDNN rounds factors of LSTM and convolution to 10 bits of mantissa."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", tf32)
    trained = train_network(toy, make_plan(device="cpu"), 0)
    on_cpu, on_cuda = (answers(trained, toy, device) for device in ("cpu", "cuda"))
    assert_close(on_cuda, on_cpu, atol)


def test_a_seed_repeats_itself(toy: Dataset, make_plan: Callable[..., Plan]) -> None:
    first, again, other = (train_network(toy, make_plan(), seed) for seed in (0, 0, 1))
    assert_close(answers(first, toy), answers(again, toy), atol=REPEATED)
    apart = np.abs(answers(first, toy)["intent"] - answers(other, toy)["intent"]).max()
    assert apart > 10 * REPEATED


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_resumed_training_equals_an_unbroken_one(
    toy: Dataset,
    make_plan: Callable[..., Plan],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ema: float,
) -> None:
    wanted = make_plan(epochs=5, ema=ema)
    whole = train_network(toy, wanted, 0)
    calls = []

    def interrupt(training: Training, epoch: int) -> float:
        calls.append(epoch)
        if calls == [1, 2, 3, 4]:
            raise KeyboardInterrupt
        return learning_rate(training, epoch)

    monkeypatch.setattr(training_module, "learning_rate", interrupt)
    progress = tmp_path / "seed-0.progress"
    with pytest.raises(KeyboardInterrupt):
        train_network(toy, wanted, 0, progress, checkpoint_seconds=0)
    resumed = train_network(toy, wanted, 0, progress, checkpoint_seconds=0)
    assert calls == [1, 2, 3, 4, 4, 5]
    for ours, theirs in zip(whole.history, resumed.history, strict=True):
        assert ours["train_loss"] == pytest.approx(theirs["train_loss"], rel=REPEATED)
    assert_close(answers(whole, toy), answers(resumed, toy), atol=REPEATED)


def test_progress_of_a_gpu_goes_on_on_a_cpu(
    toy: Dataset, make_plan: Callable[..., Plan], tmp_path: Path
) -> None:
    progress = tmp_path / "seed-0.progress"
    first = train_network(toy, make_plan(epochs=2), 0, progress, checkpoint_seconds=0)
    more = train_network(toy, make_plan(epochs=4, device="cpu"), 0, progress, 0)
    assert len(more.history) == 4
    assert more.history[:2] == first.history


def test_training_leaves_the_generator_of_the_gpu_alone(
    toy: Dataset, make_plan: Callable[..., Plan]
) -> None:
    torch.cuda.manual_seed(5)
    before = torch.cuda.get_rng_state()
    train_network(toy, make_plan(epochs=1), 0)
    assert torch.equal(torch.cuda.get_rng_state(), before)


def test_bfloat16_is_close_to_float32(toy: Dataset, make_plan: Callable[..., Plan]) -> None:
    """8 bits of mantissa: products are off by some 0.4 %, the first epoch's mean loss by less."""
    full, half = (
        train_network(toy, make_plan(precision=precision), 0)
        for precision in ("float32", "bfloat16")
    )
    losses = [[row["train_loss"] for row in t.history] for t in (full, half)]
    assert losses[0] != losses[1]
    np.testing.assert_allclose(losses[1], losses[0], rtol=0.02)
    assert_close(answers(half, toy), answers(full, toy), atol=0.05)
