"""Helpers behind the notebooks: from clips of dialogue to a MEIJU@2025 submission.

Everything starts with a run: a profile, the data it reads, the folder it writes. Stages take it and
leave their results in its folder; the names below are their front door, and the subpackages
`corpus`, `preprocessing`, `embeddings`, `modelling`, `submission`, `reporting` hold the rest.

>>> import meiju_utils as meiju
>>> meiju.built_in_profiles()[:2]
['demo', 'text-only']
>>> corpus = meiju.build_demo_corpus("data/demo")  # doctest: +SKIP
>>> run = meiju.open_run("demo", overrides={"embeddings.batch_images": 8})
>>> run
<Run demo (track1-mandarin): data demo, folder demo>
>>> run.config.embeddings.batch_images
8

Importing the package imports nothing heavy: each name brings its own libraries when it is used.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
