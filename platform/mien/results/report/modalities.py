"""What a report shows of modalities: the score with each subset of them, their shares of it, what one knows that
another does not, and what is left when they go missing or get noisy."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from mien.experiment import Experiment
from mien.experiment.effects import without_effect
from mien.results import modalities
from mien.results.conditions import Conditioned
from mien.results.intervals import subject_values, t_interval
from mien.results.json_values import Json, as_json
from mien.results.metrics import score
from mien.results.report import figures
from mien.results.report import figures_of_conditions as drawn
from mien.results.report.conditions import AsTested, scored
from mien.results.report.estimates import estimate
from mien.results.report.page import digits, interval
from mien.results.report.tested import Tested

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NOTHING = "none (prior)"


def summary(experiment: Experiment, tested: Tested, asked: AsTested) -> Json:
    """The keys `modalities` and `noise` of metrics.json, None where the runs were not asked."""
    hidden = {condition.hidden: one for condition, one in asked.items() if condition.hidden}
    noisy = {condition.noise: one for condition, one in asked.items() if condition.noise}
    return as_json(
        {
            "modalities": _of_modalities(experiment, tested, hidden) if hidden else None,
            "noise": _of_noise(tested, noisy) if noisy else None,
        }
    )


def _of_modalities(experiment: Experiment, tested: Tested, hidden: Mapping[tuple[str, ...], Conditioned]) -> Json:
    names = max(hidden, key=len)  # all of them, in the order of the inputs
    everything = Conditioned(tested.values)
    seen = {frozenset(names): everything} | {frozenset(names) - frozenset(gone): one for gone, one in hidden.items()}
    rows = [
        {
            "seen": [name for name in names if name in subset],
            "score": estimate(scored(tested, one), tested.primary),
        }
        for subset, one in sorted(
            seen.items(), key=lambda item: (len(item[0]), [names.index(n) for n in names if n in item[0]])
        )
    ]
    alone = {name: scored(tested, seen[frozenset({name})]) for name in names}
    by_parents = not experiment.data.features
    return {
        "names": list(names),
        "by": "parents" if by_parents else "masks",
        "modality_dropout": None if by_parents else modality_dropout(experiment),
        "subsets": rows,
        "shapley": _shapley(tested, seen) if len(seen) == 2 ** len(names) else None,
        **{"classes": _overlap_of_classes, "dimensions": _overlap_of_dimensions}[tested.target.kind](alone),
    }


def modality_dropout(experiment: Experiment) -> float:
    """The probability with which inputs were hidden in training; 0 in families that know no such thing."""
    path = "model.modality_dropout"
    return 0.0 if path in without_effect(experiment) else getattr(experiment.model, "modality_dropout", 0.0)


def _shapley(tested: Tested, seen: Mapping[frozenset[str], Conditioned]) -> Json:
    """Of each modality its share of the score, with its interval; of errors, what it takes away of them.

    The share is a sum of scores with fixed weights, so the subjects' values of it are such sums of theirs.
    """
    metric = tested.primary
    sign = 1 if metric.higher_is_better else -1
    rows = {subset: scored(tested, one) for subset, one in seen.items()}
    values = modalities.shapley({subset: sign * score(metric, *one[:2]) for subset, one in rows.items()})
    people = modalities.shapley({subset: sign * subject_values(one, metric) for subset, one in rows.items()})
    ends = {name: t_interval(of_subjects) for name, of_subjects in people.items()}
    return {name: {"value": values[name], "low": ends[name][0], "high": ends[name][1]} for name in values}


def _overlap_of_classes(alone: Mapping[str, tuple]) -> Json:
    """Of each pair how often both are right, one only, or neither; oracle: how often any modality alone is."""
    right = {name: modalities.right(np.asarray(truth), np.asarray(p)) for name, (truth, p, _) in alone.items()}
    pairs = []
    for one, other in combinations(right, 2):
        found = modalities.overlap(right[one], right[other])
        pairs.append({"one": one, "other": other, **found._asdict(), "oracle": found.oracle})
    return {
        "pairs": pairs,
        "oracle": float(np.any(list(right.values()), axis=0).mean()),
        "alone": {name: float(own.mean()) for name, own in right.items()},
    }


def _overlap_of_dimensions(alone: Mapping[str, tuple]) -> Json:
    """Of each pair how often one is nearer to the rating, how their errors go together, and the mean error of the
    nearer one; oracle: that of the nearest of all."""
    off = {name: modalities.errors(np.asarray(truth), np.asarray(p)) for name, (truth, p, _) in alone.items()}
    left = {name: (np.asarray(p) - np.asarray(truth)).ravel() for name, (truth, p, _) in alone.items()}
    pairs = []
    for one, other in combinations(off, 2):
        known = ~np.isnan(off[one])
        a, b = off[one][known], off[other][known]
        rated = ~np.isnan(left[one])
        pairs.append(
            {
                "one": one,
                "other": other,
                "one_nearer": float((a < b).mean()),
                "correlation": _correlation(left[one][rated], left[other][rated]),
                "oracle": float(np.minimum(a, b).mean()),
            }
        )
    return {
        "pairs": pairs,
        "oracle": float(np.nanmean(np.min(list(off.values()), axis=0))),
        "alone": {name: float(np.nanmean(own)) for name, own in off.items()},
    }


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a, b)[0, 1]) if len(a) > 1 and np.ptp(a) and np.ptp(b) else np.nan


def _of_noise(tested: Tested, noisy: Mapping[float, Conditioned]) -> list[Json]:
    """The score at each level, from 0."""
    levels = {0.0: Conditioned(tested.values)} | {level: noisy[level] for level in sorted(noisy)}
    return [{"level": level, "score": estimate(scored(tested, one), tested.primary)} for level, one in levels.items()]


# ------------------------------------------------------------------ figures and words


def draw(found: Json, label: str) -> dict[str, Figure]:
    """Name to figure."""
    result = {}
    if of := found["modalities"]:
        rows = [
            figures.Estimate(
                _named(row["seen"]), _number(row["score"]["value"]), row["score"]["low"], row["score"]["high"]
            )
            for row in reversed(of["subsets"])
        ]
        result["modality_subsets"] = figures.forest(rows, f"Test {label}", mark=rows[-1].value)
        result["modalities_missing"] = drawn.missing(_by_size(of), label)
        if of["shapley"]:
            shares = [
                figures.Estimate(name, _number(one["value"]), one["low"], one["high"])
                for name, one in sorted(of["shapley"].items(), key=lambda item: -_number(item[1]["value"]))
            ]
            result["modality_shares"] = figures.forest(shares, f"Share of the test {label}", mark=0)
    if found["noise"]:
        points = [(row["level"], row["score"]) for row in found["noise"]]
        result["noise"] = drawn.against_noise(points, label)
    return result


def alts(found: Json, label: str) -> dict[str, str]:
    """What each figure shows, for those who do not see it."""
    result = {}
    if of := found["modalities"]:
        told = "; ".join(f"{_named(row['seen'])} {digits(row['score']['value'])}" for row in of["subsets"])
        result["modality_subsets"] = f"Test {label} with each subset of the modalities: {told}."
        missing = "; ".join(f"{n} missing {digits(float(np.mean(v)))}" for n, v in _by_size(of).items())
        result["modalities_missing"] = f"Mean test {label} by the number of modalities that are missing: {missing}."
        if of["shapley"]:
            shares = "; ".join(f"{name} {digits(one['value'], signed=True)}" for name, one in of["shapley"].items())
            result["modality_shares"] = f"Share of each modality in the test {label}: {shares}."
    if found["noise"]:
        told = "; ".join(f"{row['level']:g} {digits(row['score']['value'])}" for row in found["noise"])
        result["noise"] = f"Test {label} by the standard deviation of the noise: {told}."
    return result


def page_values(found: Json, kind: str, label: str) -> Json:
    """What conditions.html shows of modalities and noise besides the summary."""
    of = found["modalities"]
    if not of:
        return {"modality_caveats": []}
    return {
        "modality_caveats": [_how(of)],
        "subset_rows": [
            (_named(row["seen"]), digits(row["score"]["value"]), interval(row["score"])) for row in of["subsets"]
        ],
        "share_rows": [
            (name, digits(one["value"], signed=True), interval(one, signed=True))
            for name, one in (of["shapley"] or {}).items()
        ],
        "overlap": {"classes": _overlap_table, "dimensions": _nearness_table}[kind](of),
        "oracle_sentence": {"classes": _oracle_of_classes, "dimensions": _oracle_of_dimensions}[kind](of),
    }


def _how(of: Json) -> Json:
    """How the subsets came about, and whether that is fair to them."""
    if of["by"] == "parents":
        title = "Subsets by parents."
        text = "Parents were hidden from the fusion. Each was trained alone, so none had to do without anything."
    elif of["modality_dropout"]:
        title = "Subsets by masks."
        text = (
            "Modalities were hidden from the finished model, which learnt to do without: model.modality_dropout is "
            f"{of['modality_dropout']:g}. A model trained with one modality alone may still do better with it."
        )
    else:
        title = "Not a fair comparison of modalities."
        text = (
            "Modalities were hidden from a model that had never been without (no modality dropout in training). The "
            "scores say how much this model leans on each, not what each is worth: for that, train with "
            "model.modality_dropout above 0, or a series with each modality alone."
        )
    is_warning = of["by"] == "masks" and not of["modality_dropout"]
    return {"kind": "subsets", "is_warning": is_warning, "title": title, "text": text}


def _overlap_table(of: Json) -> Json:
    return {
        "caption": "Share of the test clips that each of two modalities alone gets right.",
        "head": ["Pair", "Both", "First only", "Second only", "Neither", "Either (oracle)"],
        "rows": [
            (
                f"{p['one']}, {p['other']}",
                *(digits(p[key]) for key in ("both", "only_one", "only_other", "neither", "oracle")),
            )
            for p in of["pairs"]
        ],
    }


def _nearness_table(of: Json) -> Json:
    return {
        "caption": "Which of two modalities alone is nearer to the rating, and how their errors go together.",
        "head": ["Pair", "First is nearer", "Correlation of errors", "Error of the nearer (oracle)"],
        "rows": [
            (f"{p['one']}, {p['other']}", *(digits(p[key]) for key in ("one_nearer", "correlation", "oracle")))
            for p in of["pairs"]
        ],
    }


def _oracle_of_classes(of: Json) -> str:
    best = max(of["alone"].values())
    return (
        f"Who knew clip by clip which modality to believe would be right {digits(of['oracle'])} of the time, against "
        f"{digits(best)} of the best one alone: that gap is what a fusion that chooses between them could win."
    )


def _oracle_of_dimensions(of: Json) -> str:
    best = min(of["alone"].values())
    return (
        f"Who knew clip by clip which modality to believe would be off by {digits(of['oracle'])} on average, against "
        f"{digits(best)} of the best one alone. Errors that go together, a correlation near 1, leave a fusion little."
    )


def _by_size(of: Json) -> dict[int, list[float]]:
    """Number of modalities that are missing to the scores of those subsets."""
    found: dict[int, list[float]] = {}
    for row in reversed(of["subsets"]):
        found.setdefault(len(of["names"]) - len(row["seen"]), []).append(_number(row["score"]["value"]))
    return dict(sorted(found.items()))


def _named(seen: list[str]) -> str:
    return " + ".join(seen) or NOTHING


def _number(value: float | None) -> float:
    return np.nan if value is None else value
