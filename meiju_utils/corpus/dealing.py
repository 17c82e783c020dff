"""Which clips of one's own train, choose and judge, where their table does not say.

Imports `folding`, `config`, `challenge`.
"""

from collections.abc import Mapping, Sequence

from meiju_utils.challenge import Split
from meiju_utils.config import Split as Shares
from meiju_utils.folding import deal

ENOUGH = 0.5  # clips that a split lacks: fewer are let be


def deal_splits(
    clip_ids: Sequence[str],
    labels: Sequence[Sequence[str]],
    groups: Sequence[str],
    shares: Shares,
    before: Mapping[str, Split],
) -> dict[str, Split]:
    """Clip id → its split: about `shares` of the clips, stratified, whole groups.

    Clips that were dealt `before` stay where they were, those of their groups follow them, and the
    rest is dealt anew: a corpus that has grown keeps its test clips.

    Args:
        clip_ids: of N labelled clips.
        labels: of each task those of the N clips.
        groups: [N] names; clips of one name stay together.
        shares: of valid and test.
        before: what an earlier call gave.
    """
    found: dict[str, Split] = {c: before[c] for c in clip_ids if c in before}
    of_group = {g: found[c] for c, g in zip(clip_ids, groups, strict=True) if c in found}
    for clip_id, group in zip(clip_ids, groups, strict=True):
        if clip_id not in found and group in of_group:
            found[clip_id] = of_group[group]
    rest = [place for place, clip_id in enumerate(clip_ids) if clip_id not in found]
    wanted: tuple[tuple[Split, float], ...] = (("test", shares.test), ("valid", shares.valid))
    for split, share in wanted:
        there = list(found.values()).count(split)
        lacking = max(share * len(clip_ids) - there, 0.0 if there else 1.0)
        whole = len({groups[place] for place in rest})
        if lacking < ENOUGH or whole < 2:
            continue
        taken = deal(
            [[column[place] for place in rest] for column in labels],
            [groups[place] for place in rest],
            min(max(round(len(rest) / lacking), 2), whole),
            shares.seed,
        ).fold
        found |= {clip_ids[p]: split for p, fold in zip(rest, taken, strict=True) if fold == 0}
        rest = [place for place, fold in zip(rest, taken, strict=True) if fold != 0]
    return {**found, **{clip_ids[place]: "train" for place in rest}}
