"""True labels of clips that a run does not learn from, where they are known.

They choose nothing: what was chosen without them is judged by them. Imports `demo`, `predictions`,
`run`.
"""

import pandas as pd

from meiju_utils.predictions import labelled
from meiju_utils.run import Run


def read_truth(run: Run) -> pd.DataFrame | None:
    """True labels (clip_id, split, a label a task) of test clips, where they are known, else None.

    Of a synthetic corpus those of all clips, of clips of one's own those of the test clips that
    have labels in their table. MissingStageError before 01 has run, of the latter.
    """
    if run.setting.is_official:
        from meiju_utils.corpus.demo import read_true_labels  # brings OpenCV, PyAV and SciPy

        return read_true_labels(run.data_dir)
    known = labelled(run.table("clips"), run.setting.tasks, "test")
    columns = ["clip_id", "split", *run.setting.tasks]
    return known[columns].reset_index(drop=True) if len(known) else None
