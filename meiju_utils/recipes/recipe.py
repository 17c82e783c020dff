"""One named experiment as data: a recipe with its components complete. Imports `components`."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from meiju_utils.challenge import Modality
from meiju_utils.components import Component
from meiju_utils.modelling.architecture import Architecture
from meiju_utils.modelling.partitions import Partition

Kind = Literal["network", "model", "ensemble"]


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


# Of the encoders a profile extracts, the one with these settings (at least its name).
Choice = Annotated[dict[str, Any], BeforeValidator(_named)]


class Data(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PoolTargets(Data):
    """Targets besides the true labels: those a teacher gives to the unlabelled pool."""

    teacher: str
    rule: Component
    soft: bool = Field(default=False, description="the teacher's probabilities, not its labels")
    weight: float = Field(default=1.0, gt=0, description="of each clip, where a true label has 1")
    shift: bool = Field(default=False, description="soft ones for the pool's own shares of classes")


class Recipe(Data):
    """One named experiment, its components complete (see `library.yaml` for the keys)."""

    name: str
    title: str = ""
    notebook: str = "05_head_variant_training"
    kind: Kind
    start: str | None = None
    architecture: Architecture | None = None
    component: Component | None = None
    objective: Component
    targets: PoolTargets | None = None
    partition: Partition = "validation"
    training: dict[str, Any] = {}
    encoders: dict[Modality, Choice | None] = {}
    members: dict[str, list[str]] = {}
    calibrate: Component | None = None
    decode: list[Component]
    chain: str = Field(default="", description="the recipe whose students it is one of")
    teacher: str = Field(default="", description="of a chain's first students: without a pool")

    def needs(self) -> list[str]:
        """The recipes whose results this one is made from."""
        teacher = self.targets.teacher if self.targets else None
        combined = [name for names in self.members.values() for name in names]
        return list(dict.fromkeys(name for name in (self.start, teacher, *combined) if name))
