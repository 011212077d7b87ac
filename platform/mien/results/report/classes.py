"""What a report of classes shows: which metrics, tables and figures. `dimensions` offers the same of dimensions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.experiment.target import TargetSpec
from mien.results.calibration import OVERCONFIDENCE, risk_coverage
from mien.results.classification import confusion, macro_f1, per_class, uar, wa
from mien.results.history import History, best_record
from mien.results.intervals import Scored
from mien.results.json_values import Json, as_json
from mien.results.metrics import METRICS
from mien.results.predictions import Predicted
from mien.results.report import figures_of_classes as figures
from mien.results.report import temperature
from mien.results.report.estimates import estimate
from mien.results.report.page import digits, interval
from mien.results.report.tested import Tested
from mien.results.run import Run, Series

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAIN = ("uar", "wa", "macro_f1")  # what models are compared by
MORE = ("nll", "brier", "ece")
PARTS = "per_class"
LACKING = ("No clip of {}", "UAR and macro-F1 are means over the other classes; chance is stated for those.")
GUESS = "chance"
MEASURES = {"uar": "Unweighted average recall", "wa": "Accuracy", "macro_f1": "Macro-F1, the mean of the classes' F1"}
EXPLAINED = (
    "UAR, unweighted average recall: the mean over classes of the share of their clips that was recognised. WA, "
    "weighted accuracy: that share over all clips."
)


def measure(target: TargetSpec) -> str:
    """What the headline is, in words."""
    return MEASURES[target.primary]


def guess(tested: Tested) -> float:
    """The score of guessing evenly among the classes."""
    counts = np.bincount(tested.truth, minlength=len(tested.target.names))
    k, n, present = len(counts), int(counts.sum()), counts[counts > 0]
    return {
        "uar": 1 / len(present),
        "wa": 1 / k,
        "macro_f1": float(np.mean(2 * present / k / (present + n / k))),
    }[tested.target.primary]


def parts(tested: Tested) -> Json:
    """Precision, recall with interval, F1 and number of clips of each class, over all seeds."""
    scored = tested.all_seeds()
    truth, subjects = np.asarray(scored.truth), np.asarray(scored.subjects)
    table = per_class(truth, scored.prediction, len(tested.target.names))
    rows = {}
    for k, name in enumerate(tested.target.names):
        of_class = truth == k
        # The recall of a class is the accuracy on its clips, so its interval is that of the accuracy.
        recall = Scored(truth[of_class], np.asarray(scored.prediction)[of_class], subjects[of_class])
        rows[name] = {
            "precision": table["precision"][k],
            "recall": estimate(recall, METRICS["classes"]["wa"]),
            "f1": table["f1"][k],
            "n_clips": int(table["support"][k]) // len(tested.seeds),
        }
    return rows


def more_scores(tested: Tested) -> Json:
    """overconfidence: mean confidence minus accuracy, with its interval. The ECE has no sign."""
    return {"overconfidence": estimate(tested.all_seeds(), OVERCONFIDENCE)}


def files(tested: Tested) -> dict[str, Json]:
    """Name to JSON, beside metrics.json."""
    report = classification_report(tested.all_seeds(), tested.target.names, len(tested.seeds))
    return {"classification_report_test.json": report}


def draw(tested: Tested, summary: Json, baseline: Tested | None) -> dict[str, Figure]:
    """Name to figure."""
    truth, probabilities, _ = tested.all_seeds()
    curves = {"this model": risk_coverage(truth, probabilities)}
    if baseline is not None:
        curves["baseline"] = risk_coverage(*baseline.all_seeds()[:2])
    return {
        "confusion_matrix_test": figures.confusion_matrix(confusion(truth, probabilities), tested.target.names),
        "reliability": temperature.draw(tested.all_seeds(), summary["calibrated"]),
        "risk_coverage": figures.risk_coverage(curves),
    }


def alts(summary: Json) -> dict[str, str]:
    """What each figure shows, for those who do not see it."""
    recalls = {name: row["recall"]["value"] for name, row in summary[PARTS].items()}
    known = {name: value for name, value in recalls.items() if value is not None}
    best, worst = max(known, key=known.__getitem__), min(known, key=known.__getitem__)
    return {
        "confusion_matrix_test": f"Confusion matrix. Best recognised: {best}, {digits(known[best])}; "
        f"worst: {worst}, {digits(known[worst])}. All recalls stand in the table below.",
        "reliability": f"Accuracy against confidence; the expected calibration error is "
        f"{digits(summary['test']['ece']['value'])}. {sureness(summary['overconfidence'])}"
        f"{_after(summary['calibrated'])}",
        "risk_coverage": f"Error against the share of clips answered; with all answered it is "
        f"{digits(1 - summary['test']['wa']['value'])}.",
    }


def _after(calibrated: Json | None) -> str:
    """What scaling did to it, as a sentence after the first one; empty where there was none."""
    if calibrated is None:
        return ""
    return (
        f" Beside it after temperature scaling, where the error is {digits(calibrated['ece']['value'])}. "
        f"{sureness(calibrated['overconfidence'])}"
    )


def sureness(overconfidence: Json) -> str:
    """Which way confidence errs, in a sentence.

    >>> sureness({"value": 0.04, "low": 0.01, "high": 0.07})
    'Over-confident: on average its confidence is 0.040 above its accuracy (95 % interval +0.010 to +0.070).'
    """
    value, low = overconfidence["value"], overconfidence["low"]
    side = "above" if value > 0 else "below"
    told = low is not None and not low <= 0 <= overconfidence["high"]
    name = (
        ("Over-confident" if value > 0 else "Under-confident")
        if told
        else "Neither over- nor under-confident by more than chance"
    )
    within = "no interval" if low is None else f"95 % interval {interval(overconfidence, signed=True)}"
    return f"{name}: on average its confidence is {digits(abs(value))} {side} its accuracy ({within})."


def page_values(series: Series, tested: Tested, summary: Json) -> Json:
    """What report_of_classes.html shows besides the summary."""
    n_seeds = len(tested.seeds)
    return {
        **calibration_values(summary["overconfidence"], summary["calibrated"]),
        "why_uncalibrated": temperature.why_none(
            summary["validation_score"] is not None, series.experiment.training.keep
        ),
        "even_nll": math.log(len(tested.target.names)),
        "confusion_caption": "Share of each true class that was called each class, and how often"
        + (f" (each clip counts {n_seeds} times, once per seed)." if n_seeds > 1 else "."),
        "target_caption": "Clips by class.",
        "target_head": ["Class", "Clips"],
        "target_rows": [(name, f"{n:,}") for name, n in series.data.get("class_counts", {}).items()],
    }


def scaled(run: Run, tested: Predicted) -> Json | None:
    """The test scores of one run at its temperature; None where it has none."""
    return temperature.of_run(run, tested)


def draw_run(sides: Mapping[str, Predicted], target: TargetSpec, scaled: Json | None) -> dict[str, Figure]:
    """Name to figure, of one run; a side without clips has none."""
    tested = sides["test"]
    confusions = {
        f"confusion_matrix_{side}": figures.confusion_matrix(confusion(p.truth, p.values), target.names)
        for side, p in sides.items()
        if len(p.truth)
    }
    return {
        **confusions,
        "reliability": temperature.draw(Scored(tested.truth, tested.values, tested.subjects), scaled),
    }


def draw_history(history: History, target: TargetSpec) -> dict[str, Figure]:
    """Name to figure: the validation clips at the first, middle, best and last epoch. None of fewer than two epochs,
    and none where an older mien counted no confusions."""
    counted = {
        record["epoch"]: record["validation_confusion"] for record in history if record.get("validation_confusion")
    }
    best = best_record(history)
    if best is None or len(counted) < 2:
        return {}
    last = history[-1]["epoch"]
    roles: dict[int, list[str]] = {}
    for epoch, role in ((1, "first"), ((last + 1) // 2, "middle"), (best["epoch"], "best"), (last, "last")):
        roles.setdefault(epoch, []).append(role)
    panels = {
        f"Epoch {epoch}, {' and '.join(roles[epoch])}": np.array(counted[epoch], np.int64)
        for epoch in sorted(roles)
        if epoch in counted
    }
    return {"confusion_matrix_epochs": figures.confusion_by_epoch(panels, target.names)}


def run_files(sides: Mapping[str, Predicted], target: TargetSpec) -> dict[str, Json]:
    """Name to JSON, of one run; a side without clips has none."""
    return {
        f"classification_report_{side}.json": classification_report(Scored(p.truth, p.values, p.subjects), target.names)
        for side, p in sides.items()
        if len(p.truth)
    }


def run_values(tested: Predicted, target: TargetSpec, scaled: Json | None) -> Json:
    """What the page of one run shows of each class."""
    before = Scored(tested.truth, tested.values, tested.subjects)
    head, rows = part_table(tested, target)
    return {
        "before": {name: as_json(estimate(before, METRICS["classes"][name])) for name in temperature.SCALED},
        **calibration_values(as_json(estimate(before, OVERCONFIDENCE)), scaled),
        "shown": "confusion_matrix_test",
        "shown_alt": "Confusion matrix of the test clips.",
        "shown_caption": "Test clips: share of each true class, with the number of clips.",
        "part_caption": "Test clips by class.",
        "part_head": head,
        "part_rows": rows,
    }


def part_table(tested: Predicted, target: TargetSpec) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Head and rows of a table of the classes."""
    by_class = classification_report(Scored(tested.truth, tested.values, tested.subjects), target.names)
    shown = ("recall", "precision", "f1-score")
    rows = [(name, *(digits(by_class[name][key]) for key in shown), by_class[name]["support"]) for name in target.names]
    return ["Class", "Recall", "Precision", "F1", "Clips"], rows


def both_sure(tested: Predicted, scaled: Json | None) -> str:
    """Which way the confidence of one run errs, before and after scaling."""
    before = as_json(estimate(Scored(tested.truth, tested.values, tested.subjects), OVERCONFIDENCE))
    said: str = calibration_values(before, scaled)["both_sure"]
    return said


def calibration_values(overconfidence: Json, calibrated: Json | None) -> Json:
    """What the reliability diagram and calibrated.html show. overconfidence: as trained."""
    as_trained = sureness(overconfidence)
    if calibrated is None:
        return {"calibrated": None, "both_sure": as_trained}
    return {
        "calibrated": calibrated,
        "both_sure": f"As trained: {_lowered(as_trained)} At its temperature: "
        f"{_lowered(sureness(calibrated['overconfidence']))}",
        "scaled": [(name, METRICS["classes"][name].label) for name in temperature.SCALED],
        "temperature": temperature.temperature_text(calibrated["temperature"]),
    }


def _lowered(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]


def classification_report(scored: Scored, classes: tuple[str, ...], n_seeds: int = 1) -> Json:
    """Precision, recall, F1 and support by class, and their means, as scikit-learn lays them out."""
    by_class = per_class(scored.truth, scored.prediction)
    rows: Json = {
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


def _mean(values: Any) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else math.nan
