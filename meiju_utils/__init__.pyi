# The names of the front door and where each is from; read by lazy_loader and by type checkers.

from .config import built_in_profiles as built_in_profiles
from .config import load_profile as load_profile
from .corpus.demo import build_demo_corpus as build_demo_corpus
from .corpus.demo import read_truth as read_truth
from .corpus.official import read_corpus as read_corpus
from .embeddings import FeatureStore as FeatureStore
from .embeddings import cached_probe_table as cached_probe_table
from .embeddings import extract_features as extract_features
from .embeddings import open_features as open_features
from .errors import ConfigError as ConfigError
from .errors import MeijuError as MeijuError
from .preprocessing import open_preprocessed as open_preprocessed
from .preprocessing import preprocess_corpus as preprocess_corpus
from .run import Run as Run
from .run import open_run as open_run

__version__: str
