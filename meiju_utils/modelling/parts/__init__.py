"""The parts of the joint network, by kind and name. One file a kind; a new part is a line here."""

from meiju_utils.modelling.parts.encoders import LstmEncoder, TextCnn
from meiju_utils.modelling.parts.fusion import TransformerFusion
from meiju_utils.modelling.parts.heads import MlpHead
from meiju_utils.modelling.parts.interaction import GatedInteraction

# Called with (width of the features, hidden units).
ENCODERS: dict[str, type] = {"lstm": LstmEncoder, "textcnn": TextCnn}
# Called with (hidden units).
FUSIONS: dict[str, type] = {"transformer": TransformerFusion}
# Called with (hidden units of the own task, of the other).
INTERACTIONS: dict[str, type] = {"gated": GatedInteraction}
# Called with (number of tokens, hidden units, classes).
HEADS: dict[str, type] = {"mlp": MlpHead}

__all__ = ["ENCODERS", "FUSIONS", "HEADS", "INTERACTIONS"]
