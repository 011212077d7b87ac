"""The report of one Run, in its own folder: figures, tables by class and a small page."""

from __future__ import annotations

import numpy as np

from mien.results.intervals import Scored
from mien.results.metrics import confusion
from mien.results.report import figures
from mien.results.report.caveats import caveats_of_data
from mien.results.report.outcomes import read_predicted, why_missing
from mien.results.report.page import interval, render
from mien.results.report.page import score as digits
from mien.results.report.summary import METRICS, NAMES, as_json, classification_report, score
from mien.results.report.wording import run_statement
from mien.results.run import Run, Series


def report_run(run: Run, series: Series) -> None:
    """Write the pictures and report.html of a finished run; a damaged or diverged one is passed over."""
    classes = tuple(series.data["classes"])
    if why_missing(run) is not None:
        return
    tested = read_predicted(run, "test", classes)
    validated = read_predicted(run, "validation", classes)
    if not (np.isfinite(tested.probabilities).all() and np.isfinite(validated.probabilities).all()):
        return
    drawn = {
        f"confusion_matrix_{side}": figures.confusion_matrix(confusion(p.truth, p.probabilities), classes)
        for side, p in (("validation", validated), ("test", tested))
        if len(p.truth)  # a run that keeps its last epoch validates on nobody
    }
    history = run.history()
    if len(history) > 1:
        drawn["learning_curves"] = figures.learning_curves([history])
    for name, figure in drawn.items():
        run.folder.write_bytes(f"{name}.png", figures.png(figure))

    scored = Scored(tested.truth, tested.probabilities, tested.subjects)
    by_class = classification_report(scored, classes)
    run.folder.write_json("classification_report_test.json", by_class)
    scores = as_json({metric: score(scored, metric) for metric in METRICS})
    split = run.folder.read_json("split.json")
    values = {
        "run": run,
        "experiment": series.experiment,
        "metrics": run.metrics(),
        "n_epochs": len(history),
        "split": split,
        "scores": scores,
        "caveats": list(caveats_of_data(series)),
        "statement": run_statement(series.experiment.protocol.kind, split),
        "score_rows": [(NAMES[metric], digits(s["value"]), interval(s)) for metric, s in scores.items()],
        "class_rows": [
            (
                name,
                *(digits(by_class[name][key]) for key in ("recall", "precision", "f1-score")),
                by_class[name]["support"],
            )
            for name in classes
        ],
        "side_rows": [
            (side, f"{split[side]['n_clips']:,}", ", ".join(split[side]["subjects"]))
            for side in ("train", "validation", "test")
        ],
    }
    drawings = {name: figures.svg(figure) for name, figure in drawn.items() if not name.endswith("validation")}
    run.folder.write_text("report.html", render("run.html", values, drawings))
