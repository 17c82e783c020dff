"""Helpers behind the notebooks: from clips of dialogue to a MEIJU@2025 submission.

Everything starts with a run: a profile, the data it reads, the folder it writes. Stages take it and
leave their results in its folder; the names below are their front door, and the subpackages
`corpus`, `preprocessing`, `embeddings`, `modelling`, `pool`, `decisions`, `recipes`, `submission`,
`reporting` hold the rest.

>>> import meiju_utils as meiju
>>> run = meiju.open_run("demo", overrides={"training.epochs": 8})
>>> run.setting.name
'track1-mandarin'
>>> run.config.training.epochs, run.config.submission
(8, 'best')
>>> rows = meiju.train_recipes(run, ["baseline", "linear-svm"])  # doctest: +SKIP
>>> meiju.tables.show_scores(meiju.tables.recipe_scores(rows))  # doctest: +SKIP

Importing the package imports nothing heavy: each name brings its own libraries when it is used.
"""

import lazy_loader

from meiju_utils.loading import remember

remember()  # before any other module of the package is loaded: keys are made of what was

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
