# The names of the package and where each is from; read by lazy_loader and by type checkers.

from .book import load_recipes as load_recipes
from .book import make_recipes as make_recipes
from .experiment import Experiment as Experiment
from .findings import against as against
from .findings import compare as compare
from .findings import paper_findings as paper_findings
from .findings import reliability_of as reliability_of
from .findings import scores_on as scores_on
from .graph import recipes_of as recipes_of
from .labels import label_shift as label_shift
from .labels import pseudo_labels_of as pseudo_labels_of
from .pieces import piece_table as piece_table
from .pieces import recipes_of_pieces as recipes_of_pieces
from .pool_labels import PseudoLabelSet as PseudoLabelSet
from .pool_labels import has_pool as has_pool
from .pool_labels import make_pseudo_labels as make_pseudo_labels
from .recipe import Recipe as Recipe
from .training import TABLE_ONE as TABLE_ONE
from .training import load_experiment as load_experiment
from .training import members_of as members_of
from .training import rows_of as rows_of
from .training import train_recipe as train_recipe
from .training import train_recipes as train_recipes
from .weights import heaviest_members as heaviest_members
from .weights import opinion_weights as opinion_weights
