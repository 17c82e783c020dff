"""Which clips are the same recording? Exact and near duplicates, from fingerprints.

The same utterance on both sides of a split is a leak; so is a copy that was encoded anew, cut a
little or made louder. Imports `fingerprints`, numpy, pandas only.
"""

import hashlib
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meiju_utils.corpus.fingerprints import BITS, Glimpse
from meiju_utils.media.reading import Part

COLUMNS = ("clip_a", "split_a", "clip_b", "split_b", "kind", "sound_bits", "picture_bits")

# Share of differing bits of the sound. Copies encoded twice at low rates measured up to 0.15,
# different utterances of one synthetic voice, at their best alignment, from 0.26.
SAME_SOUND = 0.18
SHARED = 0.8  # of the shorter clip must lie in the other
LEAST_HOPS = 40  # 0.46 s: less has too few bits to tell
GAP = 32  # hops between the two words of a search key: a frame's length, so independent signs
COMMON = 64  # a key in more clips than this says nothing (hum)
COMPARED = 128  # hops compared of a pair: neighbours differ little, so these stand for all
SAME_PICTURE = 6  # of 64 bits
SAME_LENGTH_S = 0.1  # by which the pictures of a re-dubbed copy may differ in length
CHUNK = 1 << 15  # pairs, or rows of a distance matrix, handled at once


def find_duplicates(
    clips: pd.DataFrame,
    paths: Sequence[Path],
    sizes: Sequence[int],
    glimpses: Sequence[Glimpse],
    parts: Sequence[Part] | None = None,
) -> pd.DataFrame:
    """Pairs of clips that hold the same recording, one row a pair, strongest evidence first.

    `clips` (clip_id, split), `paths`, their `sizes` in bytes, `glimpses` and, of clips that are
    parts of them, `parts` go row by row. `kind` is "same file" (bytes), "same sound" (decoded
    samples), "near" (sound; of two mute clips the pictures) or "same picture" (pictures and their
    length; the sound differs or one has none). The last may be two takes of one scene.
    `sound_bits` is the share of differing bits, `picture_bits` how many of 64 differ between first
    or between middle frames, the fewer; NaN where unknown. Of equal clips each is paired with the
    first.
    """
    sounds = [glimpse.sound for glimpse in glimpses]
    pictures = np.array([glimpse.pictures for glimpse in glimpses], np.uint64).reshape(-1, 2)
    found: dict[tuple[int, int], tuple[str, float]] = {}
    copies: set[int] = set()  # stand for their first in the search for near duplicates
    for first, other in _pairs_with_first(_file_digests(paths, sizes, glimpses, parts)):
        found[first, other] = ("same file", 0.0)
        copies.add(other)
    decoded = [(i, g.digest) for i, g in enumerate(glimpses) if g.digest and i not in copies]
    for first, other in _pairs_with_first(decoded):
        found[first, other] = ("same sound", 0.0)
        copies.add(other)
    rest = [index for index in range(len(glimpses)) if index not in copies]
    for first, other, errors in similar_sounds([sounds[index] for index in rest]):
        found[rest[first], rest[other]] = ("near", errors)
    seen = [index for index in rest if pictures[index].all()]
    for first, other in similar_pictures(pictures[seen]):
        a, b = seen[first], seen[other]
        if paths[a] == paths[b]:  # parts of one video often show one scene
            continue
        if not sounds[a].any() and not sounds[b].any():
            found[a, b] = ("near", float("nan"))
        elif abs(glimpses[a].picture_s - glimpses[b].picture_s) <= SAME_LENGTH_S:
            found.setdefault((a, b), ("same picture", float("nan")))
    ids, splits = clips["clip_id"].tolist(), clips["split"].tolist()
    rows = [
        (
            ids[a],
            splits[a],
            ids[b],
            splits[b],
            kind,
            errors,
            _picture_bits(pictures[a], pictures[b]),
        )
        for (a, b), (kind, errors) in found.items()
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(
        dict.fromkeys(COLUMNS[:5], "str") | dict.fromkeys(COLUMNS[5:], "float64")
    )


def similar_sounds(sounds: Sequence[NDArray[np.uint16]]) -> list[tuple[int, int, float]]:
    """Pairs (i < j) whose fingerprints agree where they overlap, and their share of unlike bits.

    Candidates share a key, two words a frame's length apart, which nearly every copy does
    somewhere however it was encoded; each is compared at the offset at which most keys agree.
    """
    lengths = np.array([len(sound) for sound in sounds], np.int64)
    words = np.concatenate([*sounds, np.zeros(0, np.uint16)])
    starts = np.cumsum(lengths) - lengths
    first, second, offset = _candidates(sounds)
    unlike = np.ones(len(first))
    for begin in range(0, len(first), CHUNK):
        part = slice(begin, begin + CHUNK)
        i, j = first[part], second[part]
        for shift in (-1, 0, 1):  # a key may stand in several hops of a steady sound
            shifted = offset[part] + shift
            in_i, in_j = np.maximum(shifted, 0), np.maximum(-shifted, 0)
            overlap = np.minimum(lengths[i] - in_i, lengths[j] - in_j)
            enough = overlap >= np.maximum(SHARED * np.minimum(lengths[i], lengths[j]), LEAST_HOPS)
            steps = np.linspace(0, 1, COMPARED) * np.maximum(overlap - 1, 0)[:, None]
            hops = steps.astype(np.int64)  # [pairs, COMPARED]
            a = words[(starts[i] + in_i)[:, None] + hops]
            b = words[(starts[j] + in_j)[:, None] + hops]
            heard = (a != 0) & (b != 0)
            count = heard.sum(axis=1)
            bits = np.where(heard, np.bitwise_count(a ^ b), 0).sum(axis=1)
            share = np.where(
                enough & (count >= COMPARED // 2), bits / np.maximum(count * BITS, 1), 1.0
            )
            unlike[part] = np.minimum(unlike[part], share)
    return [
        (int(first[k]), int(second[k]), float(unlike[k]))
        for k in np.flatnonzero(unlike <= SAME_SOUND)
    ]


def _candidates(
    sounds: Sequence[NDArray[np.uint16]],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Pairs i < j that share a key, with the offset (hop in i minus hop in j) of most of them."""
    entries = []
    for owner, sound in enumerate(sounds):
        early, late = sound[:-GAP], sound[GAP:]
        hops = np.flatnonzero((early != 0) & (late != 0))
        keys, kept = np.unique(early[hops].astype(np.int64) << BITS | late[hops], return_index=True)
        entries.append(np.stack([keys, np.full(len(keys), owner), hops[kept]]))
    none = np.zeros(0, np.int64)
    if not entries:
        return none, none, none
    key, owner, hop = np.concatenate(entries, axis=1)
    order = np.lexsort((owner, key))
    key, owner, hop = key[order], owner[order], hop[order]
    _, inverse, counts = np.unique(key, return_inverse=True, return_counts=True)
    shared = (counts[inverse] > 1) & (counts[inverse] <= COMMON)
    key, owner, hop = key[shared], owner[shared], hop[shared]
    pairs = [np.zeros((3, 0), np.int64)]
    for step in range(1, COMMON):
        equal = np.flatnonzero(key[:-step] == key[step:])
        if not len(equal):
            break
        i, j = equal, equal + step
        pairs.append(np.stack([owner[i], owner[j], hop[i] - hop[j]]))
    votes, count = np.unique(np.concatenate(pairs, axis=1), axis=1, return_counts=True)
    order = np.lexsort((-count, votes[1], votes[0]))
    votes = votes[:, order]
    new = np.ones(votes.shape[1], bool)
    new[1:] = (np.diff(votes[0]) != 0) | (np.diff(votes[1]) != 0)
    first, second, offset = votes[:, new]
    return first, second, offset


def similar_pictures(pictures: NDArray[np.uint64]) -> list[tuple[int, int]]:
    """Pairs (i < j) of clips [n, 2] whose first and middle frames both look alike."""
    pairs: list[tuple[int, int]] = []
    rows = max(1, CHUNK * 64 // max(len(pictures), 1))
    for begin in range(0, len(pictures), rows):
        part = pictures[begin : begin + rows, None]
        alike = (np.bitwise_count(part ^ pictures[None]) <= SAME_PICTURE).all(axis=2)
        pairs.extend((int(i) + begin, int(j)) for i, j in np.argwhere(alike) if i + begin < j)
    return pairs


def _picture_bits(a: NDArray[np.uint64], b: NDArray[np.uint64]) -> float:
    known = (a != 0) & (b != 0)
    return float(np.bitwise_count(a[known] ^ b[known]).min()) if known.any() else float("nan")


def _file_digests(
    paths: Sequence[Path],
    sizes: Sequence[int],
    glimpses: Sequence[Glimpse],
    parts: Sequence[Part] | None,
) -> Iterable[tuple[int, Hashable]]:
    """Index and hash of the files, and which part of them, that have their size, and all that was
    seen, with another in common."""
    alike: dict[Hashable, list[int]] = {}
    for index, (size, glimpse) in enumerate(zip(sizes, glimpses, strict=True)):
        seen = (size, glimpse.digest, glimpse.pictures.tobytes(), glimpse.picture_s)
        alike.setdefault(seen, []).append(index)
    for indices in alike.values():
        for index in indices if len(indices) > 1 else []:
            with paths[index].open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            yield index, (digest, parts[index] if parts else None)


def _pairs_with_first(keyed: Iterable[tuple[int, Hashable]]) -> list[tuple[int, int]]:
    """Each item that has the key of an earlier one, paired with the first of that key."""
    first: dict[Hashable, int] = {}
    return [(first[key], index) for index, key in keyed if first.setdefault(key, index) != index]
