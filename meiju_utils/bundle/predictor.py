"""A run's recipe as something to ask: new videos in, answers out.

Imports `clips`, `freezing`, `frozen`, `storing`, `embeddings`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd

from meiju_utils.bundle.clips import NewClips, find_videos, read_clips
from meiju_utils.bundle.frozen import Frozen, FrozenEncoder, Material, Question, Weights, answer
from meiju_utils.bundle.storing import load_bundle, save_bundle
from meiju_utils.challenge import Modality
from meiju_utils.config import Parallel
from meiju_utils.embeddings.base import Encode, Encoder, EncoderContext
from meiju_utils.embeddings.encoders import make_encoder
from meiju_utils.embeddings.encoding import encode_clips
from meiju_utils.errors import BundleError, PredictionError
from meiju_utils.modelling.fitting import FittedModel
from meiju_utils.predictions import Answers, Predictions
from meiju_utils.run import Run

if TYPE_CHECKING:
    from meiju_utils.bundle.frozen import Model
    from meiju_utils.recipes.graph import Recipes

Videos = str | Path | Sequence[str | Path]
Texts = str | Sequence[str] | Mapping[str, str] | None


@dataclass(frozen=True)
class Reading:
    """What was found out about some clips.

    answers: to those that could be read, in the order given; alone: what each modality by itself
    would say, of the clips that have it; clips: how they were read, and their words (their media
    where these were kept); lacks: of each what there is nothing of, with the reason; problems: why
    others could not be read.
    """

    answers: Answers
    alone: dict[Modality, Answers]
    clips: NewClips
    lacks: dict[str, dict[Modality, str]]
    problems: dict[str, str]


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
        self.material, self._about = material, about
        self._models: dict[str, Model] = {}
        self._encoders: dict[int, tuple[Encoder, Encode]] = {}

    @classmethod
    def from_run(
        cls, run: Run, recipe: str = "", recipes: "Recipes | None" = None, device: str = "auto"
    ) -> "Predictor":
        """A recipe of a run, by default the one that is handed in.

        MissingStageError where it is not trained, TrainingError where it has no results,
        ConfigError where its features were imported.
        """
        from meiju_utils.bundle.freezing import described, freeze

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
        return save_bundle(Path(folder), frozen, self.material, with_encoders)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
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
        kept = NewClips()
        arrays: list[dict[str, Any]] = [{} for _ in self.frozen.encoders]
        lacks: dict[str, dict[Modality, str]] = {}

        def take(clips: NewClips) -> None:
            for number, encoder in enumerate(self.frozen.encoders):
                made = self._encoded(number, encoder, clips)
                arrays[number] |= made.arrays
                for clip_id, reason in made.missing.items():
                    lacks.setdefault(clip_id, {})[encoder.modality] = reason
            kept.rows |= clips.rows
            kept.texts |= clips.texts
            kept.media |= clips.media if keep_media else {}

        settings, language = self.frozen.preprocessing, self.frozen.language
        problems = read_clips(found, words, settings, language, take, asr, parallel, self.device)
        there = [clip_id for clip_id in found if clip_id in kept.rows]
        modalities = list(dict.fromkeys(encoder.modality for encoder in self.frozen.encoders))
        asked: dict[tuple[str, Modality | None], Question] = {}
        for only in (None, *(modalities if len(modalities) > 1 else [])):
            for clip_id in there:
                if only not in lacks.get(clip_id, {}):
                    own = [found.get(clip_id) for found in arrays]
                    asked[clip_id, only] = Question(own, kept.texts[clip_id], only)
        answered = self._answered(asked)
        alone = {own: answered[own] for own in modalities if own in answered}
        return Reading(answered.get(None) or _no_answers(self.frozen), alone, kept, lacks, problems)

    def _answered(
        self, asked: Mapping[tuple[str, Modality | None], Question]
    ) -> dict[Modality | None, Answers]:
        """Answers by what was looked at (None: everything)."""
        if not asked:
            return {}
        table = answer(self.frozen, self._model, list(asked.values()), self.device).table
        clips, only = zip(*asked, strict=True)
        table = table.assign(clip_id=pd.array(list(clips), dtype="str"))
        found = {}
        for one in dict.fromkeys(only):
            rows = [looked_at == one for looked_at in only]
            found[one] = Answers(table[rows].reset_index(drop=True))
        return found

    def _model(self, weights: Weights) -> "Model":
        if weights.file not in self._models:
            path = self.material.weights[weights.file]
            self._models[weights.file] = self._loaded_model(weights, path)
        return self._models[weights.file]

    def _loaded_model(self, weights: Weights, path: Path) -> "Model":
        parts = self.frozen.parts.values()
        if any(weights in part.weights and part.kind == "model" for part in parts):
            return FittedModel.load(path)
        from meiju_utils.modelling.checkpoints import TrainedNetwork  # torch takes seconds

        return TrainedNetwork.load(path)

    def _encoded(self, number: int, frozen: FrozenEncoder, clips: NewClips) -> Any:
        if number not in self._encoders:
            self._encoders[number] = self._loaded(number, frozen)
        encoder, encode = self._encoders[number]
        return encode_clips(encode, encoder, frozen.config, clips, clips.clip_ids)

    def _loaded(self, number: int, frozen: FrozenEncoder) -> tuple[Encoder, Encode]:
        """The encoder and its function; BundleError where it is not what it was."""
        context = EncoderContext(
            run_dir=self.material.folder,
            sample_rate=self.frozen.preprocessing.sample_rate,
            device=self.device,
            **self.frozen.batches,  # type: ignore[arg-type]
        )
        encoder: Any = make_encoder(frozen.modality, frozen.config, context)
        if frozen.fitted:
            return encoder, encoder.restore(self.material.states[number])
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


def _no_answers(frozen: Frozen) -> Answers:
    shares = {task: np.empty((0, len(names))) for task, names in frozen.classes.items()}
    mean = Predictions.of_arrays([], [], shares, frozen.classes, np.empty(0, dtype=bool))
    return Answers.of_predictions(mean, {t: np.empty(0, dtype=int) for t in frozen.classes})
