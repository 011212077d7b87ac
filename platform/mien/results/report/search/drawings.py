"""What the pictures of a search are drawn from: its trials as dots, curves and budgets; and which there are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mien.experiment.space import Choice, Distribution
from mien.results.history import is_number
from mien.results.json_values import Json
from mien.results.metrics import Metric
from mien.results.report import figures
from mien.results.report.search import pictures
from mien.results.report.search.importance import Importance
from mien.results.report.search.pictures import Budget, Curve, Dot
from mien.results.search_folder import SearchFolder, Trial


def draw(
    folder: SearchFolder, trials: Sequence[Trial], space: Mapping[str, Distribution], result: Json
) -> dict[str, Any]:
    """Name to figure; only those for which there is something to draw."""
    drawn: dict[str, Any] = {}
    names = {fold["fold"]: fold["name"] for fold in result["folds"]}
    dots = dots_of(folder, trials)
    done = [dot for dot in dots if dot.is_done]
    score_label = folder.metric.label
    label = height_label(names, score_label)
    estimates = [
        figures.Estimate(name, **{key: variant["score"][key] for key in ("value", "low", "high")})
        for name, variant in result["variants"].items()
        if variant["score"] and variant["score"]["value"] is not None
    ]
    if estimates:
        xlabel = f"Test {score_label}, 95 % interval over subjects"
        drawn["variants"] = figures.forest(estimates, xlabel, mark=estimates[0].value)
    if result["importance"]:
        by_fold = [{field["path"]: field["value"] for field in fold["importance"]} for fold in result["folds"]]
        pooled = [Importance(**field) for field in result["importance"]]
        drawn["importance"] = pictures.importance(pooled, by_fold if len(by_fold) > 1 else [])
    if len(done) > 1:
        drawn["parallel"] = pictures.parallel(done, space, label)
        drawn["slices"] = pictures.slices(dots, space, label)
        pair = _two_numeric(result, space)
        if pair:
            drawn["contour"] = pictures.contour(dots, *((path, space[path]) for path in pair))
    curves = _curves(folder, trials, names)
    if any(len(curve.values) > 1 for found in curves.values() for curve in found):
        drawn["curves"] = pictures.curves(curves, score_label)
    budgets = [_budget(names[fold], trials, fold, folder.metric) for fold in names]
    budgets = [budget for budget in budgets if np.isfinite(budget.best).sum() > 1]
    if budgets:
        drawn["budget"] = pictures.budget(budgets)
    return drawn


def height_label(names: Mapping[int, str], score_label: str) -> str:
    return f"Validation {score_label}, less its fold's mean" if len(names) > 1 else f"Validation {score_label}"


def _two_numeric(result: Json, space: Mapping[str, Distribution]) -> list[str]:
    """The two most important ranges; without an importance the first two. Empty where there are fewer."""
    paths = [field["path"] for field in result["importance"]] or list(space)
    numeric = [path for path in paths if not isinstance(space[path], Choice)]
    return numeric[:2] if len(numeric) > 1 else []


def _curves(folder: SearchFolder, trials: Sequence[Trial], names: Mapping[int, str]) -> dict[str, list[Curve]]:
    found: dict[str, list[Curve]] = {}
    for number, name in names.items():
        own = [trial for trial in trials if trial.fold == number]
        winner = next(iter(folder.ranked(own)), None)
        histories = [(trial, folder.history(trial)) for trial in own]
        found[name] = [
            Curve([_number(record.get("score")) for record in history], trial.state, trial == winner)
            for trial, history in histories
            if history
        ]
    return {name: curves for name, curves in found.items() if curves}


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _budget(name: str, trials: Sequence[Trial], fold: int, metric: Metric) -> Budget:
    """In the order in which trials ended. Time that pruned and failed ones took counts, their scores do not."""
    ended = sorted((t for t in trials if t.fold == fold and t.ended_s is not None), key=lambda t: t.ended_s or 0.0)
    minutes = np.cumsum([trial.seconds / 60 for trial in ended])
    scores = [_number(trial.score) if trial.state == "done" else math.nan for trial in ended]
    better = np.fmax if metric.higher_is_better else np.fmin
    best = better.accumulate(np.array(scores, dtype=float)) if scores else np.array([])
    return Budget(name, minutes.tolist(), best.tolist())


def dots_of(folder: SearchFolder, trials: Sequence[Trial]) -> list[Dot]:
    """Trials with a score; in several folds less the mean of the fold's finished ones. Folds without any are left out.

    A running or failed trial's score is of no known epoch: left out as well.
    """
    dots: list[Dot] = []
    folds = sorted({trial.fold for trial in trials})
    for fold in folds:
        own = [trial for trial in trials if trial.fold == fold]
        done = folder.ranked(own)
        if not done:
            continue
        level = float(np.mean([trial.score or 0.0 for trial in done])) if len(folds) > 1 else 0.0
        for trial in own:
            if trial in done or (trial.state == "pruned" and is_number(trial.score)):
                height = (trial.score or 0.0) - level
                merit = height if folder.metric.higher_is_better else -height
                dots.append(Dot(trial.point, height, merit, trial.state == "done", trial == done[0]))
    return dots
