"""Linear models of words: TF-IDF and naive-Bayes weighted n-grams of characters or words.

Imports `linear`, `ngrams`, numpy, scikit-learn.
"""

from abc import ABC, abstractmethod
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveFloat, PositiveInt
from scipy import sparse
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from meiju_utils.challenge import Average
from meiju_utils.linear import UNTUNED, State, as_clips, linear_state, probabilities_of
from meiju_utils.ngrams import vocabulary_of, with_vocabulary

Matrix = NDArray[np.float64]
Texts = NDArray[Any]
Unit = Literal["characters", "words"]
QUESTIONS, EXCLAMATIONS, PAUSES, COMMAS = "？?", "！!", "…。", "，,"
SHORT = (5, 10)  # characters below which a text is very short, or short


class _OnTexts(ABC):
    """A linear model of counted n-grams, of lengths 1 to `longest`; those in fewer than `least`
    texts do not count. Called with texts [N], targets [N, C] and weights [N]."""

    reads = "texts"

    def __init__(self, classes: int, unit: Unit, longest: int, least: int) -> None:
        self.classes, self.unit, self.longest, self.least = classes, unit, longest, least
        self.state: State = {}

    def fit(self, x: Texts, targets: Matrix, weights: Matrix) -> None:
        rows, labels, mass = as_clips(targets, weights)
        present = np.unique(labels)
        self.state = {"present": present}
        if len(present) == 1:
            return
        vectorizer = self._vectorizer(min_df=self.least)
        try:
            vectorizer.fit(x)
        except ValueError:  # no n-gram is in so many texts
            vectorizer = self._vectorizer(min_df=1)
            try:
                vectorizer.fit(x)
            except ValueError:  # there is none at all
                vectorizer.fit(["-"])
        self.state |= vocabulary_of(vectorizer)
        self.state |= self._fitted(self._features(x)[rows], labels, mass)

    def probabilities(self, x: Texts) -> Matrix:
        """[N, classes]."""
        if "coef" not in self.state:
            return probabilities_of(self.state, np.zeros((len(x), 0)), self.classes)
        return probabilities_of(self.state, self._features(x), self.classes)

    def _features(self, x: Texts) -> Any:
        """Counted n-grams [N, D], sparse."""
        return with_vocabulary(self._vectorizer, self.state).transform(x).tocsr()

    def _units(self, **options: Any) -> dict[str, Any]:
        analyzer = "char" if self.unit == "characters" else "word"
        return {"analyzer": analyzer, "ngram_range": (1, self.longest), **options}

    def _vectorizer(self, **options: Any) -> Any:
        return TfidfVectorizer(sublinear_tf=True, **self._units(**options))

    @abstractmethod
    def _fitted(self, x: Any, labels: NDArray[np.int64], mass: Matrix) -> State:
        """`coef` and `intercept` for features [N, D], classes [N] and their weights [N]."""


class TfidfLogistic(_OnTexts):
    """Logistic regression on TF-IDF; `marks` adds a text's length and punctuation."""

    def __init__(
        self,
        classes: int,
        average: Average,
        *,
        unit: Unit = "characters",
        longest: PositiveInt = 3,
        least: PositiveInt = 2,
        strength: PositiveFloat = 10.0,
        balanced: bool = True,
        marks: bool = False,
    ) -> None:
        super().__init__(classes, unit, longest, least)
        self.strength, self.balanced, self.marks = strength, balanced, marks

    def _features(self, x: Texts) -> Any:
        found = super()._features(x)
        return sparse.hstack([found, _marks(x)]).tocsr() if self.marks else found

    def _fitted(self, x: Any, labels: NDArray[np.int64], mass: Matrix) -> State:
        weight = "balanced" if self.balanced else None
        model = LogisticRegression(C=self.strength, max_iter=200, tol=2e-3, class_weight=weight)
        return linear_state(model.fit(x, labels, sample_weight=mass), 1.0)


class TfidfSvm(_OnTexts):
    """Linear support vector machine on TF-IDF, one class against the rest."""

    def __init__(
        self,
        classes: int,
        average: Average,
        *,
        unit: Unit = "characters",
        longest: PositiveInt = 3,
        least: PositiveInt = 2,
        strength: PositiveFloat = 0.3,
    ) -> None:
        super().__init__(classes, unit, longest, least)
        self.strength = strength

    def _fitted(self, x: Any, labels: NDArray[np.int64], mass: Matrix) -> State:
        model = LinearSVC(C=self.strength, tol=1e-2, max_iter=2000, random_state=0)
        return linear_state(model.fit(x, labels, sample_weight=mass), UNTUNED)


class NbSvm(_OnTexts):
    """One class against the rest on n-grams (there or not) weighed by their log-count ratio.

    Wang and Manning 2012, with logistic regression in place of the machine. `prior` is added to the
    counts.
    """

    def __init__(
        self,
        classes: int,
        average: Average,
        *,
        unit: Unit = "characters",
        longest: PositiveInt = 3,
        least: PositiveInt = 2,
        strength: PositiveFloat = 0.1,
        prior: PositiveFloat = 1.0,
    ) -> None:
        super().__init__(classes, unit, longest, least)
        self.strength, self.prior = strength, prior

    def _vectorizer(self, **options: Any) -> Any:
        return CountVectorizer(binary=True, dtype=np.float64, **self._units(**options))

    def _fitted(self, x: Any, labels: NDArray[np.int64], mass: Matrix) -> State:
        coef, intercept = [], []
        for label in np.unique(labels):
            own = labels == label
            inside, outside = (
                self.prior + np.asarray(x[rows].T @ mass[rows]).ravel() for rows in (own, ~own)
            )
            ratio = np.log(inside / inside.sum()) - np.log(outside / outside.sum())
            model = LogisticRegression(C=self.strength, max_iter=100, tol=1e-2, solver="liblinear")
            model.fit(x @ sparse.diags(ratio), own, sample_weight=mass)
            coef.append(model.coef_[0] * ratio)
            intercept.append(model.intercept_[0])
        return {"coef": np.stack(coef), "intercept": np.array(intercept)}


def _marks(x: Texts) -> Any:
    """Length and punctuation of texts [N, 7], halved so that they do not outweigh TF-IDF."""
    rows = []
    for text in x:
        counts = [len(text), *(sum(text.count(mark) for mark in marks) for marks in _MARKS)]
        rows.append([*(min(count, 3) / 3 for count in counts), *(len(text) < n for n in SHORT)])
    return sparse.csr_matrix(0.5 * np.array(rows, dtype=np.float64).reshape(len(rows), 7))


_MARKS = (QUESTIONS, EXCLAMATIONS, PAUSES, COMMAS)
