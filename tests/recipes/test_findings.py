from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from meiju_utils.challenge import CLASSES, EMOTIONS, INTENTS, TASKS
from meiju_utils.decisions import Known
from meiju_utils.files import write_record
from meiju_utils.opening import open_run
from meiju_utils.predictions import Predictions
from meiju_utils.recipes import (
    TABLE_ONE,
    Experiment,
    against,
    compare,
    findings,
    load_recipes,
    paper_findings,
    scores_on,
)
from meiju_utils.recipes.findings import PAPER_STEPS
from meiju_utils.recipes.writing import write_failure, write_results
from meiju_utils.reporting.conclusions import of_submission
from meiju_utils.run import Run
from meiju_utils.scoring import (
    CLIPS_ALONE,
    HOLDS,
    JOINT,
    LEVEL,
    MEAN_OF_SEEDS,
    ONE_TRAINING,
    THESE_ANSWERS,
    holm,
    score,
)

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
    recipe = load_recipes()["baseline"].model_dump(mode="json")
    config = {"recipe": recipe, "classes": CLASSES, "notes": [], "made from": {}}
    write_record(experiment.folder / "config.json", config)
    known = Known(clips[clips["split"] == "train"], "weighted")
    write_results(experiment, Predictions.concatenated(parts), clips, known)
    return experiment


def _three(run: Run, name: str, right: float, seed: int = 1) -> Experiment:
    """An experiment of three trainings that are about equally good."""
    return _experiment(run, name, right, seed, shares=[right] * 3)


def test_a_clearly_better_experiment_is_ahead_for_certain(run: Run) -> None:
    table = compare(run, _three(run, "weak", 0.3), _three(run, "strong", 0.9, 2))
    assert (table["low"] > 0).all()
    assert table["p"].iloc[2] < 0.001
    assert table["p"].iloc[:2].isna().all()  # the verdict is on the joint score
    assert table["difference"].tolist() == pytest.approx(
        (table["second"] - table["first"]).tolist()
    )


def test_equal_experiments_differ_by_nothing(run: Run) -> None:
    one = _three(run, "one", 0.5)
    for other in (one, _three(run, "other", 0.5)):
        table = compare(run, one, other)
        assert (table[["difference", "low", "high"]] == 0).all(axis=None)
        assert table["p"].iloc[-1] == 1


def test_an_estimand_says_what_is_compared(run: Run) -> None:
    one = _three(run, "one", 0.5)
    other = _experiment(run, "other", 0.6, 2, shares=[0.4, 0.6, 0.8])
    tables = {
        estimand: compare(run, one, other, estimand).set_index("score")
        for estimand in (ONE_TRAINING, MEAN_OF_SEEDS, THESE_ANSWERS)
    }
    for estimand, table in tables.items():
        assert set(table["estimand"]) == {estimand}
    assert tables[ONE_TRAINING].loc[JOINT, "second"] == pytest.approx(other.score(kind="single"))
    for estimand in (MEAN_OF_SEEDS, THESE_ANSWERS):
        assert tables[estimand].loc[JOINT, "second"] == pytest.approx(other.score(kind="mean"))
    # what holds whichever the seeds is less sure than what these seeds gave
    assert tables[MEAN_OF_SEEDS].loc[JOINT, "dof"] < tables[THESE_ANSWERS].loc[JOINT, "dof"]
    with pytest.raises(ValueError, match="'means': expected one of one training"):
        compare(run, one, other, "means")


def test_with_one_seed_a_comparison_is_over_clips_alone_and_says_so(run: Run) -> None:
    table = compare(run, _experiment(run, "one", 0.5), _experiment(run, "other", 0.6, 2))
    assert set(table["estimand"]) == {ONE_TRAINING + CLIPS_ALONE}


def test_other_clips_can_be_compared_on(run: Run) -> None:
    one, other = _three(run, "one", 0.5), _three(run, "other", 0.6, 2)
    truth = run.table("clips").head(50)
    table = compare(run, one, other, THESE_ANSWERS, truth)
    answers = other.answers.table.set_index("clip_id").loc[truth["clip_id"]]
    expected = score({t: truth[t] for t in TASKS}, {t: answers[t] for t in TASKS})
    assert table["second"].tolist() == pytest.approx(list(expected.values()))
    assert table["dof"].tolist() == pytest.approx([49] * 3)


def test_the_best_of_several_leaves_out_what_failed_and_what_is_compared(run: Run) -> None:
    weak, strong = _three(run, "weak", 0.3), _three(run, "strong", 0.8, 2)
    broken, second = _three(run, "broken", 0.9, 3), _three(run, "second", 0.6, 4)
    write_failure(broken, "The training diverged.")
    table = compare(run, [weak, strong, broken, second], second)
    assert table["first"].iloc[-1] == pytest.approx(strong.score(kind="single"))
    assert compare(run, [broken, broken], second)["difference"].isna().all()


def test_a_comparison_with_what_failed_has_rows_without_figures(run: Run) -> None:
    one, broken = _three(run, "one", 0.5), _three(run, "broken", 0.9)
    usual = compare(run, one, one)
    write_failure(broken, "The training diverged.")
    for pair in ((one, broken), (broken, one)):
        table = compare(run, *pair)
        assert table.columns.tolist() == usual.columns.tolist()
        assert table["score"].tolist() == usual["score"].tolist()
        assert table[["difference", "low", "high", "p"]].isna().all(axis=None)


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


def test_findings_name_every_step_and_judge_it_by_its_p(run: Run) -> None:
    share = {"baseline": 0.3, "+pseudo-label": 0.8, "+1textcnn": 0.4, "ensemble": 0.9}
    rows = {
        name: _experiment(run, name, share.get(name, 0.8), seed)
        for seed, name in enumerate(TABLE_ONE)
    }
    found = paper_findings(run, rows).set_index("finding")
    assert found.loc["pseudo labels raise emotion", "verdict"] == HOLDS
    assert found.loc["pseudo labels raise intent", "verdict"] == HOLDS
    assert found.loc["a single-layer TextCNN raises emotion", "verdict"] == "does not hold"
    assert found.loc["a single-layer TextCNN costs intent", "verdict"] == HOLDS


def test_the_ensemble_is_judged_by_the_best_of_the_other_rows(run: Run) -> None:
    share = {"+pseudo-label": 0.9, "ensemble": 0.6}
    rows = {
        name: _experiment(run, name, share.get(name, 0.3), seed)
        for seed, name in enumerate(TABLE_ONE)
    }
    found = paper_findings(run, rows).set_index("finding")
    assert found.loc["the ensemble beats every row", "verdict"] == "does not hold"


def test_p_of_findings_is_corrected_for_their_number(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone: list[float] = []
    monkeypatch.setattr(findings, "holm", lambda p: (alone.extend(p), holm(p))[1])
    rows = {name: _three(run, name, 0.5 + 0.03 * n, n) for n, name in enumerate(TABLE_ONE)}
    found = paper_findings(run, rows)
    assert set(found["estimand"]) == {ONE_TRAINING}
    teacher, student = rows["baseline"], rows["+pseudo-label"]
    step = compare(run, teacher, student).set_index("score").loc["emotion"]
    assert found.loc[0, ["here", "low", "high"]].tolist() == pytest.approx(
        step[["difference", "low", "high"]].tolist()
    )
    ensemble = compare(run, [rows[name] for name in TABLE_ONE[:4]], rows["ensemble"]).iloc[-1]
    assert found.iloc[-1]["low"] == pytest.approx(ensemble["low"])
    assert len(alone) == len(PAPER_STEPS)
    first = 2 * stats.t.sf(abs(step["difference"]) / step["se"], step["dof"])
    assert alone[0] == pytest.approx(first)
    assert alone[-1] == pytest.approx(ensemble["p"])
    assert found["p"].tolist() == pytest.approx(holm(alone).tolist())
    assert ((found["p"] <= LEVEL) == found["verdict"].isin([HOLDS, "does not hold"])).all()


def test_a_network_is_held_against_every_yardstick(run: Run) -> None:
    middle = _three(run, "middle", 0.5)
    others = [
        _three(run, name, right, 5 + n)
        for n, (name, right) in enumerate({"strong": 0.9, "near": 0.6, "weak": 0.1}.items())
    ]
    table = against(run, middle, others)
    assert set(table["estimand"]) == {MEAN_OF_SEEDS}
    joint = table[table["score"] == JOINT].set_index("against")
    assert joint.loc["strong", "high"] < 0
    assert joint.loc["weak", "low"] > 0
    alone = [compare(run, other, middle, MEAN_OF_SEEDS)["p"].iloc[-1] for other in others]
    assert joint["p"].tolist() == pytest.approx(holm(alone).tolist())
    assert table.loc[table["score"] != JOINT, "p"].isna().all()


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


def test_what_is_handed_in_is_judged_against_the_other_yardsticks(run: Run) -> None:
    weak, strong = _three(run, "weak", 0.3), _three(run, "strong", 0.9, 2)
    told = of_submission(run, strong, [weak, strong])
    assert told.startswith("On the validation clips strong beats the best of weak: ")
    told = of_submission(run, weak, [strong, weak], run.table("clips"), "the test clips")
    assert told.startswith("On the test clips weak is worse than the best of strong: −")
