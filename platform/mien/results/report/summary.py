"""The summary of a Series as JSON: every score with its interval over subjects, beside the baseline's."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from mien.results.intervals import Scored, paired_subject_bootstrap, subject_bootstrap
from mien.results.metrics import brier, ece, macro_f1, nll, per_class, uar, wa
from mien.results.report.caveats import caveats
from mien.results.report.outcomes import Outcomes, on_shared_clips, read_outcomes, read_predicted
from mien.results.report.page import score as digits
from mien.results.report.wording import measured_on
from mien.results.run import Run, Series

LEVEL = 0.95
N_RESAMPLES = 2000  # an interval's end then moves by about 0.001 from one bootstrap seed to another
BOOTSTRAP_SEED = 0
INTERVAL = {
    "level": LEVEL,
    "over": "subjects",
    "method": "percentile bootstrap",
    "n_resamples": N_RESAMPLES,
    "seed": BOOTSTRAP_SEED,
}
METRICS = {metric.__name__: metric for metric in (uar, wa, macro_f1, nll, brier, ece)}
PAIRED = ("uar", "wa", "macro_f1")
NAMES = {
    "uar": "UAR",
    "wa": "Accuracy (WA)",
    "macro_f1": "Macro-F1",
    "nll": "NLL",
    "brier": "Brier score",
    "ece": "ECE",
}

Json = dict[str, Any]


def summarise(series: Series, outcomes: Outcomes, baseline: tuple[Series, Outcomes] | None = None) -> Json:
    """What metrics.json of a Series holds; docs/reference/run-directory.md explains each key.

    NaN becomes None: a score or an interval that is not defined is missing, never a number.
    """
    experiment, data = series.experiment, series.data
    runs = [series.run(seed, fold) for seed in outcomes.seeds for fold in outcomes.folds]
    splits = [run.folder.read_json("split.json") for run in runs]
    run_scores = [_run_scores(run, split, outcomes.classes) for run, split in zip(runs, splits, strict=True)]
    summary = as_json(
        {
            "experiment": experiment.name,
            "signature": series.signature,
            "question": experiment.question,
            "family": experiment.model.family,
            "protocol": experiment.protocol.kind,
            "label_source": data["label_source"],
            "classes": outcomes.classes,
            "n_clips": len(outcomes.clip_ids),
            "n_subjects": outcomes.n_subjects,
            "n_clips_not_tested": data["n_clips"] - len(outcomes.clip_ids),
            "n_subjects_on_both_sides": max(n_on_both_sides(split) for split in splits),
            "seeds": outcomes.seeds,
            "n_folds": len(outcomes.folds),
            "incomplete": [missing._asdict() for missing in outcomes.missing],
            "unused": [{"seed": run.seed, "fold": run.fold} for run in outcomes.unused],
            "interval": INTERVAL,
            "chance_uar": 1 / len(np.unique(outcomes.truth)),
            "test": _test_scores(outcomes),
            "validation_uar": float(np.mean([scores["validation_uar"] for scores in run_scores])),
            "per_class": _class_scores(outcomes),
            "ensemble": _scores(outcomes.ensemble()) if len(outcomes.seeds) > 1 else None,
            "runs": run_scores,
            "baseline": _baseline(outcomes, *baseline) if baseline else None,
        }
    )
    summary["caveats"] = [caveat._asdict() for caveat in caveats(series, summary)]
    return summary


def read_baseline(series: Series) -> tuple[Series, Outcomes] | None:
    """The SVC beside a series and what it said; None where none was trained on the same classes."""
    baseline = series.baseline
    if baseline is None or not any(run.is_done for run in baseline.runs()):
        return None
    outcomes = read_outcomes(baseline)
    return (baseline, outcomes) if outcomes.classes == tuple(series.data["classes"]) else None


def score(scored: Scored, metric: str) -> Json:
    """value, low and high of one metric."""
    low, high = subject_bootstrap(*scored, metric, N_RESAMPLES, BOOTSTRAP_SEED, LEVEL)
    return {"value": METRICS[metric](scored.truth, scored.prediction), "low": low, "high": high}


def differences(mine: Outcomes, theirs: Outcomes) -> Json:
    """Mine minus theirs on the same clips, over the same resamples of subjects: metric to value, interval, p."""
    return {
        metric: paired_subject_bootstrap(mine.all_seeds(), theirs.all_seeds(), metric, level=LEVEL)._asdict()
        for metric in PAIRED
    }


def classification_report(scored: Scored, classes: tuple[str, ...], n_seeds: int = 1) -> Json:
    """Precision, recall, F1 and support by class, and their means, as scikit-learn lays them out."""
    by_class = per_class(scored.truth, scored.prediction)
    rows = {
        name: {
            "precision": by_class["precision"][k],
            "recall": by_class["recall"][k],
            "f1-score": by_class["f1"][k],
            "support": int(by_class["support"][k]) // n_seeds,
        }
        for k, name in enumerate(classes)
    }
    present = by_class["support"] > 0
    n_rows = int(by_class["support"].sum()) // n_seeds
    return as_json(
        {
            **rows,
            "accuracy": wa(scored.truth, scored.prediction),
            "macro avg": {
                # A class never predicted has no precision: left out of the mean, not counted as 0.
                "precision": _mean(by_class["precision"][present]),
                "recall": uar(scored.truth, scored.prediction),
                "f1-score": macro_f1(scored.truth, scored.prediction),
                "support": n_rows,
            },
        }
    )


def summary_rows(series: Series) -> list[tuple[str, str]]:
    """What a terminal shows of a series: a label and a text a row, no label twice, the headline first."""
    if series.folder.exists("metrics.json"):
        summary = series.folder.read_json("metrics.json")
    else:
        summary = summarise(series, read_outcomes(series), read_baseline(series))
    rows = [
        ("experiment", f"{summary['experiment']} {summary['signature']}"),
        *((name, with_interval(summary["test"][metric])) for metric, name in NAMES.items()),
        ("protocol", f"{summary['protocol']}, {summary['label_source']} labels"),
        ("tested on", measured_on(summary)),
    ]
    if summary["ensemble"]:
        rows.insert(2, ("UAR, seeds as one model", with_interval(summary["ensemble"]["uar"])))
    if summary["baseline"]:
        difference = summary["baseline"]["difference"]
        rows.insert(2, ("UAR of the SVC baseline", with_interval(summary["baseline"]["uar"])))
        if difference:
            rows.insert(3, ("difference to it", with_interval(difference["uar"], signed=True)))
    return rows + _cautions(summary)


def search_rows(analysis: Json) -> list[tuple[str, str]]:
    """What a terminal shows of a search beside its winners, from analysis.json: the score to quote first."""
    selection = analysis["selection"]
    if selection is None:
        rows = [("test UAR", "none yet; validation UAR chose, so it is no result")]
    else:
        rows = [
            ("test UAR", f"{with_interval(selection['test'])}, winners trained again; quote this one"),
            (
                "optimism",
                f"{digits(selection['optimism'], signed=True)}, their validation UAR of "
                f"{digits(selection['validation_uar'])} less that",
            ),
        ]
    return rows + _cautions(analysis)


def _cautions(summary: Json) -> list[tuple[str, str]]:
    warnings = [caveat["title"] for caveat in summary["caveats"] if caveat["is_warning"]]
    return [("caution", "; ".join(warnings))] if warnings else []


def with_interval(scored: Mapping[str, float | None], *, signed: bool = False) -> str:
    """A score and its interval as text.

    >>> with_interval({"value": 0.61234, "low": 0.55, "high": 0.671}), with_interval({"value": None})
    ('0.612 [0.550, 0.671]', 'not defined')
    """
    if scored["value"] is None:
        return "not defined"
    sign = "+" if signed else ""
    if scored["low"] is None or scored["high"] is None:
        return f"{scored['value']:{sign}.3f} [no interval]"
    return f"{scored['value']:{sign}.3f} [{scored['low']:{sign}.3f}, {scored['high']:{sign}.3f}]"


def as_json(value: Any) -> Any:
    """Python scalars and lists all the way down, NaN as None."""
    if isinstance(value, Mapping):
        return {key: as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return as_json(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _scores(scored: Scored) -> Json:
    return {metric: score(scored, metric) for metric in METRICS}


def _test_scores(outcomes: Outcomes) -> Json:
    """Each metric over all seeds, with its spread between them."""
    scores = _scores(outcomes.all_seeds())
    for metric, entry in scores.items():
        values = [METRICS[metric](*outcomes.of_seed(seed)[:2]) for seed in outcomes.seeds]
        entry["by_seed"] = {str(seed): value for seed, value in zip(outcomes.seeds, values, strict=True)}
        entry["sd_of_seeds"] = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return scores


def _class_scores(outcomes: Outcomes) -> Json:
    """Precision, recall with interval, F1 and number of clips of each class, over all seeds."""
    scored = outcomes.all_seeds()
    truth, subjects = np.asarray(scored.truth), np.asarray(scored.subjects)
    table = per_class(truth, scored.prediction, len(outcomes.classes))
    rows = {}
    for k, name in enumerate(outcomes.classes):
        of_class = truth == k
        # The recall of a class is the accuracy on its clips, so its interval is that of the accuracy.
        recall = Scored(truth[of_class], np.asarray(scored.prediction)[of_class], subjects[of_class])
        rows[name] = {
            "precision": table["precision"][k],
            "recall": score(recall, "wa"),
            "f1": table["f1"][k],
            "n_clips": int(table["support"][k]) // len(outcomes.seeds),
        }
    return rows


def _run_scores(run: Run, split: Json, classes: tuple[str, ...]) -> Json:
    tested, validated = (read_predicted(run, side, classes) for side in ("test", "validation"))
    metrics, history = run.metrics(), run.history()
    prediction = tested.probabilities
    return {
        "seed": run.seed,
        "fold": run.fold,
        "name": split["name"],
        "uar": uar(tested.truth, prediction),
        "wa": wa(tested.truth, prediction),
        "macro_f1": macro_f1(tested.truth, prediction),
        "validation_uar": uar(validated.truth, validated.probabilities),
        "n_clips": len(tested.clip_ids),
        "n_subjects": len(np.unique(tested.subjects)),
        "best_epoch": metrics.get("best_epoch"),
        "n_epochs": len(history),
        "stopped": metrics.get("stopped"),
        "minutes": sum(record["seconds"] for record in history) / 60,
    }


def _baseline(outcomes: Outcomes, series: Series, baseline: Outcomes) -> Json:
    mine, theirs = on_shared_clips(outcomes, baseline)
    n_shared = len(mine.clip_ids)
    return {
        "experiment": series.experiment.name,
        "signature": series.signature,
        "family": series.experiment.model.family,
        **{metric: score(baseline.all_seeds(), metric) for metric in METRICS},
        "difference": differences(mine, theirs) if n_shared else None,
        "n_shared_clips": n_shared,
    }


def n_on_both_sides(split: Json) -> int:
    """Test subjects of a split.json that were trained or validated on."""
    trained_on = {*split["train"]["subjects"], *split["validation"]["subjects"]}
    return len(trained_on & set(split["test"]["subjects"]))


def _mean(values: Any) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else math.nan
