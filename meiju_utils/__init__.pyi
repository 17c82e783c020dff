# The names of the front door and where each is from; read by lazy_loader and by type checkers.

from .bundle import Predictor as Predictor
from .config import load_profile as load_profile
from .corpus.demo import build_demo_corpus as build_demo_corpus
from .corpus.opening import open_corpus as open_corpus
from .corpus.truth import read_truth as read_truth
from .decisions import agreement as agreement
from .embeddings import extract_features as extract_features
from .embeddings import open_features as open_features
from .errors import MeijuError as MeijuError
from .opening import open_run as open_run
from .predictions import Answers as Answers
from .predictions import Predictions as Predictions
from .predictions import Targets as Targets
from .preprocessing import open_preprocessed as open_preprocessed
from .preprocessing import preprocess_corpus as preprocess_corpus
from .recipes import against as against
from .recipes import compare as compare
from .recipes import gate_openings as gate_openings
from .recipes import heaviest_members as heaviest_members
from .recipes import label_shift as label_shift
from .recipes import load_experiment as load_experiment
from .recipes import make_pseudo_labels as make_pseudo_labels
from .recipes import members_of as members_of
from .recipes import modality_scores as modality_scores
from .recipes import network_parts as network_parts
from .recipes import opinion_weights as opinion_weights
from .recipes import paper_findings as paper_findings
from .recipes import piece_table as piece_table
from .recipes import pseudo_labels_of as pseudo_labels_of
from .recipes import recipes_of_pieces as recipes_of_pieces
from .recipes import reliability_of as reliability_of
from .recipes import rows_of as rows_of
from .recipes import train_recipes as train_recipes
from .reporting import conclusions as conclusions
from .reporting import plots as plots
from .reporting import tables as tables
from .reporting.gather import write_report as write_report
from .reporting.results import write_results as write_results
from .run import Run as Run
from .scoring import YARDSTICKS as YARDSTICKS
from .submission import publish_submission as publish_submission
from .submission import read_ledger as read_ledger
from .submission import record_submission as record_submission
from .submission import remaining as remaining

__version__: str
