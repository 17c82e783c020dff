"""Do answers look like what they should: answers to clips like those of train?

What is absurd is told with figures; nothing here makes a submission invalid. Imports `faults`,
`scoring`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import chi2

from meiju_utils.challenge import Task
from meiju_utils.submission.faults import Fault

# Answers are told to be far from train where both hold: they differ in more than this share of
# clips (total variation), and by more than chance does (chi-squared, p below).
FAR, LEVEL = 0.25, 0.001
STRANGE = 0.1  # share of answers in label pairs that train does not have

Columns = Mapping[Task, Sequence[str]]


def implausible(answers: Columns, train: Columns | None = None) -> list[Fault]:
    """Warnings on answers; `train`: the training clips' labels, task by task, where known.

    A class that train has and the answers do not; histograms of labels and of pairs far from
    train's; pairs that train never has. Constant answers are the checker's to tell.
    """
    if train is None or not all(len(own) for own in (*answers.values(), *train.values())):
        return []
    found: list[Fault] = []
    for task, own in answers.items():
        found += _unanswered(task, own, train[task]) + _far(task, own, train[task])
    if len(answers) == 2:
        pairs, known = (list(zip(*one.values(), strict=True)) for one in (answers, train))
        found += _strange_pairs(pairs, known)
        found += _far("pairs", [" ".join(p) for p in pairs], [" ".join(p) for p in known])
    return found


def _unanswered(task: Task, answers: Sequence[str], train: Sequence[str]) -> list[Fault]:
    shares = {label: count / len(train) for label, count in Counter(train).items()}
    answered = set(answers)
    missing = {label: s for label, s in shares.items() if label not in answered}
    expected = {label: s for label, s in missing.items() if s * len(answers) >= 1}
    if not expected:
        return []
    told = ", ".join(f"{label} ({share:.0%} of train)" for label, share in sorted(expected.items()))
    message = f"{task} is never answered {told}"
    return [Fault("never answered", message, "Its F1 is 0: see the confusion matrix in 06")]


def _far(what: str, answers: Sequence[str], train: Sequence[str]) -> list[Fault]:
    """Where the answers' histogram is far from train's."""
    names = sorted({*answers, *train})
    counted = [Counter(own) for own in (answers, train)]
    counts, known = (np.array([own[name] for name in names]) for own in counted)
    apart = 0.5 * float(np.abs(counts / counts.sum() - known / known.sum()).sum())
    p = _p_value(counts, known)
    if apart <= FAR or p >= LEVEL:
        return []
    gained = int(np.argmax(counts / counts.sum() - known / known.sum()))
    message = (
        f"the {what if what == 'pairs' else f'{what} labels'} are unlike train's: {apart:.0%} of "
        f"the answers would have to change (p {'< .001' if p < 0.001 else f'= {p:.3f}'}); most of "
        f"all {names[gained]!r}, {counts[gained] / counts.sum():.0%} here, "
        f"{known[gained] / known.sum():.0%} in train"
    )
    return [Fault("histogram", message, "Look at the model's output, and at which clips it saw")]


def _p_value(counts: "np.ndarray", known: "np.ndarray") -> float:
    """Chi-squared test that two histograms are of one distribution, rare classes put together."""
    order = np.argsort(-(counts + known), kind="stable")
    table = np.stack([counts, known])[:, order].astype(np.float64)
    keep = max(int((table.sum(axis=0) >= 10).sum()), 1)
    rare = table[:, keep:].sum(axis=1, keepdims=True)
    table = np.concatenate([table[:, :keep], rare], axis=1) if rare.sum() else table[:, :keep]
    if table.shape[1] < 2:
        return 1.0
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    return float(chi2.sf(((table - expected) ** 2 / expected).sum(), table.shape[1] - 1))


def _strange_pairs(
    pairs: Sequence[tuple[str, ...]], known: Sequence[tuple[str, ...]]
) -> list[Fault]:
    seen = set(known)
    strange = Counter(pair for pair in pairs if pair not in seen)
    share = sum(strange.values()) / len(pairs)
    if share <= STRANGE:
        return []
    most = ", ".join(f"{' and '.join(pair)} ({count})" for pair, count in strange.most_common(3))
    message = f"{share:.0%} of the answers are label pairs that train never has: {most}"
    return [Fault("pairs", message, "Look at the model's output, and whether columns match clips")]


def as_before(digest: str, earlier: Mapping[str, str]) -> list[Fault]:
    """A warning where a submission's content (SHA-256) is that of an earlier one (→ its name)."""
    if digest not in earlier:
        return []
    message = f"the content is that of {earlier[digest]}"
    return [Fault("as before", message, "Handing it in again tells nothing new")]
