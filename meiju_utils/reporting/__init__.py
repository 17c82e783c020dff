"""What a user sees: plots, tables, players, the report. Modules come when first used."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, ["display", "plots", "tables"])
