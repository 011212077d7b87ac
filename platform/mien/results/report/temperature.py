"""What temperature scaling does to confidence (Guo et al. 2017): test scores before it and after.

After: the test clips of each run at that run's own temperature, which its validation clips chose. So no test clip had a
part in it, and each run is judged by what its own model/ would say.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.results.calibration import OVERCONFIDENCE, at_temperature, reliability
from mien.results.done import MODEL
from mien.results.intervals import Scored
from mien.results.json_values import Json, as_json
from mien.results.metrics import METRICS
from mien.results.predictions import Predicted, read_predictions
from mien.results.report import figures_of_classes as figures
from mien.results.report.estimates import correct, difference, estimate
from mien.results.report.tested import Tested, stack
from mien.results.run import Run, Series
from mien.results.scoring import is_defined
from mien.results.shapes import Targeted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCALED = ("nll", "brier", "ece")
RECIPE = f"{MODEL}/recipe.json"


def temperature_of(run: Run) -> float | None:
    """Of a finished run; None where it held nothing out, is of dimensions, or was trained by an older mien."""
    if not run.folder.exists(RECIPE):
        return None
    temperature: float | None = run.read_json(RECIPE, Targeted).get("temperature")
    return temperature


def calibrated(series: Series, tested: Tested) -> Json | None:
    """What metrics.json holds of a series after scaling: temperature of its runs, scores, differences to before.

    None where one of the runs has no temperature: some clips scaled and some not would be no model's.
    """
    runs = {(seed, fold): series.run(seed, fold) for seed in tested.seeds for fold in tested.folds}
    temperatures = {key: temperature_of(run) for key, run in runs.items()}
    known = [temperature for temperature in temperatures.values() if temperature is not None]
    if len(known) < len(runs):
        return None
    sides = {
        key: _scaled(read_predictions(run, tested.target, "test"), temperatures[key] or 1.0)
        for key, run in runs.items()
    }
    after = stack(series.folder, tested.target, sides, tested.seeds, tested.folds).all_seeds()
    spread = {"median": np.median(known), "least": min(known), "most": max(known)}
    return as_json({"temperature": spread, **_compared(tested.all_seeds(), after)})


def of_run(run: Run, tested: Predicted) -> Json | None:
    """The same of one run, of its own test clips."""
    temperature = temperature_of(run)
    if temperature is None or not is_defined(tested.values):
        return None
    before, after = (Scored(one.truth, one.values, one.subjects) for one in (tested, _scaled(tested, temperature)))
    spread = dict.fromkeys(("median", "least", "most"), temperature)
    return as_json({"temperature": spread, **_compared(before, after)})


def draw(before: Scored, after: Json | None) -> Figure:
    """The reliability diagram, and beside it that after scaling where there is one."""
    panels = {"" if after is None else "as trained": reliability(before.truth, before.prediction)}
    if after is not None:
        bins: Mapping[str, Any] = after["reliability"]
        panels["at its temperature"] = {name: np.array(values, np.float64) for name, values in bins.items()}
    return figures.reliability(panels)


def temperature_text(spread: Mapping[str, float]) -> str:
    """
    >>> temperature_text({"median": 1.5, "least": 1.25, "most": 2.0})
    '1.50 (median of the runs; 1.25 to 2.00)'
    """
    if spread["least"] == spread["most"]:
        return f"{spread['median']:.2f}"
    return f"{spread['median']:.2f} (median of the runs; {spread['least']:.2f} to {spread['most']:.2f})"


def why_none(held_out: bool, keep: str) -> str:
    """Why there is no temperature. held_out: whether there were validation clips to fit it on. keep: which epoch is."""
    if held_out:
        return "No temperature was fitted: an older mien trained this. Train it anew, in another storage, to have one."
    why = "the last epoch is kept" if keep == "last" else "the model is fitted in one pass"
    return (
        f"No temperature was fitted, because nothing was held out to fit it on: {why}, so the validation clips were "
        "trained on as well."
    )


def _scaled(predicted: Predicted, temperature: float) -> Predicted:
    return predicted._replace(values=at_temperature(predicted.values, temperature))


def _compared(before: Scored, after: Scored) -> Json:
    metrics = {name: METRICS["classes"][name] for name in SCALED}
    differences = {name: difference(after, before, metric) for name, metric in metrics.items()}
    correct(list(differences.values()))
    return {
        **{name: estimate(after, metric) for name, metric in metrics.items()},
        "overconfidence": estimate(after, OVERCONFIDENCE),
        "difference": differences,
        "reliability": reliability(after.truth, after.prediction),
    }
