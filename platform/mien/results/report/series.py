"""The report of a Series: metrics.json, figures, tables and one page, in the folder of the Series itself."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

import mien
from mien.results.clips import read_clips
from mien.results.json_values import Json
from mien.results.metrics import metric_named
from mien.results.report import figures, groups, modalities, uncertainty
from mien.results.report.conditions import read_as_tested
from mien.results.report.kinds import KINDS
from mien.results.report.page import digits, render
from mien.results.report.ruler import ends, ruler
from mien.results.report.run import report_run
from mien.results.report.summary import read_baseline, summarise
from mien.results.report.tested import Tested, read_tested
from mien.results.report.trace import Trace, draw_trace, read_trace, words_of_trace
from mien.results.report.wording import LABELS, baseline_sentence, commands_again, data_statement, statement
from mien.results.run import Series
from mien.results.settings import settings, text


def report(series: Series) -> list[str]:
    """Write the report of a series and of each of its finished runs; returns the paths, the page first.

    Reads the directory alone: neither ray nor a framework is needed. A finished run never changes, so its own
    report is written once; delete its report.html to have it anew.

    Raises MienError where no run is finished, or where runs contradict each other.
    """
    tested = read_tested(series)
    baseline = read_baseline(series)
    summary = summarise(series, tested, baseline)
    asked = read_as_tested(series, tested)
    unsure = uncertainty.sources(series, tested, asked) if asked else []
    summary |= modalities.summary(series.experiment, tested, asked) | uncertainty.summary(tested, unsure)
    for run in series.runs():
        if run.is_done and not run.folder.exists("report.html"):
            report_run(run, series)

    trace = read_trace(tested, read_clips(series)) if tested.target.kind == "dimensions" else None
    drawn = _draw(series, tested, summary, baseline[1] if baseline else None)
    if trace:
        drawn["trace_test"] = draw_trace(trace)
    folder = series.folder
    of_conditions = modalities.draw(summary, tested.primary.label) | uncertainty.draw(tested, unsure)
    drawn |= of_conditions
    for name, figure in drawn.items():
        folder.write_bytes(f"{name}.png", figures.png(figure))
    for name, figure in of_conditions.items():
        folder.write_bytes(f"{name}.pdf", figures.pdf(figure))
    files = KINDS[tested.target.kind].files(tested)
    for name, value in files.items():
        folder.write_json(name, value)
    folder.write_table("predictions.parquet", _all_predictions(series, tested))
    if (by_clip := uncertainty.table(tested, unsure)) is not None:
        folder.write_table("uncertainty.parquet", by_clip)
    folder.write_json("metrics.json", summary)
    drawings = {name: figures.svg(figure) for name, figure in drawn.items()}
    folder.write_text("report.html", render("report.html", _page_values(series, tested, summary, trace), drawings))
    written = ("report.html", "metrics.json", "predictions.parquet", *files, *(f"{name}.png" for name in drawn))
    return [folder.path(name) for name in written]


def _draw(series: Series, tested: Tested, summary: Json, baseline: Tested | None) -> dict[str, Any]:
    """Name to figure; learning_curves only where something was learnt by epochs."""
    primary, label = summary["score_name"], tested.primary.label
    by_fold: dict[str, list[float]] = {}
    for run in summary["runs"]:
        by_fold.setdefault(run["name"], []).append(math.nan if run[primary] is None else run[primary])
    overall = math.nan if summary["test"][primary]["value"] is None else summary["test"][primary]["value"]
    known = [value for values in (*by_fold.values(), [overall, 0.0]) for value in values if not math.isnan(value)]
    drawn = {
        "fold_strip": figures.fold_strip(by_fold, overall, summary["guess"], label, ends(tested.primary, known)),
        **KINDS[tested.target.kind].draw(tested, summary, baseline),
    }
    histories = [history for run in series.runs() if run.is_done and len(history := run.history()) > 1]
    if histories:
        drawn["learning_curves"] = figures.learning_curves(histories, label)
    return drawn


def _all_predictions(series: Series, tested: Tested) -> pa.Table:
    """Both sides of every finished run, with its seed and fold in front."""
    tables = []
    counted = [series.run(seed, fold) for seed in tested.seeds for fold in tested.folds]
    for run in (*counted, *tested.unused):
        table = run.predictions()
        for position, (name, value) in enumerate((("seed", run.seed), ("fold", run.fold))):
            table = table.add_column(position, name, _repeated(value, table.num_rows))
        tables.append(table)
    return pa.concat_tables(tables)


def _repeated(value: int, n: int) -> pa.Array:
    """(n,) int32. Of its buffer, because `pa.array` and `pa.scalar` import pandas."""
    return pa.Array.from_buffers(pa.int32(), n, [None, pa.py_buffer(np.full(n, value, np.int32))])


def _page_values(series: Series, tested: Tested, summary: Json, trace: Trace | None) -> Json:
    """What report.html shows, in its own order."""
    data, experiment, kind = series.data, series.experiment, KINDS[tested.target.kind]
    chosen = settings(experiment)
    learnt = [setting for setting in chosen if setting.is_learnt]
    label = tested.primary.label
    return {
        "summary": summary,
        "data": data,
        "kind": tested.target.kind,
        "primary": summary["score_name"],
        "label": label,
        "main": kind.MAIN,
        "more": kind.MORE,
        "labels": {name: metric_named(name).label for name in summary["test"]},
        "measure": f"{kind.measure(tested.target)}, on test clips",
        "direction": _direction(kind.MAIN),
        "explained": kind.EXPLAINED,
        "ruler": ruler(summary, kind.GUESS),
        "guess_label": kind.GUESS,
        "statement": statement(summary),
        "data_statement": data_statement(data, experiment.target),
        "baseline_sentence": baseline_sentence(summary),
        "run_head": ["Run", *(f"Test {metric_named(m).label}" for m in kind.MAIN[:2]), f"Validation {label}"],
        "run_rows": [_run_row(run, kind.MAIN[:2]) for run in summary["runs"]],
        "alts": _alts(summary, label)
        | kind.alts(summary)
        | modalities.alts(summary, label)
        | uncertainty.alts(summary["uncertainty"]),
        "label_text": LABELS.get(summary["label_source"], summary["label_source"]),
        "corpus_rows": [
            (name, f"{c['n_clips']:,}", c["n_subjects"], "SYNTHETIC" if c["synthetic"] else "recorded")
            for name, c in data["corpora"].items()
        ],
        "left_out_rows": [(reason, f"{n:,}") for reason, n in data["left_out"].items()],
        "features": [_feature(name, spec, data["fingerprints"]) for name, spec in data["features"].items()],
        "changed": [(s.name, s.value, s.default) for s in learnt if not s.is_default],
        "unchanged": [(s.name, s.value) for s in learnt if s.is_default],
        "execution": [(s.name, s.value) for s in chosen if not s.is_learnt],
        "minutes": sum(run["minutes"] for run in summary["runs"]),
        "environment": _environment(series, tested),
        "commands": commands_again("train experiment.json", series, experiment.execution),
        "experiment_json": json.dumps(experiment.to_json(), indent=2, ensure_ascii=False),
        "mien_version": mien.__version__,
        "before": summary["test"],
        "n_runs": len(summary["runs"]),
        "trace": words_of_trace(trace) if trace else None,
        **groups.page_values(summary["groups"], tested.target, tested.n_subjects),
        **kind.page_values(series, tested, summary),
        **modalities.page_values(summary, tested.target.kind, label),
        **uncertainty.page_values(summary["uncertainty"], tested.target.kind),
    }


def _direction(names: tuple[str, ...]) -> str:
    """ "higher is better", or which metrics are better lower."""
    lower = [metric_named(name).label for name in names if not metric_named(name).higher_is_better]
    return f"higher is better, of {' and '.join(lower)} lower" if lower else "higher is better"


def _run_row(run: Json, names: tuple[str, ...]) -> tuple[Any, ...]:
    scores = (digits(run[name]) for name in (*names, "validation_score"))
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
        "modality": spec["modality"],
        "shape": " × ".join(map(str, spec["shape"])),
        "hop": "one row per clip" if spec["hop_s"] is None else f"a row every {spec['hop_s']:g} s",
        "settings": {key: text(value) for key, value in spec["settings"].items()},
        "fingerprints": {
            key.removesuffix(f"/{name}"): value for key, value in fingerprints.items() if key.endswith(f"/{name}")
        },
    }


def _environment(series: Series, tested: Tested) -> list[tuple[str, str]]:
    """Each part with the values that the runs had; more than one where they differ."""
    found: dict[str, dict[str, None]] = {}
    for seed in tested.seeds:
        for fold in tested.folds:
            for part, value in series.run(seed, fold).read_json("environment.json").items():
                found.setdefault(part, {})[text(value)] = None
    return [(part, ", ".join(values)) for part, values in found.items()]


def _alts(summary: Json, label: str) -> dict[str, str]:
    """What each figure of every target shows, for those who do not see it."""
    scores = [run[summary["score_name"]] for run in summary["runs"] if run[summary["score_name"]] is not None]
    span = f", from {digits(min(scores))} to {digits(max(scores))}" if scores else ""
    return {
        "fold_strip": f"Test {label} of {len(scores)} runs{span}.",
        "learning_curves": f"Losses and validation {label}, by epoch, with the mean of all runs.",
    }
