"""The settings of a run's stages, section by section, with defaults. Imports `challenge` only."""

import os
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from meiju_utils.challenge import Modality


class Section(BaseModel):
    """What all sections share: no other keys than theirs, and true or false only where meant."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _truth_only_where_meant(cls, value: Any, info: ValidationInfo) -> Any:
        """Python's True would pass as 1."""
        kind = cls.model_fields[info.field_name or ""].annotation
        given = value if isinstance(value, list | tuple) else [value]
        if kind is not bool and any(isinstance(one, bool) for one in given):
            raise ValueError("true or false has no meaning here (yes, no, on, off mean them too)")
        return value


Seed = Annotated[int, Field(ge=0, lt=2**32)]


class Faces(Section):
    """How faces are found, tracked and cropped (constants of the tracker: TalkNet's)."""

    detector: str = Field(
        default="dlib-hog", description="or yunet:<path of its .onnx or hub id>, for real footage"
    )
    detect_every: int = Field(
        default=8, ge=1, description="detect in one of so many frames, at 25 a second"
    )
    tracking_side: int = Field(
        default=800, ge=64, description="faces are followed in frames of at most this side, pixels"
    )
    crop_size: int = Field(default=112, ge=16, description="side of the stored crop, pixels")


class Transcripts(Section):
    """What may be done to subtitles beyond normalising them."""

    apply_suggestions: float = Field(
        default=0.85, gt=0, description="apply suggested end marks this sure; above 1: never"
    )
    asr: str = Field(
        default="", description="Whisper model (hub id or folder) for clips without text; '': none"
    )


class Preprocessing(Section):
    """From a clip to 16 kHz audio, sampled frames, the speaker's face, clean text."""

    sample_rate: int = Field(default=16000, ge=8000, description="Hz, mono")
    frame_stride: int = Field(default=30, ge=1, description="keep one frame of so many")
    faces: Faces = Faces()
    speaker: str = Field(
        default="correlation", description="active speaker scorer, or talknet:<checkpoint>"
    )
    transcripts: Transcripts = Transcripts()
    device: str = Field(
        default="auto", description="of speech recognition and TalkNet: auto, cpu, cuda, mps"
    )


def _encoder_shorthand(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


class EncoderConfig(Section):
    """One encoder. In YAML a plain string stands for its name with the defaults.

    `name` is `prosody`, `hog`, `char-ngram`, `timm:<model or folder>`, `hf:<hub id or folder>` or
    `npy:<folder>`; `{run_dir}` in it stands for the run folder. `layers` picks hidden states
    (-1 = last), combined by `combine`; an empty list is the encoder's own output.
    """

    name: str = Field(min_length=1)
    level: Literal["utterance", "frame"] = Field(
        default="utterance", description="one vector a clip, the mean over time; or every frame"
    )
    layers: list[int] = []
    combine: Literal["sum", "mean"] = "sum"
    special_tokens: bool = Field(default=False, description="whether [CLS] and the like count")
    revision: str = Field(
        default="main", description="of a hub model; pin a commit, as a branch may move"
    )
    dtype: Literal["float32", "float16"] = Field(default="float32", description="as stored")
    precision: Literal["float32", "bfloat16", "float16"] = Field(
        default="float32", description="least precision of the model; a CPU takes float32 anyway"
    )


Encoder = Annotated[EncoderConfig, BeforeValidator(_encoder_shorthand)]


class Embeddings(Section):
    """The encoder that feeds the network, one a modality, and others to compare it with."""

    audio: Encoder | None = EncoderConfig(name="prosody")
    visual: Encoder | None = EncoderConfig(name="hog")
    text: Encoder | None = EncoderConfig(name="char-ngram")
    compare: dict[Modality, list[Encoder]] = {}
    tiny_checkpoints: bool = Field(
        default=False, description="write tiny random checkpoints into the run folder first"
    )
    batch_images: int = Field(default=32, ge=1, description="face crops a GPU takes at once")
    batch_seconds: float = Field(default=60, gt=0, description="of audio a GPU takes at once")
    batch_tokens: int = Field(default=512, ge=1, description="of text, with their padding")
    shard_size: int = Field(default=256, ge=1, description="clips a shard of the feature store")
    device: str = Field(default="auto", description="auto, cpu, cuda, mps")

    @model_validator(mode="after")
    def _one_at_least(self) -> "Embeddings":
        if not self.chosen():
            raise ValueError("audio, visual and text are all null; give one of them an encoder")
        return self

    def chosen(self) -> dict[Modality, EncoderConfig]:
        """Modality → its encoder, for the modalities in use."""
        pairs: dict[Modality, EncoderConfig | None] = {
            "audio": self.audio,
            "visual": self.visual,
            "text": self.text,
        }
        return {modality: encoder for modality, encoder in pairs.items() if encoder}


def _unlike(values: list[int]) -> list[int]:
    if len(set(values)) < len(values):
        raise ValueError("the same number stands there twice")
    return values


class Training(Section):
    """How the joint network is trained (paper section III, official baseline's options).

    What a recipe fixes counts for it in place of these.
    """

    seeds: Annotated[list[Seed], AfterValidator(_unlike)] = Field(default=[0, 1, 2], min_length=1)
    epochs: int = Field(default=60, ge=1, description="at most so many a stage")
    patience: int = Field(default=6, ge=1, description="epochs without a better joint score")
    keep: Literal["best", "last"] = Field(
        default="best", description="epoch's weights; last: all epochs, nothing is chosen"
    )
    batch_size: int = Field(default=32, ge=1)
    learning_rate: float = Field(default=5e-4, gt=0)
    stage_two_factor: float = Field(default=0.1, gt=0, description="times the rate: stage two")
    schedule: Literal["constant", "hold-linear"] = Field(
        default="constant", description="hold-linear (published): to zero after hold_epochs"
    )
    hold_epochs: int = Field(default=20, ge=0)
    beta1: float = Field(default=0.9, ge=0, lt=1, description="Adam's first moment")
    weight_decay: float = Field(default=0.0, ge=0, description="decoupled from the gradient")
    initialisation: Literal["torch", "kaiming"] = "torch"
    clipping: Literal["none", "global", "per-network"] = "global"
    clip_norm: float = Field(default=1.0, gt=0)
    standardise: bool = Field(default=True, description="features; false: as they are (published)")
    noise: float = Field(default=0.1, ge=0, description="times each feature's standard deviation")
    modality_dropout: float = Field(
        default=0.1,
        ge=0,
        lt=1,
        description="share of train clips that go without a modality some clip of the corpus lacks",
    )
    class_weights: bool = False
    ema: float = Field(default=0.0, ge=0, lt=1, description="decay of the weights' average; 0: off")
    precision: Literal["float32", "bfloat16"] = Field(
        default="float32", description="least precision of products; a CPU takes float32 anyway"
    )
    device: str = Field(default="auto", description="auto, cpu, cuda, mps")


class Parallel(Section):
    """Where clips and trainings are mapped; README ("On a cluster") for Dask and Ray."""

    backend: Literal["serial", "loky", "dask", "ray"] = "loky"
    workers: Literal["auto"] | Annotated[int, Field(ge=1)] = Field(
        default="auto",
        description="processes of one thread on this machine; auto: the cores it may use",
    )
    models_per_gpu: int = Field(
        default=2, ge=1, description="processes that share a GPU of this machine, each its models"
    )
    address: str = Field(
        default="",
        description="of a cluster, as tcp://host:8786 (dask), host:6379 or auto (ray); '': none",
    )

    @property
    def processes(self) -> int:
        """`workers` on this machine, now; auto is what its container, its pinning, its SLURM job
        leave, and one where the backend is serial."""
        if self.workers != "auto":
            return self.workers
        if self.backend == "serial":
            return 1
        from joblib.externals.loky import cpu_count

        job = os.environ.get("SLURM_CPUS_PER_TASK") or os.environ.get("SLURM_CPUS_ON_NODE") or ""
        cores: int = cpu_count()
        return min(cores, int(job)) if job.isdecimal() and int(job) else cores

    @field_validator("address")
    @classmethod
    def _of_a_cluster(cls, address: str, info: ValidationInfo) -> str:
        if address and info.data.get("backend") in ("serial", "loky"):
            raise ValueError("only backend dask or ray takes an address")
        return address
