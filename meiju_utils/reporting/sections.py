"""The chapters of the report: each is made from what its stage computed, or names the notebook.

Imports `challenge`, `reporting`, `run`, `submission.faults`.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler

from meiju_utils.challenge import LEADERBOARD_TRACK1_MANDARIN
from meiju_utils.predictions import labelled
from meiju_utils.reporting import plots, tables
from meiju_utils.reporting.mistakes import Mistake, cards
from meiju_utils.reporting.results import Results
from meiju_utils.run import Run
from meiju_utils.scoring import JOINT
from meiju_utils.submission.faults import SubmissionCheck

_SAMPLE_CLIPS = 8


@dataclass(frozen=True)
class PoolParts:
    """Of pseudo labels: sentences, the audit by threshold and the asked one, the choice by class.

    `rules` is a table of `tables.pseudo_label_rows`.
    """

    told: Sequence[str]
    audit: pd.DataFrame
    asked: float
    by_class: pd.DataFrame
    rules: pd.DataFrame


@dataclass(frozen=True)
class ReportParts:
    """What a report is made of; None (or empty) where it was not computed.

    `clips` and `problems` are the run's tables. `encoders` is a probe table (see
    `plots.probe_scores`); `networks` (beside yardsticks), `table_one` and `members` (of `recipe`,
    which is handed in, and its own) are score tables on the validation split, `agreement` that of
    `decisions`.
    `truth` and `answers` (a column a task, same clips, same order) give the confusions
    on the test split where its labels are known. `history` is the data of `plots.training_curves`.
    `verdicts` are sentences on "network" against yardsticks, the paper's "steps" and what is handed
    in on "test". `figures` are further ones by caption, `keys` the artefacts' keys by name,
    `seconds` the time the run took. Of what is handed in: data of `reliability` diagrams, `weights`
    of its members, `held_out`, its scores on held-out train clips and on validation, and `mistakes`
    on the clips `judged_on`.
    """

    clips: pd.DataFrame | None = None
    problems: pd.DataFrame | None = None
    encoders: pd.DataFrame | None = None
    history: pd.DataFrame | None = None
    networks: pd.DataFrame | None = None
    pool: PoolParts | None = None
    table_one: pd.DataFrame | None = None
    recipe: str = ""
    members: pd.DataFrame | None = None
    agreement: pd.DataFrame | None = None
    truth: pd.DataFrame | None = None
    answers: pd.DataFrame | None = None
    check: SubmissionCheck | None = None
    results: Results | None = None
    verdicts: Mapping[str, str] = field(default_factory=dict)
    figures: Mapping[str, Figure] = field(default_factory=dict)
    keys: Mapping[str, str] = field(default_factory=dict)
    seconds: float | None = None
    reliability: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    weights: pd.DataFrame | None = None
    held_out: pd.DataFrame | None = None
    mistakes: Sequence[Mistake] = ()
    judged_on: str = "validation"


@dataclass
class Section:
    """A chapter of the page: blocks of HTML, or the notebook to run for them."""

    title: str
    intro: str
    missing: str = ""
    blocks: list[Markup] = field(default_factory=list)

    def table(self, styler: Styler) -> None:
        # pandas escapes the cells: their formatter does (see reporting.tables).
        self.blocks.append(Markup('<div class="table">{}</div>').format(Markup(styler.to_html())))

    def figure(self, figure: Figure, caption: str) -> None:
        data = base64.b64encode(plots.png(figure)).decode("ascii")
        self.blocks.append(
            Markup('<figure><img alt="{0}" src="data:image/png;base64,{1}"></figure>').format(
                f"{caption}. {plots.alt_text(figure)}", data
            )
        )

    def verdict(self, parts: "ReportParts", name: str) -> None:
        """What a comparison came to, in its sentence, where it was made."""
        if name in parts.verdicts:
            self.text(parts.verdicts[name])

    def text(self, text: str) -> None:
        self.blocks.append(Markup("<p>{}</p>").format(text))


def sections_of(run: Run, parts: ReportParts) -> list[Section]:
    """All chapters, in the order of the notebooks."""
    chapters = [
        _corpus(parts, run),
        _encoders(parts),
        _training(parts),
        _pseudo_labels(parts),
        _table_one(parts, run),
        _submission(parts),
        _test(parts, run),
        *([_mistakes(parts)] if parts.mistakes else []),
    ]
    if parts.figures:
        more = Section("Further figures", "")
        for caption, figure in parts.figures.items():
            more.text(caption)
            more.figure(figure, caption)
        chapters.append(more)
    return chapters


def _corpus(parts: ReportParts, run: Run) -> Section:
    classes = run.setting.classes
    pairs = (
        " How the two go together differs between the labelled clips and the unlabelled pool, "
        "which matters for pseudo labels."
    )
    section = Section(
        "The corpus",
        run.setting.told + (pairs if run.setting.is_official else ""),
        "01_preprocessing",
    )
    if parts.clips is not None:
        section.table(tables.show_table(tables.count_table(parts.clips, classes)))
        known = labelled(parts.clips, classes)
        if len(known):
            sample = known.sample(min(_SAMPLE_CLIPS, len(known)), random_state=0).sort_index()
            section.table(tables.show_clips(sample, classes, caption="Some labelled clips"))
        if len(classes) > 1:
            section.figure(plots.label_pair_heatmap(parts.clips, classes), "Label pairs")
        section.figure(plots.label_histograms(parts.clips, classes), "Labels by split")
        section.figure(plots.duration_histogram(parts.clips), "Durations by split")
    if parts.problems is not None:
        clips = parts.problems["clip_id"].replace("", None)  # "": of the corpus as a whole
        found = clips.nunique()
        section.text(
            f"Problems found in {found} clip{'s' * (found > 1)}."
            if found
            else "No clip has a problem."
        )
        if len(clips):
            problems = parts.problems.assign(clip_id=clips)
            counts = problems.groupby(["stage", "problem"], as_index=False).agg(
                clips=("clip_id", "nunique"), example=("reason", "first")
            )
            section.table(tables.show_table(counts))
    return section


def _encoders(parts: ReportParts) -> Section:
    section = Section(
        "What the embeddings know",
        "Cross-validated linear probes on utterance means, one encoder at a time.",
        "02_embedding_extraction",
    )
    if parts.encoders is not None:
        section.figure(plots.probe_scores(parts.encoders), "Probe scores by encoder")
        section.table(tables.show_scores(parts.encoders))
    return section


def _training(parts: ReportParts) -> Section:
    section = Section(
        "The joint network and its yardsticks",
        "Means over seeds on the validation split, which trains nothing but chose each network's "
        "epoch, so that the networks' scores are a little too kind. The network must beat a linear "
        "model on the same embeddings to justify itself.",
        "03_baseline",
    )
    if parts.history is not None:
        section.figure(plots.training_curves(parts.history), "Training curves")
    if parts.networks is not None:
        section.figure(plots.score_bars(parts.networks), "Network and yardsticks")
        section.table(tables.show_scores(parts.networks))
    section.verdict(parts, "network")
    return section


def _pseudo_labels(parts: ReportParts) -> Section:
    section = Section(
        "Pseudo labels",
        "How many predictions on the unlabelled pool are confident, and how right such predictions "
        "are: on validation clips, whose labels are known but which chose the network's epoch, "
        "weighed by the classes predicted on the pool.",
        "04_pseudo_labelling",
    )
    if (pool := parts.pool) is not None:
        for told in pool.told:
            section.text(told)
        figure = plots.coverage_precision(pool.audit, pool.asked)
        section.figure(figure, "Precision and coverage by threshold")
        section.figure(plots.pseudo_label_balance(pool.by_class), "The choice by class")
        section.table(tables.show_scores(pool.rules, "Rules side by side, on the validation clips"))
    return section


def _table_one(parts: ReportParts, run: Run) -> Section:
    setting = run.setting
    own = Section(
        "The rows of the paper's Table I",
        "What one training of each row is worth on this corpus's validation split.",
        "05_head_variant_training",
    )
    beside = Section(
        "Table I of the paper, ours beside theirs",
        "Ours, what one training is worth, on this corpus's validation split, theirs on the test "
        "split of Track 1 Mandarin: the steps from row to row compare, the levels do not.",
        "05_head_variant_training",
    )
    section = beside if tables.has_paper([*setting.tasks, JOINT]) else own
    if parts.table_one is not None:
        section.figure(plots.table_one(parts.table_one), "Table I")
        section.table(tables.show_table_one(parts.table_one))
        section.verdict(parts, "steps")
        if official := setting.official_baseline:
            section.text(
                f"The organisers' baseline in this setting: emotion {official.emotion:.4f}, intent "
                f"{official.intent:.4f}, joint {official.joint:.4f}."
            )
        if setting.name == "track1-mandarin":
            board = ", ".join(f"{score:.4f}" for score in LEADERBOARD_TRACK1_MANDARIN)
            section.text(f"The leaderboard's joint scores: {board}.")
    return section


def _submission(parts: ReportParts) -> Section:
    section = Section(
        "What is handed in",
        "The recipe behind the answers, what it is made of, how alike its members are, and whether "
        "the file is as it must be.",
        "06_submission_ensembling",
    )
    if parts.members is not None:
        section.text(f"Handed in: {parts.recipe}.")
        section.table(
            tables.show_scores(parts.members, "Means over seeds, on the validation clips")
        )
    if parts.weights is not None and len(parts.weights):
        section.figure(plots.opinion_weights(parts.weights), "Weights of the members")
    if parts.held_out is not None and len(parts.held_out):
        section.table(tables.show_table(parts.held_out, "On held-out train and validation clips"))
    if parts.reliability:
        section.figure(plots.reliability_diagram(parts.reliability), "Are probabilities right?")
    if parts.agreement is not None and len(parts.agreement):
        section.figure(plots.agreement_heatmap(parts.agreement), "Agreement between members")
    if parts.check is not None:
        section.table(tables.show_check(parts.check))
    return section


def _mistakes(parts: ReportParts) -> Section:
    section = Section(
        "The most confident mistakes",
        f"Of the {parts.judged_on} clips those with the most probable wrong answers. Some labels "
        "may be wrong rather than the answer: look and listen.",
    )
    section.blocks.append(cards(parts.mistakes))
    return section


def _test(parts: ReportParts, run: Run) -> Section:
    section = Section(
        "The test split",
        "Known here only where the corpus is synthetic; otherwise the leaderboard tells."
        if run.setting.is_official
        else "Scores on test clips whose labels stand in the table of clips: they chose nothing.",
        "06_submission_ensembling",
    )
    results = parts.results
    if results is None:
        return section
    if not results.test_clips:
        section.text("The true labels of the test clips are not known.")
        return section
    table = results.on("test")
    title = f"True labels of {results.test_clips} test clips"
    section.figure(plots.score_bars(table, title), title)
    section.table(tables.show_scores(table))
    section.verdict(parts, "test")
    if parts.truth is not None and parts.answers is not None:
        confusions = plots.confusion_matrices(parts.truth, parts.answers, run.setting.classes)
        section.figure(confusions, "Confusions")
    return section
