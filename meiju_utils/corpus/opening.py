"""The corpus of a run, whichever kind it is. Imports `official`, `own`, `run`."""

from collections.abc import Mapping

from meiju_utils.challenge import Split
from meiju_utils.corpus.layout import Layout, find_layout
from meiju_utils.corpus.listing import list_folder
from meiju_utils.corpus.official import survey_corpus
from meiju_utils.corpus.own import own_layout, survey_own
from meiju_utils.corpus.survey import Corpus, Survey, sound_corpus
from meiju_utils.errors import CorpusError, DamagedError
from meiju_utils.files import read_record, set_aside, write_record
from meiju_utils.run import Run
from meiju_utils.run_folder import writing

DEAL = "split.json"  # in the run folder: how clips of one's own were dealt into splits


def open_corpus(run: Run) -> Corpus:
    """Read the corpus of a run: the official release, or clips of one's own with a `clips.csv`.

    How the latter were dealt into splits, where their table does not say it, is kept in the run
    folder. CorpusError for what `survey_run` finds to forbid using it.
    """
    corpus = sound_corpus(survey_run(run), run.setting)
    if not run.setting.is_official:
        scored = corpus.clips[corpus.clips["split"] != "unlabeled"]
        splits = dict(zip(scored["clip_id"], scored["split"], strict=True))
        if splits != _dealt(run):
            with writing(run.folder, "reading the corpus"):
                write_record(run.path(DEAL), {"shares": _shares(run), "splits": splits})
    return corpus


def survey_run(run: Run) -> Survey:
    """Look at a run's data folder as it is now; CorpusError only where there is no such corpus."""
    if run.setting.is_official:
        return survey_corpus(run.data_dir, run.setting, run.config.follow_links)
    if not run.data_dir.is_dir():
        raise CorpusError(f"No data folder {run.data_dir}.")
    return survey_own(run.config, run.data_dir, _dealt(run))


def layout_of(run: Run) -> Layout:
    """Where the files of a run's corpus lie, by the latest listing of its data folder."""
    listing = list_folder(run.data_dir, run.config.follow_links)
    if run.setting.is_official:
        return find_layout(run.data_dir, run.setting, listing)
    return own_layout(listing)


def _dealt(run: Run) -> Mapping[str, Split]:
    try:
        record = read_record(run.path(DEAL))
    except FileNotFoundError:
        return {}
    except DamagedError as error:
        if run.path("clips.parquet").is_file():  # it says the same
            set_aside(run.path(DEAL))
            clips = run.table("clips")
            scored = clips[clips["split"].isin(["train", "valid", "test"])]
            return dict(zip(scored["clip_id"], scored["split"], strict=True))
        raise DamagedError(
            f"{error} It says which clips were dealt to which split. Delete it, and they are dealt "
            "anew."
        ) from error
    splits: Mapping[str, Split] = record["splits"]
    return splits if record["shares"] == _shares(run) else {}


def _shares(run: Run) -> dict[str, float]:
    return run.config.split.model_dump(mode="json")
