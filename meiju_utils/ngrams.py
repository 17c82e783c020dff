"""Counted n-grams: what a fitted vectorizer of scikit-learn knows, as arrays, and one made of them.

Imports numpy.
"""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vocabulary = dict[str, NDArray[Any]]


def vocabulary_of(vectorizer: Any) -> Vocabulary:
    """`vocabulary`, the n-grams in order as JSON in bytes, and `idf` [D] where there is one."""
    words = sorted(vectorizer.vocabulary_, key=vectorizer.vocabulary_.__getitem__)
    found = {"vocabulary": np.frombuffer(json.dumps(words).encode(), dtype=np.uint8)}
    return found | ({"idf": vectorizer.idf_} if hasattr(vectorizer, "idf_") else {})


def with_vocabulary(make: Callable[..., Any], known: Vocabulary) -> Any:
    """A vectorizer, made by `make(vocabulary=...)`, that counts as the fitted one did."""
    words = json.loads(known["vocabulary"].tobytes().decode())
    vectorizer = make(vocabulary={word: place for place, word in enumerate(words)})
    if "idf" in known:
        vectorizer.idf_ = known["idf"]
    return vectorizer
