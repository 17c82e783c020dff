"""Text encoders: `char-ngram` (no download) and `hf:<hub id or folder>` (BERT, RoBERTa and kin).

Imports `base`, `checkpoints`, `devices`, `ngrams`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from meiju_utils.completeness import require_whole
from meiju_utils.config import EncoderConfig
from meiju_utils.devices import Halving, mixed_precision, torch_device
from meiju_utils.embeddings.base import (
    Absent,
    Array,
    ClipSource,
    Encode,
    Encoded,
    EncoderContext,
    length_batches,
)
from meiju_utils.embeddings.checkpoints import (
    CheckpointEncoder,
    combine_layers,
    load_model,
    load_part,
)
from meiju_utils.errors import FeatureError
from meiju_utils.files import fingerprint
from meiju_utils.ngrams import vocabulary_of, with_vocabulary

CHAR_NGRAM_WIDTH = 512
EMPTY = Absent("empty text")


class FittedNgrams:
    """Texts to unit vectors `[1, D]`, by what was fitted.

    `state`: vocabulary and idf (see `ngrams`), `projection` [n-grams, D].
    """

    def __init__(self, state: dict[str, NDArray[Any]]) -> None:
        self.state = state
        self._vectorizer = with_vocabulary(_vectorizer, state)

    @classmethod
    def fit(cls, texts: Sequence[str]) -> "FittedNgrams":
        """Raises FeatureError where the texts hold no characters."""
        from sklearn.decomposition import TruncatedSVD

        # in a corpus of hundreds every n-gram counts, in one of thousands those seen once do not
        vectorizer = _vectorizer(min_df=2 if len(texts) > 100 else 1)
        try:
            counts = vectorizer.fit_transform(texts)
        except ValueError as error:
            raise FeatureError(
                f"char-ngram: the {len(texts)} texts of the training and unlabelled clips hold "
                "no characters to fit on. Check the transcripts in notebook 01."
            ) from error
        width = max(1, min(CHAR_NGRAM_WIDTH, counts.shape[0] - 1, counts.shape[1] - 1))
        reduced = TruncatedSVD(width, n_iter=3, random_state=0).fit(counts)
        rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((width, width)))[0]
        projection = (reduced.components_.T @ rotation).astype(np.float32)
        return cls({**vocabulary_of(vectorizer), "projection": projection})

    def __call__(self, clips: Sequence[str]) -> list[Encoded]:
        from sklearn.preprocessing import normalize

        counts = self._vectorizer.transform(clips).astype(np.float32)
        rows = normalize(counts @ self.state["projection"])
        return [row[None] if t.strip() else EMPTY for t, row in zip(clips, rows, strict=True)]


def _vectorizer(**options: Any) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(analyzer="char", ngram_range=(1, 3), sublinear_tf=True, **options)


@dataclass(frozen=True)
class CharNgram:
    """TF-IDF of character 1-3-grams, reduced to at most 512 features of unit length, `[1, D]`.

    Fitted on the texts of the training clips and the unlabelled pool. The reduced space is turned
    by a fixed random rotation: the features of a truncated SVD have very unequal spreads, and
    whoever standardises them, as our probes and networks do, blows up the noise of the least ones.
    Rotated, they are alike (on 2294 utterances of TV dialogue a standardised logistic regression
    gained 0.02 of joint score and equals one on the full sparse TF-IDF).
    """

    context: EncoderContext
    spread: bool = False
    alone: ClassVar[bool] = True  # sparse rows are multiplied one by one
    libraries: ClassVar[tuple[str, ...]] = ("scikit-learn", "scipy")

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "encoder": "char-ngram",
            "width": CHAR_NGRAM_WIDTH,
            "fitted_on": fingerprint(self._corpus()),
        }

    def inputs_key(self, source: ClipSource) -> str:
        return ""  # nothing but the texts it is fitted on

    def read(self, source: ClipSource, clip_id: str) -> str:
        return source.text(clip_id)

    def load(self) -> FittedNgrams:
        return FittedNgrams.fit(self._corpus())

    def restore(self, state: dict[str, NDArray[Any]]) -> FittedNgrams:
        return FittedNgrams(state)

    def _corpus(self) -> list[str]:
        return sorted(text for text in self.context.fit_texts() if text.strip())


@dataclass(frozen=True)
class HfText(CheckpointEncoder):
    """Hidden states `[T, D]` of a text model, one a token; special tokens count where they are in.

    Texts beyond 510 tokens (or the model's own length) are cut there; a subtitle has some 20.
    """

    libraries: ClassVar[tuple[str, ...]] = ("torch", "transformers", "tokenizers")

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "encoder": "hf-text",
            "batch_tokens": self.context.batch_tokens,
            **self.model_settings("special_tokens"),
        }

    def inputs_key(self, source: ClipSource) -> str:
        return ""

    def read(self, source: ClipSource, clip_id: str) -> str:
        return source.text(clip_id)

    def load(self) -> Encode:
        from transformers import AutoTokenizer

        if self.checkpoint.folder:
            require_whole(self.checkpoint.folder, "text")
        tokenizer = load_part(self.checkpoint, AutoTokenizer.from_pretrained)
        _refuse_empty(tokenizer, self.config.name)
        model = load_model(self.checkpoint, ignore=("pooler.",))
        model.to(torch_device(self.context.device, "embeddings.device"))
        return TextModel(model, tokenizer, self.config, self.context.batch_tokens)


class TextModel(Halving):
    """The loaded model; called with clips' texts it returns their tokens."""

    def __init__(
        self, model: Any, tokenizer: Any, config: EncoderConfig, batch_tokens: int
    ) -> None:
        self.model, self.tokenizer, self.config = model, tokenizer, config
        self.batch_tokens = batch_tokens
        # RoBERTa's positions start at 2, so the table is two longer than the longest text
        positions = getattr(model.config, "max_position_embeddings", 512) - 2
        self.limit = min(tokenizer.model_max_length, positions)

    def __call__(self, clips: Sequence[str]) -> list[Encoded]:
        encoded: list[Encoded] = [EMPTY] * len(clips)
        filled = [i for i, text in enumerate(clips) if text.strip()]
        if not filled:  # of which the tokenizer makes an error
            return encoded
        inputs = self.tokenizer(
            [clips[i] for i in filled],
            truncation=True,
            max_length=self.limit,
            return_special_tokens_mask=True,
        )

        def run(batch: Sequence[int]) -> list[Array]:
            chosen = {name: [values[i] for i in batch] for name, values in inputs.items()}
            return self._run(self.tokenizer.pad(chosen, return_tensors="pt"))

        lengths = [len(ids) for ids in inputs["input_ids"]]
        for batch in length_batches(lengths, self.batch_tokens):
            for i, rows in zip(batch, self.in_halves(run, batch), strict=True):
                encoded[filled[i]] = rows if len(rows) else Absent("no tokens in the text")
        return encoded

    def _run(self, inputs: Any) -> list[Array]:
        """Tokens `[T, D]` of each text of a padded batch."""
        import torch

        device = self.model.device
        special = inputs.pop("special_tokens_mask").bool()
        keep = inputs["attention_mask"].bool()
        if not self.config.special_tokens:
            keep &= ~special
        with torch.inference_mode(), mixed_precision(device, self.config.precision):
            output = self.model(**inputs.to(device), output_hidden_states=bool(self.config.layers))
            tokens = combine_layers(
                output.hidden_states,
                output.last_hidden_state,
                self.config.layers,
                self.config.combine,
            ).cpu()
        return [row[kept].numpy() for row, kept in zip(tokens, keep, strict=True)]


def _refuse_empty(tokenizer: Any, name: str) -> None:
    """FeatureError for a tokenizer that has no words: every text of a length would be the same."""
    if len(tokenizer) <= len(tokenizer.all_special_ids):
        raise FeatureError(
            f"{name!r} has a tokenizer without a vocabulary, so that all texts of a length would "
            "get one embedding. Expected tokenizer.json or vocab.txt beside the weights."
        )
