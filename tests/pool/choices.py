"""Made-up labels of train clips, and rules' choices from made-up answers."""

from typing import Any

import pandas as pd

from meiju_utils.challenge import CLASSES
from meiju_utils.components import build, make_component
from meiju_utils.pool import RULES, Selection
from meiju_utils.predictions import Answers, Classes


def train_labels(classes: Classes = CLASSES, **counts: int) -> pd.DataFrame:
    """The labels of ten train clips of each class, or of as many as `emotion_sad=3` says."""
    columns = {}
    for task, names in classes.items():
        own = [[name] * counts.get(f"{task}_{name}", 10) for name in names]
        columns[task] = pd.Series([label for labels in own for label in labels], dtype="str")
    return pd.DataFrame(columns)


def choice(
    pool: Answers, rule: str = "quantile", labels: pd.DataFrame | None = None, **options: Any
) -> Selection:
    """What a rule with these options chooses."""
    component = make_component({rule: options}, RULES, "rule")
    labels = train_labels(pool.classes) if labels is None else labels
    selection = build(component, RULES)(pool, labels)
    assert isinstance(selection, Selection)
    return selection


def truth_of(answers: Answers, **labels: Any) -> pd.DataFrame:
    """True labels of the clips of some answers."""
    return answers.table[["clip_id"]].assign(**labels)
