"""The report of one Run, in its own folder: figures, tables by class or dimension, and a small page."""

from __future__ import annotations

import numpy as np

from mien.results.intervals import Scored
from mien.results.json_values import as_json
from mien.results.metrics import METRICS
from mien.results.predictions import SIDES, read_predictions
from mien.results.report import figures
from mien.results.report.caveats import caveats_of_data
from mien.results.report.estimates import estimate
from mien.results.report.kinds import KINDS
from mien.results.report.page import digits, interval, render
from mien.results.report.temperature import why_none
from mien.results.report.tested import why_missing
from mien.results.report.wording import run_statement
from mien.results.run import Run, Series


def report_run(run: Run, series: Series) -> None:
    """Write the pictures and report.html of a finished run; a damaged or diverged one is passed over."""
    target = series.target
    kind, metrics = KINDS[target.kind], METRICS[target.kind]
    if why_missing(run) is not None:
        return
    sides = {side: read_predictions(run, target, side) for side in SIDES}
    if not all(np.isfinite(predicted.values).all() for predicted in sides.values()):
        return
    tested, history = sides["test"], run.history()
    scaled = kind.scaled(run, tested)
    drawn = kind.draw_run(sides, target, scaled) | kind.draw_history(history, target)
    if len(history) > 1:
        drawn["learning_curves"] = figures.learning_curves([history], metrics[target.primary].label)
    for name, figure in drawn.items():
        run.folder.write_bytes(f"{name}.png", figures.png(figure))

    for name, value in kind.run_files(sides, target).items():
        run.folder.write_json(name, value)
    scored = Scored(tested.truth, tested.values, tested.subjects)
    scores = as_json({name: estimate(scored, metric) for name, metric in metrics.items()})
    split = run.split
    protocol = series.experiment.protocol
    values = {
        "run": run,
        "experiment": series.experiment,
        "metrics": run.metrics(),
        "n_epochs": len(history),
        "n_runs": 1,
        "split": split,
        "headline": scores[target.primary],
        "label": metrics[target.primary].label,
        "measure": f"{kind.measure(target)}, on the test clips of this fold",
        "caveats": list(caveats_of_data(series.data, series.experiment)),
        "statement": run_statement(protocol, split),
        "score_rows": [(metrics[name].label, digits(s["value"]), interval(s)) for name, s in scores.items()],
        "side_rows": [
            (side, f"{split[side]['n_clips']:,}", ", ".join(split[side]["subjects"]))
            for side in ("train", "validation", "test")
        ],
        "why_uncalibrated": why_none(bool(len(sides["validation"].clip_ids)), series.experiment.training.keep),
        **kind.run_values(tested, target, scaled),
    }
    drawings = {name: figures.svg(figure) for name, figure in drawn.items() if not name.endswith("validation")}
    run.folder.write_text("report.html", render("run.html", values, drawings))
