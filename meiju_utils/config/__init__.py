"""The profile: every setting of a run, validated before hours of work depend on it."""

from meiju_utils.config.profile import Profile, Split
from meiju_utils.config.reading import (
    PROFILES,
    built_in_profiles,
    load_profile,
    parse_overrides,
    validate_profile,
)
from meiju_utils.config.sections import (
    Embeddings,
    Encoder,
    EncoderConfig,
    Faces,
    Parallel,
    Preprocessing,
    Training,
    Transcripts,
)

__all__ = [
    "PROFILES",
    "Embeddings",
    "Encoder",
    "EncoderConfig",
    "Faces",
    "Parallel",
    "Preprocessing",
    "Profile",
    "Split",
    "Training",
    "Transcripts",
    "built_in_profiles",
    "load_profile",
    "parse_overrides",
    "validate_profile",
]
