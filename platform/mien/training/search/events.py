"""SearchEvents: what a search reports while it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from mien.data.splits import Split
from mien.results.run import Run
from mien.results.search_folder import SearchFolder, Trial
from mien.training.follower import OnEpoch


class SearchEvents(NamedTuple):
    """Called while a search runs; each may be left as it is.

    on_fold: before the trials of a fold. on_trial: when one begins, after each epoch, and when it ends. on_finals,
    on_confirm: how many runs are to do on inner splits, and to be tested; on_epoch, on_final and on_run: those.
    """

    on_fold: Callable[[SearchFolder, Split], None] = lambda folder, split: None
    on_trial: Callable[[Trial], None] = lambda trial: None
    on_warning: Callable[[str], None] = lambda text: None
    on_finals: Callable[[int], None] = lambda n_runs: None
    on_final: Callable[[Run], None] = lambda run: None
    on_confirm: Callable[[int], None] = lambda n_runs: None
    on_epoch: OnEpoch = lambda run, record: None
    on_run: Callable[[Run, Mapping[str, Any]], None] = lambda run, metrics: None
