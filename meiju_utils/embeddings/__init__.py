"""Embeddings of audio, faces and text: encoders by name, one store each, probes to choose by."""

from meiju_utils.embeddings.describe import (
    absences,
    check_modalities,
    degeneracy,
    project,
    stores_in,
    stores_table,
)
from meiju_utils.embeddings.encoders import all_encoders
from meiju_utils.embeddings.extract import extract_features, open_features
from meiju_utils.embeddings.npy import import_folder
from meiju_utils.embeddings.probe import (
    cached_probe_table,
    probe_encoders,
)
from meiju_utils.embeddings.store import FeatureStore
from meiju_utils.embeddings.tiny import write_tiny_checkpoints

__all__ = [
    "FeatureStore",
    "absences",
    "all_encoders",
    "cached_probe_table",
    "check_modalities",
    "degeneracy",
    "extract_features",
    "import_folder",
    "open_features",
    "probe_encoders",
    "project",
    "stores_in",
    "stores_table",
    "write_tiny_checkpoints",
]
