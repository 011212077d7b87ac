"""RunJob: a run that is to be trained."""

from __future__ import annotations

from typing import NamedTuple

from mien.data.splits import Split
from mien.experiment import Experiment
from mien.results.run import Run


class RunJob(NamedTuple):
    """A run to be trained: of which experiment, on which split, reading the predictions of which other runs."""

    run: Run
    experiment: Experiment
    split: Split
    parents: tuple[Run, ...] = ()
