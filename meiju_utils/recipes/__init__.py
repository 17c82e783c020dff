"""Recipes: experiments named in YAML, trained once, kept by all that shapes them."""

from meiju_utils.recipes.book import load_recipes, make_recipes
from meiju_utils.recipes.experiment import Experiment
from meiju_utils.recipes.findings import (
    against,
    compare,
    paper_findings,
    reliability_of,
    scores_on,
)
from meiju_utils.recipes.graph import recipes_of
from meiju_utils.recipes.labels import label_shift, pseudo_labels_of
from meiju_utils.recipes.pieces import piece_table, recipes_of_pieces
from meiju_utils.recipes.pool_labels import PseudoLabelSet, has_pool, make_pseudo_labels
from meiju_utils.recipes.recipe import Recipe
from meiju_utils.recipes.training import (
    TABLE_ONE,
    load_experiment,
    members_of,
    rows_of,
    train_recipe,
    train_recipes,
)
from meiju_utils.recipes.weights import heaviest_members, opinion_weights
from meiju_utils.scoring import YARDSTICKS

__all__ = [
    "TABLE_ONE",
    "YARDSTICKS",
    "Experiment",
    "PseudoLabelSet",
    "Recipe",
    "against",
    "compare",
    "has_pool",
    "heaviest_members",
    "label_shift",
    "load_experiment",
    "load_recipes",
    "make_pseudo_labels",
    "make_recipes",
    "members_of",
    "opinion_weights",
    "paper_findings",
    "piece_table",
    "pseudo_labels_of",
    "recipes_of",
    "recipes_of_pieces",
    "reliability_of",
    "rows_of",
    "scores_on",
    "train_recipe",
    "train_recipes",
]
