"""Recipes: experiments named in YAML, trained once, kept by all that shapes them.

Each name brings its own libraries when it is used: to answer by a classical recipe takes no torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
