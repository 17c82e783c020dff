"""What a user sees: plots, tables, conclusions, players, the report. Modules come when used."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, ["conclusions", "display", "examples", "plots", "tables"]
)
