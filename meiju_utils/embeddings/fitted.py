"""An encoder as a run has it, for clips that are not the run's. Imports `extract`, `planning`."""

from dataclasses import dataclass
from typing import Any

from meiju_utils.arrays import Arrays, read_arrays
from meiju_utils.challenge import Modality
from meiju_utils.config import EncoderConfig
from meiju_utils.embeddings.base import ClipSource, Encoder
from meiju_utils.embeddings.extract import FITTED, open_features
from meiju_utils.embeddings.planning import plan_store
from meiju_utils.errors import ConfigError, DamagedError
from meiju_utils.run import Run


@dataclass(frozen=True)
class FittedEncoder:
    """`config` names a hub model's commit; `state` is what was fitted on texts, if anything was."""

    config: EncoderConfig
    encoder: Encoder
    width: int
    state: Arrays | None


def fitted_encoder(
    run: Run, modality: Modality, config: EncoderConfig, source: ClipSource
) -> FittedEncoder:
    """The encoder that made the features of a run's clips, `source`.

    ConfigError where they were imported: nothing here makes those of another clip.
    MissingStageError where 02 has not run.
    """
    if config.name.startswith("npy:"):
        raise ConfigError(
            f"The {modality} features of this run were imported (npy:), and what made them is not "
            "known: no other clip can be asked about. Choose an encoder in the profile's "
            "embeddings and train anew."
        )
    store = open_features(run, modality, config, source)
    plan = plan_store(run, modality, config, source)
    state = None
    if hasattr(plan.encoder, "restore"):
        restorable: Any = plan.encoder
        try:
            state, _ = read_arrays(store.folder / FITTED)
        except (OSError, DamagedError):  # a store of an earlier version, say: its texts are here
            state = restorable.load().state
    return FittedEncoder(plan.config, plan.encoder, store.width, state)
