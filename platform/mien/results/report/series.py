"""The report of a Series: metrics.json, figures, tables and one page, in the folder of the Series itself."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

import mien
from mien.results.metrics import confusion, reliability, risk_coverage
from mien.results.report import figures
from mien.results.report.outcomes import Outcomes, read_outcomes
from mien.results.report.page import render, score
from mien.results.report.run import report_run
from mien.results.report.settings import settings, text
from mien.results.report.summary import Json, classification_report, read_baseline, summarise
from mien.results.report.wording import LABELS, baseline_sentence, commands_again, statement
from mien.results.run import Series


def report(series: Series) -> list[str]:
    """Write the report of a series and of each of its finished runs; returns the paths, the page first.

    Reads the directory alone: neither ray nor a framework is needed. A finished run never changes, so its own
    report is written once; delete its report.html to have it anew.

    Raises MienError where no run is finished, or where runs contradict each other.
    """
    outcomes = read_outcomes(series)
    baseline = read_baseline(series)
    summary = summarise(series, outcomes, baseline)
    for run in series.runs():
        if run.is_done and not run.folder.exists("report.html"):
            report_run(run, series)

    drawn = _draw(series, outcomes, summary, baseline[1] if baseline else None)
    folder = series.folder
    for name in ("learning_curves", "confusion_matrix_test", "reliability", "risk_coverage"):
        if name in drawn:
            folder.write_bytes(f"{name}.png", figures.png(drawn[name]))
    folder.write_json(
        "classification_report_test.json",
        classification_report(outcomes.all_seeds(), outcomes.classes, len(outcomes.seeds)),
    )
    folder.write_table("predictions.parquet", _all_predictions(series, outcomes))
    folder.write_json("metrics.json", summary)
    drawings = {name: figures.svg(figure) for name, figure in drawn.items()}
    folder.write_text("report.html", render("report.html", _page_values(series, outcomes, summary), drawings))
    written = ("report.html", "metrics.json", "predictions.parquet", "classification_report_test.json")
    return [folder.path(name) for name in (*written, *(n for n in folder.names() if n.endswith(".png")))]


def _draw(series: Series, outcomes: Outcomes, summary: Json, baseline: Outcomes | None) -> dict[str, Any]:
    """Name to figure; learning_curves only where something was learnt by epochs."""
    truth, probabilities, _ = outcomes.all_seeds()
    curves = {"this model": risk_coverage(truth, probabilities)}
    if baseline is not None:
        curves["SVC baseline"] = risk_coverage(*baseline.all_seeds()[:2])
    by_fold: dict[str, list[float]] = {}
    for run in summary["runs"]:
        by_fold.setdefault(run["name"], []).append(math.nan if run["uar"] is None else run["uar"])
    drawn = {
        "fold_strip": figures.fold_strip(by_fold, summary["test"]["uar"]["value"]),
        "confusion_matrix_test": figures.confusion_matrix(confusion(truth, probabilities), outcomes.classes),
        "reliability": figures.reliability(reliability(truth, probabilities)),
        "risk_coverage": figures.risk_coverage(curves),
    }
    histories = [history for run in series.runs() if run.is_done and len(history := run.history()) > 1]
    if histories:
        drawn["learning_curves"] = figures.learning_curves(histories)
    return drawn


def _all_predictions(series: Series, outcomes: Outcomes) -> pa.Table:
    """Both sides of every finished run, with its seed and fold in front."""
    tables = []
    counted = [series.run(seed, fold) for seed in outcomes.seeds for fold in outcomes.folds]
    for run in (*counted, *outcomes.unused):
        table = run.predictions()
        for position, (name, value) in enumerate((("seed", run.seed), ("fold", run.fold))):
            table = table.add_column(position, name, pa.array([value] * table.num_rows, pa.int32()))
        tables.append(table)
    return pa.concat_tables(tables)


def _page_values(series: Series, outcomes: Outcomes, summary: Json) -> Json:
    """What report.html shows, in its own order."""
    data, experiment = series.data, series.experiment
    chosen = settings(experiment)
    learnt = [setting for setting in chosen if setting.is_learnt]
    n_seeds = len(outcomes.seeds)
    return {
        "summary": summary,
        "data": data,
        "statement": statement(summary),
        "baseline_sentence": baseline_sentence(summary),
        "even_nll": math.log(len(outcomes.classes)),
        "run_rows": [_run_row(run) for run in summary["runs"]],
        "confusion_caption": "Share of each true class that was called each class, and how often"
        + (f" (each clip counts {n_seeds} times, once a seed)." if n_seeds > 1 else "."),
        "alts": _alts(summary),
        "label_text": LABELS.get(data["label_source"], data["label_source"]),
        "corpus_rows": [
            (name, f"{c['n_clips']:,}", c["n_subjects"], "SYNTHETIC" if c["synthetic"] else "recorded")
            for name, c in data["corpora"].items()
        ],
        "class_rows": [(name, f"{n:,}") for name, n in data["class_counts"].items()],
        "left_out_rows": [(reason, f"{n:,}") for reason, n in data["left_out"].items()],
        "features": [_feature(name, spec, data["fingerprints"]) for name, spec in data["features"].items()],
        "changed": [(s.name, s.value, s.default) for s in learnt if not s.is_default],
        "unchanged": [(s.name, s.value) for s in learnt if s.is_default],
        "execution": [(s.name, s.value) for s in chosen if not s.is_learnt],
        "minutes": sum(run["minutes"] for run in summary["runs"]),
        "environment": _environment(series, outcomes),
        "commands": commands_again("train experiment.json", series, experiment.execution),
        "experiment_json": json.dumps(experiment.to_json(), indent=2, ensure_ascii=False),
        "mien_version": mien.__version__,
    }


def _run_row(run: Json) -> tuple[Any, ...]:
    scores = (score(run[name]) for name in ("uar", "wa", "validation_uar"))
    best = f"{run['best_epoch']} of {run['n_epochs']}"
    return (
        f"seed {run['seed']}, {run['name']}",
        *scores,
        f"{run['n_clips']:,}",
        run["n_subjects"],
        best,
        run["stopped"],
    )


def _feature(name: str, spec: Json, fingerprints: Mapping[str, str]) -> Json:
    return {
        "name": name,
        "version": spec["version"],
        "dim": spec["dim"],
        "hop": "one row a clip" if spec["hop_s"] is None else f"a row every {spec['hop_s']:g} s",
        "settings": {key: text(value) for key, value in spec["settings"].items()},
        "fingerprints": {
            key.removesuffix(f"/{name}"): value for key, value in fingerprints.items() if key.endswith(f"/{name}")
        },
    }


def _environment(series: Series, outcomes: Outcomes) -> list[tuple[str, str]]:
    """Each part with the values that the runs had; more than one where they differ."""
    found: dict[str, dict[str, None]] = {}
    for seed in outcomes.seeds:
        for fold in outcomes.folds:
            for part, value in series.run(seed, fold).folder.read_json("environment.json").items():
                found.setdefault(part, {})[text(value)] = None
    return [(part, ", ".join(values)) for part, values in found.items()]


def _alts(summary: Json) -> dict[str, str]:
    """What each figure shows, for those who do not see it."""
    recalls = {name: row["recall"]["value"] for name, row in summary["per_class"].items()}
    known = {name: value for name, value in recalls.items() if value is not None}
    best, worst = max(known, key=known.__getitem__), min(known, key=known.__getitem__)
    uars = [run["uar"] for run in summary["runs"] if run["uar"] is not None]
    return {
        "fold_strip": f"Test UAR of {len(uars)} runs, from {score(min(uars))} to {score(max(uars))}.",
        "confusion_matrix": f"Confusion matrix. Best recognised: {best}, {score(known[best])}; "
        f"worst: {worst}, {score(known[worst])}. All recalls stand in the table below.",
        "reliability": f"Accuracy against confidence; the expected calibration error is "
        f"{score(summary['test']['ece']['value'])}.",
        "risk_coverage": f"Error against the share of clips answered; with all answered it is "
        f"{score(1 - summary['test']['wa']['value'])}.",
        "learning_curves": "Training and validation loss, and validation UAR, by epoch, for each run and their mean.",
    }
