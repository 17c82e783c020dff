"""No process outlives the one that started it, however that ended.

Imports nothing of the package.
"""

import os
import threading
import time

LOOK_S = 1.0
_watching = False


def end_with_parent(parent: int = 0) -> None:
    """From now on this process ends within seconds of the process that started it.

    A parent that is killed cannot say so; its children are then another's, which they look for.
    `parent` is its number; by default that of the present one, which may already be another's.
    """
    global _watching
    if _watching or not hasattr(os, "getppid"):
        return
    _watching = True
    parent = parent or os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK_S)
        os._exit(1)  # nobody waits for what would be finished

    threading.Thread(target=watch, name="lifeline", daemon=True).start()
