"""Do intervals hold the truth as often as they say, and does p keep its level? The tables of docs/explanation/evaluation.md.

    pytest -s -m bench tests/benchmarks/test_intervals.py      a quarter of an hour to half an hour

A population of thousands of made-up people is drawn once; its pooled score is the truth. Each trial tests a few of them,
drawn at random, and asks whether the interval holds that truth. People differ in how hard they are to read, in which
emotions they show well, in their number of clips and in the classes that they lack; folds differ in how good their model
became. Two models see the same clips and share what makes a person hard. Before: the percentile bootstrap over subjects,
and twice the rarer side of 0, which mien used until 0.2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from mien.results import intervals
from mien.results.metrics import METRICS
from mien.results.scoring import Floats, Metric

pytestmark = [pytest.mark.bench, pytest.mark.slow]

TRIALS = 1_000
SUBJECTS = (5, 8, 12, 24, 91)
N_PEOPLE = 6_000  # of a population
N_CLASSES = 6
N_RESAMPLES = 1_000  # of the bootstrap before
EASE = np.array([0.2, 0.6, 0.0, -0.4, 0.3, -0.2])  # of each class, in logits
FOLDS = np.linspace(-0.4, 0.4, 6)  # skill of the model of each fold
CLASSES, DIMENSIONS = METRICS["classes"], METRICS["dimensions"]


class People(NamedTuple):
    """truth and predictions (one a model) of the clips of N_PEOPLE, and whose they are."""

    truth: NDArray[Any]
    predictions: list[Floats]
    person: NDArray[np.int64]

    def sums(self, metric: Metric, model: int = 0, own: NDArray[np.bool_] | None = None) -> Floats:
        """(people, ...) sums of a metric; own: of these clips only, people without one left out."""
        of = slice(None) if own is None else own
        sums = metric.sums(self.truth[of], self.predictions[model][of], self.person[of], N_PEOPLE).astype(np.float64)
        return sums if own is None else sums[np.unique(self.person[of])]


def people_of_classes(seed: int, *, models: int = 1, folds: bool = False, sharpness: float = 1.0) -> People:
    """Logits: a Gumbel noise, what a person always sounds like, and how well the true class shows."""
    rng = np.random.default_rng(seed)
    person = np.repeat(np.arange(N_PEOPLE), rng.integers(15, 90, N_PEOPLE))
    share = rng.dirichlet(np.full(N_CLASSES, 3.0), N_PEOPLE)
    lacks = rng.random(share.shape) < 0.15
    lacks[np.arange(N_PEOPLE), rng.integers(0, N_CLASSES, N_PEOPLE)] = False
    reached = np.cumsum(np.where(lacks, 0, share), axis=1)
    truth = (rng.random(len(person))[:, None] * reached[person, -1:] > reached[person]).sum(axis=1)
    hard = rng.normal(0, 0.5, N_PEOPLE)
    predictions = []
    for _ in range(models):
        skill = hard + rng.normal(0, 0.35, N_PEOPLE) + (FOLDS[np.arange(N_PEOPLE) % len(FOLDS)] if folds else 0)
        logits = rng.gumbel(size=(len(person), N_CLASSES)) + rng.normal(0, 0.4, share.shape)[person]
        shows = rng.normal(0, 0.5, share.shape)[person, truth]
        logits[np.arange(len(person)), truth] += 1.9 + EASE[truth] + skill[person] + shows
        e = np.exp(sharpness * (logits - logits.max(axis=1, keepdims=True)))
        predictions.append(e / e.sum(axis=1, keepdims=True))
    return People(truth, predictions, person)


def people_of_dimensions(seed: int, *, models: int = 1) -> People:
    """Two dimensions; people differ in their mean, and in how far the model follows them. One rating in ten is missing."""
    rng = np.random.default_rng(seed)
    person = np.repeat(np.arange(N_PEOPLE), rng.integers(15, 90, N_PEOPLE))
    rating = rng.normal(0, 0.25, (N_PEOPLE, 2))[person] + rng.normal(0, 0.35, (len(person), 2))
    hard = rng.normal(0, 0.15, N_PEOPLE)
    predictions = []
    for _ in range(models):
        slope = 0.6 + hard + rng.normal(0, 0.1, N_PEOPLE)
        off = rng.normal(0, 0.15, (N_PEOPLE, 2))[person]
        predictions.append(slope[person][:, None] * rating + off + rng.normal(0, 0.25, rating.shape))
    return People(np.where(rng.random(rating.shape) < 0.1, np.nan, rating), predictions, person)


def calibrated(people: People, seed: int) -> People:
    """The same predictions, and a truth drawn from them: an ECE of 0 but for the grain of the bins."""
    (p,) = people.predictions
    drawn = (np.random.default_rng(seed).random(len(p))[:, None] > np.cumsum(p, axis=1)).sum(axis=1)
    return people._replace(truth=np.minimum(drawn, N_CLASSES - 1))


# ------------------------------------------------------------------ before


def percentile(metric: Metric, sums: Floats, other: Floats | None, seed: int) -> tuple[float, float, float]:
    """low, high and p of the bootstrap that mien used before."""
    n = len(sums)
    times = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), N_RESAMPLES)

    def scores(of: Floats) -> Floats:
        return metric.value((times @ of.reshape(n, -1)).reshape(N_RESAMPLES, *of.shape[1:]))

    found = scores(sums) - (0 if other is None else scores(other))
    low, high = np.nanquantile(found, [0.025, 0.975])
    rarer = min(np.sum(found <= 0), np.sum(found >= 0))
    return float(low), float(high), min(1.0, 2 * float(rarer + 1) / (N_RESAMPLES + 1))


# ------------------------------------------------------------------ trials


class Found(NamedTuple):
    """Shares of the trials. level: of p <= 0.05 where the truth is 0. apart: interval and p disagree."""

    covered: float
    covered_before: float
    none: float
    level: float
    level_before: float
    least_before: float
    apart: float


def trials(metric: Metric, sums: Floats, n: int, other: Floats | None = None, *, folds: bool = False) -> Found:
    """n people at a time, with replacement; other: of a second model, of the same people."""
    rng = np.random.default_rng(n)
    truth = metric.value(sums.sum(axis=0)[None])[0] - (0 if other is None else metric.value(other.sum(axis=0)[None])[0])
    rows: list[tuple[float, ...]] = []
    for trial in range(TRIALS):
        drawn = rng.integers(0, len(sums), n)
        if folds:
            drawn = drawn - drawn % len(FOLDS) + np.arange(n) % len(FOLDS)
        values = intervals.values_of_sums(sums[drawn], metric)
        if other is not None:
            values = values - intervals.values_of_sums(other[drawn], metric)
        low, high = intervals.t_interval(values)
        p = intervals.sign_flip_p(values - truth) if other is not None else np.nan
        before_low, before_high, before_p = percentile(
            metric, sums[drawn], None if other is None else other[drawn], trial
        )
        rows.append(
            (
                low <= truth <= high,
                before_low <= truth <= before_high,
                np.isnan(low),
                p <= 0.05,
                before_p <= 0.05,
                before_p <= 2 / (N_RESAMPLES + 1) + 1e-12,
                (p <= 0.05) != (not low <= truth <= high),
            )
        )
    table = np.array(rows, float)
    there = table[:, 2] == 0
    return Found(*table[there][:, :2].mean(axis=0), table[:, 2].mean(), *table[:, 3:].mean(axis=0))


def of_scores() -> Iterator[tuple[str, Metric, Floats, bool]]:
    """What is covered: name, metric, sums of the population, whether folds differ."""
    people = people_of_classes(1)
    for name in ("uar", "wa", "macro_f1", "nll", "brier", "ece"):
        yield CLASSES[name].label, CLASSES[name], people.sums(CLASSES[name]), False
    yield "recall of one class", CLASSES["wa"], people.sums(CLASSES["wa"], own=people.truth == 3), False
    for words, sharpness in (("ECE, too sure", 2.0), ("ECE, not sure enough", 0.55)):
        yield words, CLASSES["ece"], people_of_classes(2, sharpness=sharpness).sums(CLASSES["ece"]), False
    yield "ECE of nearly 0", CLASSES["ece"], calibrated(people, 3).sums(CLASSES["ece"]), False
    seeds = people_of_classes(4, models=3)
    yield "UAR, three seeds", CLASSES["uar"], sum(seeds.sums(CLASSES["uar"], k) for k in range(3)), False  # type: ignore[misc]
    yield "UAR, six folds", CLASSES["uar"], people_of_classes(5, folds=True).sums(CLASSES["uar"]), True
    rated = people_of_dimensions(6)
    for name, metric in DIMENSIONS.items():
        yield DIMENSIONS[name].label, metric, rated.sums(metric), False


def of_pairs() -> Iterator[tuple[str, Metric, Floats, Floats]]:
    """Two models: of equals each person stands both ways round, so that the true difference is 0."""

    def both_ways(people: People, metric: Metric) -> tuple[Floats, Floats]:
        a, b = people.sums(metric), people.sums(metric, 1)
        return np.concatenate([a, b]), np.concatenate([b, a])

    equals = people_of_classes(7, models=2)
    for name in ("uar", "wa", "macro_f1"):
        yield f"{CLASSES[name].label}, equals", CLASSES[name], *both_ways(equals, CLASSES[name])
    rated = people_of_dimensions(8, models=2)
    for metric in DIMENSIONS.values():
        yield f"{metric.label}, equals", metric, *both_ways(rated, metric)
    # A leak: the model knows some of the people very well, others hardly; so the differences are skewed.
    people = people_of_classes(9, models=2)
    rng = np.random.default_rng(9)
    knows = rng.beta(0.5, 1.5, N_PEOPLE)[people.person] > rng.random(len(people.person))
    people.predictions[0][knows] = 0.9 * np.eye(N_CLASSES)[people.truth[knows]] + 0.1 / N_CLASSES
    yield "UAR, leakage gap", CLASSES["uar"], people.sums(CLASSES["uar"]), people.sums(CLASSES["uar"], 1)


def shown(head: str, rows: list[str]) -> None:
    columns = " | ".join(f"{n}" for n in SUBJECTS)
    print(f"\n| {head} | {columns} |\n|---|{'---|' * len(SUBJECTS)}", *rows, sep="\n", flush=True)


def row(name: str, found: list[Found], text: Callable[[Found], str]) -> str:
    return f"| {name} | {' | '.join(map(text, found))} |"


@pytest.mark.timeout(3600)
def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    rows, coverage, before = [], [], []
    for name, metric, sums, folds in of_scores():
        found = [trials(metric, sums, n, folds=folds) for n in SUBJECTS]
        rows.append(row(name, found, lambda f: f"{f.covered:.2f} ({f.covered_before:.2f})"))
        coverage += [f.covered for f in found]
        before += [f.covered_before for f in found]
    shown("interval of a score, after (before)", rows)
    assert min(coverage) > 0.84 and np.mean(coverage) > 0.93, "the least is that of an ECE of nearly 0"
    assert np.mean(before) < 0.88, "the bootstrap before was too narrow; if it is not here, this simulation is too easy"


@pytest.mark.timeout(3600)
def test_differences_hold_the_truth_and_p_keeps_its_level() -> None:
    covered, levels, everything, equals = [], [], [], []
    for name, metric, one, other in of_pairs():
        found = [trials(metric, one, n, other) for n in SUBJECTS]
        covered.append(row(name, found, lambda f: f"{f.covered:.2f} ({f.covered_before:.2f})"))
        is_null = "equals" in name  # before, p was of 0 alone
        levels.append(
            row(name, found, lambda f: f"{f.level:.3f}" + (f" ({f.level_before:.3f})" if is_null else ""))  # noqa: B023
        )
        everything += found
        equals += found if is_null else []
    shown("interval of a difference, after (before)", covered)
    shown("p at or below 0.05 though there is no difference, after (before)", levels)
    shown("p below 0.002 before, mean over metrics", [row("equals", _means(equals), lambda f: f"{f.least_before:.3f}")])
    shown("interval and p disagree, mean over metrics", [row("all", _means(everything), lambda f: f"{f.apart:.3f}")])
    assert all(0.91 < f.covered < 0.98 for f in everything)
    assert all(f.level <= 0.08 for f in everything)
    few = equals[:: len(SUBJECTS)]
    assert all(f.level == 0 for f in few), "five subjects cannot reach 0.05"
    assert np.mean([f.level_before for f in few]) > 0.1
    assert np.mean([f.apart for k, f in enumerate(everything) if k % len(SUBJECTS)]) < 0.02, "six subjects or more"


def _means(found: list[Found]) -> list[Found]:
    """By number of subjects."""
    k = len(SUBJECTS)
    return [Found(*np.mean(found[i::k], axis=0)) for i in range(k)]
