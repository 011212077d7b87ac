"""What a report shows of uncertainty: how much of it is the model's own, and whether it tells right from wrong.

Three sources: one model's own probabilities, the draws of dropout, and the seeds as members of an ensemble.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mien.results import modalities, uncertainty
from mien.results.conditions import Condition, Conditioned
from mien.results.intervals import jackknifed
from mien.results.json_values import Json, as_json
from mien.results.predictions import read_predictions
from mien.results.report import figures_of_conditions as drawn
from mien.results.report.conditions import AsTested
from mien.results.report.page import digits, interval
from mien.results.report.tested import Tested
from mien.results.run import Series
from mien.results.scoring import Floats
from mien.results.uncertainty import Uncertainty

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WITHIN = 1.96  # standard deviations that hold 95 % of a normal distribution


class Source(NamedTuple):
    """A way to be unsure, of R rows: each clip once, or once per seed. key: single, dropout or seeds. of: what the
    numbers are, where it knows both kinds of uncertainty. mean: (R, K), what is predicted then."""

    key: str
    words: str
    clips: NDArray[np.int64]
    mean: Floats
    of: Uncertainty


def sources(series: Series, tested: Tested, asked: AsTested) -> list[Source]:
    """The ways to be unsure that a series knows; of dimensions none where nothing was drawn and there is one seed."""
    n_seeds, n = len(tested.seeds), len(tested.clip_ids)
    every = np.tile(np.arange(n), n_seeds)
    flat = tested.values.reshape(n_seeds * n, -1)
    draws = next(((c, one) for c, one in asked.items() if c.draws and one.within is not None), None)
    found = []
    if tested.target.kind == "classes":
        own = uncertainty.entropy(flat)
        found.append(Source("single", "one model", every, flat, Uncertainty(own, own, np.zeros_like(own))))
    if draws:
        found.append(_of_draws(series, tested, *draws, every))
    if n_seeds > 1:
        mean = tested.values.mean(axis=0)
        if tested.target.kind == "classes":
            of = uncertainty.of_classes(tested.values)
        else:
            of = uncertainty.of_dimensions(tested.values.var(axis=0), _residual(series, tested))
        found.append(Source("seeds", f"{n_seeds} seeds as one model", np.arange(n), mean, of))
    return found


def _of_draws(
    series: Series, tested: Tested, condition: Condition, one: Conditioned, every: NDArray[np.int64]
) -> Source:
    mean, within = (part.reshape(len(every), -1) for part in (one.values, np.asarray(one.within)))
    if tested.target.kind == "classes":
        of = uncertainty.of_means(mean, within[:, 0])
    else:
        of = uncertainty.of_dimensions(within, _residual(series, tested))
    return Source("dropout", f"{condition.draws} draws of dropout", every, mean, of)


def _residual(series: Series, tested: Tested) -> Floats:
    """(K,) variance that is left of the ratings of validation clips, over all runs; NaN where none was held out."""
    runs = [series.run(seed, fold) for seed in tested.seeds for fold in tested.folds]
    sides = [read_predictions(run, tested.target, "validation") for run in runs]
    truth, values = (np.concatenate([getattr(side, part) for side in sides]) for part in ("truth", "values"))
    return uncertainty.residual_variance(truth, values)


def summary(tested: Tested, found: list[Source]) -> Json:
    """The key `uncertainty` of metrics.json: by source; None without one."""
    of = {"classes": _of_classes, "dimensions": _of_dimensions}[tested.target.kind]
    return as_json({"uncertainty": {source.key: {"of": source.words} | of(tested, source) for source in found} or None})


def _kinds(source: Source) -> dict[str, Floats]:
    """What clips can be sorted by: the parts of the uncertainty, where there are several."""
    return {"total": source.of.total} if source.key == "single" else source.of._asdict()


def _of_classes(tested: Tested, source: Source) -> Json:
    """Of each kind of uncertainty its mean in nats, over all clips and over those that are right and wrong; its AUROC
    for errors, with its interval over subjects; the area under its risk-coverage curve. error: share that is wrong."""
    wrong = ~modalities.right(tested.truth[source.clips], source.mean)
    subjects = tested.subjects[source.clips]
    kinds = {}
    for kind, values in _kinds(source).items():
        value, low, high = jackknifed(partial(_on_rows, uncertainty.auroc, values, wrong), subjects)
        kinds[kind] = {
            "mean": float(values.mean()),
            "mean_right": float(values[~wrong].mean()) if not wrong.all() else np.nan,
            "mean_wrong": float(values[wrong].mean()) if wrong.any() else np.nan,
            "auroc": {"value": value, "low": max(low, 0.0), "high": min(high, 1.0)},
            "aurc": float(uncertainty.risk_coverage(values, wrong)["risk"].mean()),
        }
    return {"error": float(wrong.mean()), "kinds": kinds}


def _of_dimensions(tested: Tested, source: Source) -> Json:
    """Of each dimension the standard deviations of both kinds, the share of ratings within 1.96 total ones, and how the
    epistemic one and the size of the error go together (Spearman), with its interval over subjects."""
    rows = {}
    for k, name in enumerate(tested.target.names):
        truth = tested.truth[source.clips, k]
        rated = ~np.isnan(truth)
        off = np.abs(truth - source.mean[:, k])[rated]
        own = source.of.epistemic[rated, k]
        subjects = tested.subjects[source.clips][rated]
        value, low, high = jackknifed(partial(_on_rows, uncertainty.spearman, own, off), subjects)
        total = source.of.total[rated, k]
        rows[name] = {
            "aleatoric_sd": float(np.sqrt(source.of.aleatoric[:, k].mean())),
            "epistemic_sd": float(np.sqrt(source.of.epistemic[:, k].mean())),
            "within_95": float(np.mean(off <= WITHIN * np.sqrt(total))) if np.isfinite(total).all() else np.nan,
            "spearman": {"value": value, "low": max(low, -1.0), "high": min(high, 1.0)},
        }
    return {"per_dimension": rows}


def _on_rows(score: Callable[..., float], one: NDArray[Any], other: NDArray[Any], rows: NDArray[np.bool_]) -> float:
    return score(one[rows], other[rows])


def table(tested: Tested, found: list[Source]) -> pa.Table | None:
    """uncertainty.parquet: each clip's uncertainty by source, the mean over seeds where each seed has its own."""
    parts = []
    names = [""] if tested.target.kind == "classes" else [f"_{name}" for name in tested.target.names]
    for source in found:
        n = len(tested.clip_ids)
        columns = {"clip_id": pa.array(tested.clip_ids, pa.string()), "source": pa.array([source.key] * n, pa.string())}
        for kind, values in source.of._asdict().items():
            by_clip = values.reshape(-1, n, len(names)).mean(axis=0)
            columns |= {f"{kind}{name}": pa.array(by_clip[:, k], from_pandas=True) for k, name in enumerate(names)}
        parts.append(pa.table(columns))
    return pa.concat_tables(parts) if parts else None


# ------------------------------------------------------------------ figures and words


def draw(tested: Tested, found: list[Source]) -> dict[str, Figure]:
    """Name to figure."""
    curves = {}
    for source in found:
        kinds = {"total", "epistemic"} if tested.target.kind == "classes" else {"epistemic"}
        for kind, values in _kinds(source).items():
            if kind in kinds:
                label = source.words if source.key == "single" else f"{source.words}: {kind}"
                curves[label] = _curve(tested, source, values)
    words = "Error among them" if tested.target.kind == "classes" else "Mean absolute error among them"
    return {"risk_by_uncertainty": drawn.risk_by_uncertainty(curves, words)} if curves else {}


def _curve(tested: Tested, source: Source, values: Floats) -> dict[str, Any]:
    truth = tested.truth[source.clips]
    if tested.target.kind == "classes":
        return uncertainty.risk_coverage(values, ~modalities.right(truth, source.mean))
    off = modalities.errors(truth, source.mean)
    known = ~np.isnan(off)
    return uncertainty.risk_coverage(values.sum(axis=1)[known], off[known])


def alts(found: Json) -> dict[str, str]:
    """What the figure shows, for those who do not see it."""
    if not found:
        return {}
    told = []
    for one in found.values():
        for kind, row in one.get("kinds", {}).items():
            told.append(f"{one['of']}, {kind}: area {digits(row['aurc'])}")
        for name, row in one.get("per_dimension", {}).items():
            told.append(f"{one['of']}, {name}: rank correlation with the error {digits(row['spearman']['value'])}")
    return {"risk_by_uncertainty": f"Error against the share of clips answered, by uncertainty. {'; '.join(told)}."}


def page_values(found: Json | None, kind: str) -> Json:
    """What conditions.html shows of uncertainty besides the summary."""
    if not found:
        return {"uncertainty_table": None}
    return {"uncertainty_table": {"classes": _table_of_classes, "dimensions": _table_of_dimensions}[kind](found)}


def _table_of_classes(found: Json) -> Json:
    return {
        "caption": "Uncertainty in nats, and how well it tells errors. AUROC: 0.5 says nothing, 1 all. AURC: mean "
        "error along the curve, lower is better.",
        "head": ["Uncertainty", "Mean", "When right", "When wrong", "AUROC for errors", "95 % interval", "AURC"],
        "rows": [
            (
                f"{one['of']}: {kind}",
                *(digits(row[key]) for key in ("mean", "mean_right", "mean_wrong")),
                digits(row["auroc"]["value"]),
                interval(row["auroc"]),
                digits(row["aurc"]),
            )
            for one in found.values()
            for kind, row in one["kinds"].items()
        ],
        "explained": (
            "Total: entropy of the members' mean probabilities. Aleatoric: mean of their own entropies, what is open "
            "to each of them. Epistemic: the rest, what they do not agree about, and what more data might settle."
        ),
    }


def _table_of_dimensions(found: Json) -> Json:
    return {
        "caption": "Uncertainty of each dimension, on the ratings' scale.",
        "head": [
            *("Dimension", "Epistemic sd", "Aleatoric sd", "Ratings within 95 %"),
            *("Rank correlation with the error", "95 % interval"),
        ],
        "rows": [
            (
                f"{one['of']}: {name}",
                *(digits(row[key]) for key in ("epistemic_sd", "aleatoric_sd", "within_95")),
                digits(row["spearman"]["value"]),
                interval(row["spearman"], signed=True),
            )
            for one in found.values()
            for name, row in one["per_dimension"].items()
        ],
        "explained": (
            "Epistemic: variance between members. Aleatoric: variance of the ratings about the predictions of "
            "validation clips, taken for the same of every clip, since these models do not predict it. Ratings within "
            "95 %: share that lies within 1.96 standard deviations of both together; 0.95 where these are right."
        ),
    }
