"""The architecture of the joint network as data: what a checkpoint must say to be rebuilt.

Imports of the package `challenge` and `errors` only, so that naming an architecture costs no torch.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from meiju_utils.challenge import Modality, Task
from meiju_utils.errors import TrainingError

# Order of the modality tokens in the published network.
TOKENS: tuple[Modality, ...] = ("visual", "audio", "text")


@dataclass(frozen=True)
class NetworkConfig:
    """All that shapes the network. `widths` has the modalities in use and their feature widths.

    Stage "pretrain" has neither interaction nor auxiliary classifiers. Without `masking` padded
    steps count as real ones, as in the published code.
    """

    widths: dict[Modality, int]
    fusion_heads: dict[Task, int]
    kernel_heights: tuple[int, ...] = (2, 3, 4)
    stage: Literal["pretrain", "joint"] = "joint"
    masking: bool = True
    hidden: int = 128
    feed_forward: int = 2048
    text_dropout: float = 0.5
    fusion_dropout: float = 0.1
    dropout: float = 0.2

    def __post_init__(self) -> None:
        if not self.widths:
            raise TrainingError("The network needs at least one modality; the profile has none.")
        for task, heads in self.fusion_heads.items():
            if heads < 1 or self.hidden % heads:
                raise TrainingError(
                    f"{heads} fusion heads of {task} do not divide {self.hidden} hidden units."
                )
        if not self.kernel_heights or min(self.kernel_heights) < 1:
            raise TrainingError(
                f"TextCNN kernel heights {list(self.kernel_heights)}: expected whole numbers ≥ 1."
            )

    @property
    def modalities(self) -> list[Modality]:
        """The modalities in use, in the order of their tokens."""
        return [modality for modality in TOKENS if modality in self.widths]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "NetworkConfig":
        return cls(**{**values, "kernel_heights": tuple(values["kernel_heights"])})
