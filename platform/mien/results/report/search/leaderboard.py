"""Leaderboard: the trials of a search in the order of their merit; those that did not train to their end have none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mien.results.history import is_number
from mien.results.report.page import digits
from mien.results.search_folder import Trial
from mien.results.settings import text


def counts(n_trials: Mapping[str, int]) -> str:
    """ "12 trials: 8 done, 3 pruned, 1 failed" """
    total = sum(n_trials.values())
    parts = ", ".join(f"{n} {state}" for state, n in n_trials.items() if n)
    return f"{total} {'trial' if total == 1 else 'trials'}: {parts}" if parts else "no trial yet"


def ranked_row(rank: int, trial: Trial, paths: Sequence[str], *, has_finals: bool) -> tuple[Any, ...]:
    return (
        "winner" if rank == 1 else f"{rank}",
        *([digits(trial.inner_score)] if has_finals else []),
        digits(trial.score),
        *(short(trial.point.get(path)) for path in paths),
        f"{trial.epoch} of {trial.n_epochs}",
        f"{trial.seconds:,.0f}",
        trial.number,
    )


def other_row(trial: Trial, paths: Sequence[str]) -> tuple[Any, ...]:
    score = trial.score if is_number(trial.score) else None
    return (
        trial.number,
        trial.state,
        trial.reason or ("its score is not a number" if trial.state == "done" else ""),
        digits(score),
        f"{trial.n_epochs}",
        f"{trial.seconds:,.0f}",
        *(short(trial.point.get(path)) for path in paths),
    )


def short(value: Any) -> str:
    """A value as a person would note it: four digits do for a number drawn at random."""
    return f"{value:.4g}" if isinstance(value, float) else text(value)
