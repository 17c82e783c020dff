"""The manifest of a corpus: what is there already is looked up, the rest is made, clip by clip.

A clip is there when its last row was made from the video as it is now: by size and time of change,
or, where only the time differs (a corpus that was copied), by content. Imports its neighbours,
`corpus`, `run`, `parallel`.
"""

import json
from pathlib import Path

import pandas as pd

from meiju_utils.config import Parallel
from meiju_utils.corpus.survey import Corpus
from meiju_utils.errors import MeijuError, MissingStageError
from meiju_utils.media.reading import Part, part_of
from meiju_utils.parallel import (
    Failure,
    failure_of,
    map_items,
    model_places,
    stop_if_systemic,
)
from meiju_utils.preprocessing.clips import Made, VideoTask, preprocess_video, source_of
from meiju_utils.preprocessing.manifest import (
    Row,
    ShardWriter,
    checksum,
    read_rows,
    remove_leftovers,
    rows_table,
)
from meiju_utils.preprocessing.speaker import has_weights
from meiju_utils.run import Run
from meiju_utils.stamping import spread_over

STAGE = "Preprocessing clips"


def make_manifest(run: Run, corpus: Corpus, folder: Path, identity: str) -> pd.DataFrame:
    """A row for every clip of the corpus that has a video, in the order of its clips.

    Those not made yet are made first and kept in `folder`. An unexpected fault of a clip is a
    problem in its row, which is not kept, so that the clip is tried again. Raises SystemicError
    where such faults are too many, MeijuError where no clip can be used.
    """
    filmed = corpus.clips[corpus.clips["video"] != ""]
    if filmed.empty:
        return rows_table([])
    parts = _parts(filmed)
    remove_leftovers(folder)
    rows = _current(run, corpus, _rows(folder), parts)
    if wanted := {clip_id: parts[clip_id] for clip_id in parts if clip_id not in rows}:
        failures = _make(run, corpus, folder, identity, wanted)
        # as they were when they were decoded, should they have changed since they were listed
        rows |= {row["clip_id"]: row for row in _rows(folder) if row["clip_id"] in wanted}
    else:
        failures = []
    for failure in failures:
        rows[failure.name] = {
            "clip_id": failure.name,
            "video": parts[failure.name][0],
            "source_size": -1,
            "problem": failure.error,
            "reason": failure.reason,
            "flags": "[]",
            "parts": "{}",
        }
    manifest = rows_table([{**rows[clip_id], "setting": identity} for clip_id in parts])
    if (manifest["problem"] != "").all():
        first = manifest.iloc[0]
        raise MeijuError(
            f"None of {len(manifest)} clips can be used. The first, {first['clip_id']}: "
            f"{first['problem']}: {first['reason']}"
        )
    return manifest


def _rows(folder: Path) -> list[Row]:
    records = read_rows(folder).to_dict("records")
    return [{str(name): value for name, value in record.items()} for record in records]


def _parts(filmed: pd.DataFrame) -> dict[str, tuple[str, Part]]:
    """Clip id → its video and which part of it."""
    columns = filmed[["clip_id", "video", "start_s", "end_s"]]
    return {
        clip_id: (video, part_of(start, end))
        for clip_id, video, start, end in columns.itertuples(index=False, name=None)
    }


def _current(
    run: Run, corpus: Corpus, known: list[Row], parts: dict[str, tuple[str, Part]]
) -> dict[str, Row]:
    """Rows of the clips that are there, with the size and time that their videos have now.

    The last manifest says which videos of another time were compared by content before.
    """
    found: dict[str, Row] = {}
    compared = _compared(run)
    for row in known:
        video, part = parts.get(row["clip_id"], ("", None))
        if part != Part(row["start_s"], row["end_s"]):
            continue
        made_from = (row["source_size"], row["source_modified_ns"])
        now = corpus.layout.stamp(video)
        if now != made_from:
            if now is None or now[0] != made_from[0]:
                continue
            digest = compared.get((row["clip_id"], *now)) or source_of(corpus.root / video).digest
            if digest != row["source_digest"]:
                continue
            row["source_modified_ns"] = now[1]
        found[row["clip_id"]] = {**row, "video": video}
    return found


def _compared(run: Run) -> dict[tuple[str, int, int], str]:
    """Content of the clips' videos by clip id, size and time, as the run's last manifest has it."""
    try:
        last = run.table("manifest")
    except MissingStageError:
        return {}
    columns = ["clip_id", "source_size", "source_modified_ns", "source_digest"]
    rows = last[columns].itertuples(index=False, name=None)
    return {(clip_id, size, changed): digest for clip_id, size, changed, digest in rows}


def _make(
    run: Run, corpus: Corpus, folder: Path, identity: str, wanted: dict[str, tuple[str, Part]]
) -> list[Failure]:
    """Make the clips and write their shards; returns those that raised unexpectedly."""
    by_video: dict[str, list[tuple[str, Part]]] = {}
    for clip_id, (video, part) in wanted.items():
        by_video.setdefault(video, []).append((clip_id, part))
    tasks = [
        VideoTask(corpus.root / video, video, tuple(clips), run.config.preprocessing, identity)
        for video, clips in by_video.items()
    ]
    failures: list[Failure] = []
    strange: list[Failure] = []  # by which it is told whether they are too many
    names = [", ".join(task.clip_ids[:3]) for task in tasks]
    of = int((corpus.clips["video"] != "").sum())
    with ShardWriter(folder) as writer:

        def take(place: int, made: Made | None, error: Exception | None) -> None:
            if made is not None:
                for row, media in made.clips:
                    writer.add(row, media)
                failures.extend(made.failures)
                strange.extend(made.failures)
            elif error is not None:
                failures.extend(failure_of(clip_id, error) for clip_id in tasks[place].clip_ids)
                strange.append(failure_of(names[place], error))  # one, however many its parts
            stop_if_systemic(strange, of, STAGE)

        map_items(
            preprocess_video,
            tasks,
            names,
            places(run),
            STAGE,
            then=take,
            of=of,
            keep=False,
            sizes=[len(task.clip_ids) for task in tasks],
        )
    return failures


def places(run: Run) -> Parallel:
    """Where clips are made: a speaker scorer with weights is a model in each process."""
    settings = run.config.preprocessing
    if not has_weights(settings.speaker):
        return run.config.parallel
    return model_places(run.config.parallel, settings.device, "preprocessing.device")


def is_still_made(run: Run, corpus: Corpus, folder: Path) -> bool:
    """Whether a few clips of a folder, of other code, come out the same by the present code."""
    filmed = corpus.clips[corpus.clips["video"] != ""]
    rows = _current(run, corpus, _rows(folder), _parts(filmed))
    usable = [clip_id for clip_id, row in rows.items() if not row["problem"]]
    return bool(usable) and all(
        _same_again(run, corpus, rows[clip_id]) for clip_id in spread_over(usable)
    )


def _same_again(run: Run, corpus: Corpus, row: Row) -> bool:
    part = Part(row["start_s"], row["end_s"])
    task = VideoTask(
        corpus.root / row["video"],
        row["video"],
        ((row["clip_id"], part),),
        run.config.preprocessing,
        row["setting"],
    )
    made = preprocess_video(task).clips
    if not made:
        return False
    again, media = made[0]
    before = {name: row[name] for name in again if not name.startswith("source_")}
    now = rows_table([{name: again[name] for name in before}])
    sums = {name: checksum(array) for name, array in media.items() if array.size}
    return now[list(before)].equals(rows_table([before])[list(before)]) and sums == json.loads(
        row["parts"]
    )
