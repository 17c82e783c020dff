from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from meiju_utils.challenge import CLASSES, EMOTIONS, INTENTS, TASKS
from meiju_utils.files import write_json
from meiju_utils.opening import open_run
from meiju_utils.predictions import Predictions
from meiju_utils.recipes import TABLE_ONE, Experiment, against, compare, paper_findings, scores_on
from meiju_utils.recipes.experiment import write_failure, write_results
from meiju_utils.recipes.findings import PAPER_STEPS, verdict
from meiju_utils.run import Run
from meiju_utils.scoring import JOINT

CLIPS = 120


@pytest.fixture
def run(tmp_path: Path) -> Run:
    (tmp_path / "data").mkdir()
    run = open_run("demo", str(tmp_path / "data"), str(tmp_path / "run"))
    rng = np.random.default_rng(0)
    run.save_table(
        "clips",
        pd.DataFrame(
            {
                "clip_id": [f"c{i:03d}" for i in range(CLIPS)],
                "split": "valid",
                "emotion": rng.choice(EMOTIONS, CLIPS),
                "intent": rng.choice(INTENTS, CLIPS),
            }
        ),
    )
    return run


def _experiment(
    run: Run, name: str, right: float, seed: int = 1, shares: Sequence[float] = ()
) -> Experiment:
    """An experiment that is right on about the share `right` of the clips, in both tasks.

    `shares` gives that of each of its seeds.
    """
    clips = run.table("clips")
    rng = np.random.default_rng(seed)
    parts = []
    for number, share_of_seed in enumerate(shares or [right]):
        probabilities = {}
        for task in TASKS:
            truth = clips[task].map({label: i for i, label in enumerate(CLASSES[task])}).to_numpy()
            wrong = rng.random(CLIPS) >= share_of_seed
            answer = np.where(wrong, (truth + 1) % len(CLASSES[task]), truth)
            probabilities[task] = np.eye(len(CLASSES[task]))[answer]
        nobody = np.zeros(CLIPS, dtype=bool)
        parts.append(
            Predictions.of_arrays(
                clips["clip_id"], clips["split"], probabilities, CLASSES, nobody, seed=number
            )
        )
    experiment = Experiment(name, f"key of {name}", run.path("experiments", name))
    argmax = {"name": "argmax", "options": {}}
    config = {"recipe": {"decode": argmax}, "classes": CLASSES, "notes": [], "made from": {}}
    write_json(experiment.folder / "config.json", config)
    write_results(experiment, Predictions.concatenated(parts), clips, "weighted")
    return experiment


def test_a_clearly_better_experiment_is_ahead_on_every_resample(run: Run) -> None:
    table = compare(run, _experiment(run, "weak", 0.3), _experiment(run, "strong", 0.9))
    assert (table["low"] > 0).all()
    assert (table["ahead"] == 1).all()
    assert table["difference"].tolist() == pytest.approx(
        (table["second"] - table["first"]).tolist()
    )


def test_equal_experiments_are_ahead_half_the_time_by_nothing(run: Run) -> None:
    table = compare(run, _experiment(run, "one", 0.5), _experiment(run, "other", 0.5))
    assert (table[["difference", "low", "high"]] == 0).all(axis=None)
    assert (table["ahead"] == 0.5).all()


def test_the_papers_steps_are_those_of_its_table() -> None:
    assert [round(step.published, 4) for step in PAPER_STEPS] == [
        0.0040,
        0.0063,
        0.0420,
        -0.0283,
        -0.0075,
        0.0221,
        0.0292,
    ]


def test_findings_name_every_step_and_judge_it_by_its_interval(run: Run) -> None:
    share = {"baseline": 0.3, "+pseudo-label": 0.8, "+1textcnn": 0.4, "ensemble": 0.9}
    rows = {
        name: _experiment(run, name, share.get(name, 0.8), seed)
        for seed, name in enumerate(TABLE_ONE)
    }
    found = paper_findings(run, rows).set_index("finding")
    assert found.loc["pseudo labels raise emotion", "verdict"] == "holds"
    assert found.loc["... and intent", "verdict"] == "holds"
    assert found.loc["a single-layer TextCNN raises emotion", "verdict"] == "does not hold"
    assert found.loc["... and costs intent", "verdict"] == "holds"


def test_the_ensemble_is_judged_by_the_best_of_the_other_rows(run: Run) -> None:
    share = {"+pseudo-label": 0.9, "ensemble": 0.6}
    rows = {
        name: _experiment(run, name, share.get(name, 0.3), seed)
        for seed, name in enumerate(TABLE_ONE)
    }
    found = paper_findings(run, rows).set_index("finding")
    assert found.loc["the ensemble beats every row", "verdict"] == "does not hold"


def test_a_difference_that_depends_on_the_seed_is_not_certain(run: Run) -> None:
    first = _experiment(run, "first", 0.5, shares=[0.5, 0.5, 0.5])
    lucky = _experiment(run, "lucky", 0.5, shares=[0.9, 0.45, 0.45])
    steady = _experiment(run, "steady", 0.5, shares=[0.6, 0.6, 0.6])
    joint = [compare(run, first, second).iloc[2] for second in (lucky, steady)]
    widths = [row["high"] - row["low"] for row in joint]
    assert widths[0] > 1.5 * widths[1]
    assert joint[0]["low"] < 0


def test_a_network_is_held_against_every_yardstick(run: Run) -> None:
    middle = _experiment(run, "middle", 0.5)
    others = [_experiment(run, "strong", 0.9), _experiment(run, "weak", 0.1)]
    table = against(run, middle, others)
    ahead = table.set_index(["against", "score"])["ahead"]
    assert ahead["strong", JOINT] == 0
    assert ahead["weak", JOINT] == 1


def test_scores_on_other_clips_have_a_row_a_system_and_score(run: Run) -> None:
    one, other = _experiment(run, "one", 0.9), _experiment(run, "other", 0.4)
    truth = run.table("clips").head(50)
    scores = scores_on(run, [one, other], truth, "test").set_index(["system", "score"])["value"]
    assert len(scores) == 6
    assert scores["one", JOINT] > scores["other", JOINT]
    assert scores_on(run, [one], truth.head(0), "test").empty


def test_a_step_from_or_to_what_diverged_is_called_so(run: Run) -> None:
    rows = {name: _experiment(run, name, 0.5) for name in TABLE_ONE}
    write_failure(rows["+1textcnn"], "The training diverged.")
    found = paper_findings(run, rows).set_index("finding")
    assert found.loc["a single-layer TextCNN raises emotion", "verdict"] == "diverged here"
    assert found.loc["the ensemble beats every row", "verdict"] != "diverged here"


def test_without_a_pool_a_step_between_one_and_the_same_experiment_is_called_so(run: Run) -> None:
    one = _experiment(run, "baseline", 0.5)
    found = paper_findings(run, dict.fromkeys(TABLE_ONE, one))
    assert set(found["verdict"]) == {"no pool here"}


@pytest.mark.parametrize(
    ("published", "difference", "ahead", "words"),
    [
        (0.01, 0.02, 0.99, "holds"),
        (-0.01, -0.02, 0.01, "holds"),
        (0.01, -0.02, 0.01, "does not hold"),
        (0.01, 0.002, 0.6, "same direction, within noise"),
        (0.01, -0.002, 0.4, "not seen, within noise"),
    ],
)
def test_verdicts(published: float, difference: float, ahead: float, words: str) -> None:
    assert verdict(published, difference, ahead) == words
