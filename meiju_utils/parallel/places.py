"""How many processes of this machine hold a model? As many as it has cores, or a GPU has room for.

Imports `config` and `devices`; torch where a profile does not say that it computes on the CPU.
"""

from meiju_utils.config import Parallel
from meiju_utils.devices import torch_device


def model_places(settings: Parallel, device: str, setting: str) -> Parallel:
    """Settings for a stage whose processes each load a model.

    On the CPU, in this process alone and on a cluster at an address (whose workers are placed by
    whoever starts them) they stay as they are; on accelerators of this machine there are about
    `models_per_gpu` processes on each. `device` is that of a profile, `setting` its name there.
    Raises ConfigError for a device that is not there.
    """
    if settings.backend == "serial" or settings.address or device == "cpu":
        return settings
    where = torch_device(device, setting)
    if where.type == "cpu":
        return settings
    several = where.type == "cuda" and where.index is None
    most = settings.models_per_gpu * (gpu_count() if several else 1)
    return settings.model_copy(update={"workers": min(settings.processes, most)})


def gpu_count() -> int:
    """GPUs this process may use."""
    import torch

    return max(1, torch.cuda.device_count())
