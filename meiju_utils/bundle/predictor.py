"""A run's recipe as something to ask: new videos in, answers out.

Imports `clips`, `freezing`, `frozen`, `storing`, `embeddings`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from meiju_utils.bundle.clips import NewClips, find_videos, read_clips
from meiju_utils.bundle.freezing import Material, described, freeze
from meiju_utils.bundle.frozen import Frozen, FrozenEncoder, Model, NewFeatures, Weights, answer
from meiju_utils.bundle.storing import load_bundle, save_bundle
from meiju_utils.challenge import Modality
from meiju_utils.config import Parallel
from meiju_utils.embeddings.base import Encode, Encoder, EncoderContext
from meiju_utils.embeddings.encoders import make_encoder
from meiju_utils.embeddings.encoding import encode_clips
from meiju_utils.errors import BundleError, PredictionError
from meiju_utils.modelling.checkpoints import TrainedNetwork
from meiju_utils.modelling.fitting import FittedModel
from meiju_utils.predictions import Answers, Predictions
from meiju_utils.preprocessing.manifest import Row
from meiju_utils.recipes.graph import Recipes
from meiju_utils.run import Run

Videos = str | Path | Sequence[str | Path]
Texts = str | Sequence[str] | Mapping[str, str] | None


@dataclass
class Reading:
    """What was found out about some clips.

    answers: to those that could be read; alone: what each modality by itself would say, of the
    clips that have it; texts: their words; rows: how each was read (see `manifest.ROW`); lacks: of
    each what it has nothing of, with the reason; problems: why others could not be read; media: as
    far as asked for.
    """

    answers: Answers
    alone: dict[Modality, Answers]
    texts: dict[str, str]
    rows: dict[str, Row]
    lacks: dict[str, dict[Modality, str]]
    problems: dict[str, str]
    media: dict[str, Mapping[str, Any]] = field(default_factory=dict)


class Predictor:
    """A trained recipe that answers about new clips by the stages its own clips went through.

        with Predictor.from_run(run) as predictor:
            answers = predictor.predict(["a.mp4", "b.mp4"], ["What is it?", "Go on."])

    Models are loaded when they are first needed, and once. A new clip counts as one of the run's
    test clips: where a decision was fitted for these (expected F1), it is what was found then.
    """

    def __init__(
        self,
        frozen: Frozen,
        material: Material,
        device: str = "auto",
        about: Callable[[], dict[str, Any]] | None = None,
    ) -> None:
        self.frozen, self.device = frozen, device
        self._material, self._about = material, about
        self._models: dict[str, Model] = {}
        self._encoders: dict[int, tuple[Encoder, Encode]] = {}

    @classmethod
    def from_run(
        cls, run: Run, recipe: str = "", recipes: Recipes | None = None, device: str = "auto"
    ) -> "Predictor":
        """A recipe of a run, by default the one that is handed in.

        MissingStageError where it is not trained, TrainingError where it has no results,
        ConfigError where its features were imported.
        """
        frozen, material, experiment = freeze(run, recipe, recipes)
        return cls(frozen, material, device, partial(described, experiment, run))

    @classmethod
    def load(cls, folder: str | Path, device: str = "auto") -> "Predictor":
        """A bundle that `save` wrote. BundleError for one that is damaged, changed or another's."""
        return cls(*load_bundle(Path(folder)), device)

    def save(self, folder: str | Path, with_encoders: bool = False) -> Path:
        """Write it as a bundle, a folder of its own; with `with_encoders` the checkpoints that it
        needs, too, so that a machine without network can answer.

        BundleError where the folder holds anything else.
        """
        about = self._about() if self._about else self.frozen.about
        frozen = self.frozen.model_copy(update={"about": about})
        return save_bundle(Path(folder), frozen, self._material, with_encoders)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of all that was loaded; it comes back when it is needed."""
        self._models.clear()
        self._encoders.clear()

    def __repr__(self) -> str:
        tasks = ", ".join(f"{len(names)} {task}s" for task, names in self.frozen.classes.items())
        modalities = " and ".join(dict.fromkeys(e.modality for e in self.frozen.encoders))
        return f"<Predictor {self.frozen.name}: {tasks} from {modalities}>"

    def predict(self, videos: Videos, texts: Texts = None) -> Answers:
        """Labels and probabilities of videos: a file, a folder, or several.

        texts: what is said in them, one each in the same order, or by clip id (the file's name
        without its extension). PredictionError where no video can be read, with the reasons; where
        some cannot, they have no answer (`read` says why).
        """
        found = self.read(videos, texts)
        if not len(found.answers):
            reasons = "".join(f"\n  - {name}: {why}" for name, why in found.problems.items())
            raise PredictionError(f"None of {len(found.problems)} videos can be read:{reasons}")
        return found.answers

    def read(
        self,
        videos: Videos,
        texts: Texts = None,
        asr: str = "",
        parallel: Parallel | None = None,
        keep_media: bool = False,
    ) -> Reading:
        """Everything that was found out about some videos on the way to their answers.

        asr: a Whisper model that hears what is said where no text is given. ConfigError for a model
        that does not load, MediaError for a file that is not there, PredictionError for texts that
        are of no video.
        """
        given = [videos] if isinstance(videos, str | Path) else videos
        found = find_videos(given)
        words = _by_clip(list(found), texts)
        rows: dict[str, Row] = {}
        heard: dict[str, str] = {}
        media: dict[str, Mapping[str, Any]] = {}
        arrays: list[dict[str, Any]] = [{} for _ in self.frozen.encoders]
        lacks: dict[str, dict[Modality, str]] = {}

        def take(clips: NewClips) -> None:
            for number, encoder in enumerate(self.frozen.encoders):
                made = self._encoded(number, encoder, clips)
                arrays[number] |= made.arrays
                for clip_id, reason in made.missing.items():
                    lacks.setdefault(clip_id, {})[encoder.modality] = reason
            rows.update(clips.rows)
            heard.update(clips.texts)
            media.update(clips.media if keep_media else {})

        settings, language = self.frozen.preprocessing, self.frozen.language
        problems = read_clips(found, words, settings, language, take, asr, parallel)
        there = [clip_id for clip_id in found if clip_id in rows]  # in the order given
        answers = self._answered(there, arrays, heard)
        alone: dict[Modality, Answers] = {}
        modalities = list(dict.fromkeys(encoder.modality for encoder in self.frozen.encoders))
        for modality in modalities if len(modalities) > 1 else []:
            have = [clip_id for clip_id in there if modality not in lacks.get(clip_id, {})]
            if have:
                alone[modality] = self._answered(have, arrays, heard, modality)
        return Reading(answers, alone, heard, rows, lacks, problems, media)

    def _answered(
        self,
        clip_ids: list[str],
        arrays: Sequence[Mapping[str, Any]],
        texts: Mapping[str, str],
        only: Modality | None = None,
    ) -> Answers:
        if not clip_ids:
            return Answers(_no_answers(self.frozen))
        features = NewFeatures(
            clip_ids,
            [[own.get(clip_id) for clip_id in clip_ids] for own in arrays],
            [texts[clip_id] for clip_id in clip_ids],
        )
        return answer(self.frozen, self._model, features, self.device, only)

    def _model(self, weights: Weights) -> Model:
        if weights.file not in self._models:
            path = self._material.weights[weights.file]
            kind = FittedModel if self._is_classical(weights) else TrainedNetwork
            self._models[weights.file] = kind.load(path)
        return self._models[weights.file]

    def _is_classical(self, weights: Weights) -> bool:
        return any(
            weights in part.weights and part.recipe.kind == "model"
            for part in self.frozen.parts.values()
        )

    def _encoded(self, number: int, frozen: FrozenEncoder, clips: NewClips) -> Any:
        if number not in self._encoders:
            self._encoders[number] = self._loaded(number, frozen)
        encoder, encode = self._encoders[number]
        return encode_clips(encode, encoder, frozen.config, clips, clips.clip_ids)

    def _loaded(self, number: int, frozen: FrozenEncoder) -> tuple[Encoder, Encode]:
        """The encoder and its function; BundleError where it is not what it was."""
        context = EncoderContext(
            run_dir=self._material.folder,
            sample_rate=self.frozen.preprocessing.sample_rate,
            device=self.device,
            **self.frozen.batches,  # type: ignore[arg-type]
        )
        encoder: Any = make_encoder(frozen.modality, frozen.config, context)
        if frozen.fitted:
            return encoder, encoder.restore(self._material.states[number])
        if encoder.settings != frozen.settings:
            raise BundleError(
                f"The {frozen.modality} encoder {frozen.config.name!r} here is another than the "
                "one these models were trained on: its checkpoint or its settings differ. Put the "
                "same checkpoint in its place, or export with --with-encoders."
            )
        return encoder, encoder.load()


def _by_clip(clip_ids: list[str], texts: Texts) -> dict[str, str]:
    """Clip id → text. PredictionError for texts that cannot be matched."""
    if texts is None:
        return {}
    if isinstance(texts, str):
        texts = [texts]
    if not isinstance(texts, Mapping):
        if len(texts) != len(clip_ids):
            raise PredictionError(
                f"{len(texts)} texts for {len(clip_ids)} videos: give one each, in the same order, "
                "or texts by clip id (the file's name without its extension)."
            )
        return dict(zip(clip_ids, texts, strict=True))
    if odd := sorted(set(texts) - set(clip_ids)):
        raise PredictionError(
            f"A text is given for {odd[0]!r}, which is none of the videos: "
            f"{', '.join(clip_ids[:5])}{', …' if len(clip_ids) > 5 else ''}."
        )
    return dict(texts)


def _no_answers(frozen: Frozen) -> Any:
    """An empty table of answers."""
    shares = {task: np.empty((0, len(names))) for task, names in frozen.classes.items()}
    mean = Predictions.of_arrays([], [], shares, frozen.classes, np.empty(0, dtype=bool))
    return Answers.of_predictions(mean, {t: np.empty(0, dtype=int) for t in frozen.classes}).table
