"""The summary of a Series as JSON: every score with its interval over subjects, beside the baseline's."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from mien.experiment.protocol import is_unknown
from mien.experiment.target import TargetSpec
from mien.results.clips import read_clips
from mien.results.intervals import Scored
from mien.results.json_values import Json, as_json
from mien.results.metrics import METRICS, metric_named, score
from mien.results.predictions import read_predictions
from mien.results.report.caveats import caveats
from mien.results.report.estimates import INTERVAL, correct, difference, estimate, with_interval
from mien.results.report.groups import groups
from mien.results.report.kinds import KINDS
from mien.results.report.page import digits
from mien.results.report.temperature import calibrated, temperature_of
from mien.results.report.tested import Tested, on_shared_clips, read_tested
from mien.results.report.wording import measured_on, official_lists
from mien.results.run import Run, Series


def summarise(
    series: Series,
    tested: Tested,
    baseline: tuple[Series, Tested] | None = None,
) -> Json:
    """What metrics.json of a Series holds; docs/reference/run-directory.md explains each key.

    NaN becomes None: a score or an interval that is not defined is missing, never a number.
    """
    experiment, data, target = series.experiment, series.data, tested.target
    kind = KINDS[target.kind]
    runs = [series.run(seed, fold) for seed in tested.seeds for fold in tested.folds]
    splits = [run.split for run in runs]
    run_scores = [_run_scores(run, split, tested) for run, split in zip(runs, splits, strict=True)]
    summary = as_json(
        {
            "experiment": experiment.name,
            "signature": series.signature,
            "question": experiment.question,
            "family": experiment.model.family,
            "protocol": experiment.protocol.kind,
            "group": experiment.protocol.group,
            "official": official_lists(experiment.protocol),
            "label_source": experiment.target.source,
            "normalise": experiment.data.normalise,
            "target": {"kind": target.kind, "names": target.names, "primary": target.primary},
            "score_name": target.primary,
            "n_clips": len(tested.clip_ids),
            "n_subjects": tested.n_subjects,
            "n_clips_not_tested": data["n_clips"] - len(tested.clip_ids),
            "n_subjects_on_both_sides": max(n_on_both_sides(split) for split in splits),
            "n_subjects_validated_elsewhere": n_validated_elsewhere(splits),
            "seeds": tested.seeds,
            "n_folds": len(tested.folds),
            "incomplete": [missing._asdict() for missing in tested.missing],
            "unused": [{"seed": run.seed, "fold": run.fold} for run in tested.unused],
            "interval": INTERVAL,
            "guess": kind.guess(tested),
            "test": _test_scores(tested),
            "validation_score": _mean(scores["validation_score"] for scores in run_scores),
            kind.PARTS: kind.parts(tested),
            **kind.more_scores(tested),
            "calibrated": calibrated(series, tested) if target.kind == "classes" else None,
            "groups": groups(tested.all_seeds(), tested.clip_ids, read_clips(series), target),
            "ensemble": _estimates(tested.ensemble(), target.kind) if len(tested.seeds) > 1 else None,
            "runs": run_scores,
            "baseline": _baseline(tested, *baseline) if baseline else None,
        }
    )
    summary["caveats"] = [caveat._asdict() for caveat in caveats(series, summary)]
    return summary


def read_baseline(series: Series) -> tuple[Series, Tested] | None:
    """The support vector machine beside a series, and its test clips; None where there is none of this target."""
    baseline = series.baseline
    if baseline is None or not any(run.is_done for run in baseline.runs()):
        return None
    tested = read_tested(baseline)
    return (baseline, tested) if is_same_target(tested, series.target) else None


def is_same_target(tested: Tested, target: TargetSpec) -> bool:
    """Whether these are predictions of the same classes or dimensions, whatever chose the epochs."""
    return (tested.target.kind, tested.target.names) == (target.kind, target.names)


def differences(mine: Tested, theirs: Tested) -> Json:
    """Mine minus theirs on the same clips, subject by subject: metric to value, interval, p, p over all these."""
    metrics = METRICS[mine.target.kind]
    found = {
        name: difference(mine.all_seeds(), theirs.all_seeds(), metrics[name]) for name in KINDS[mine.target.kind].MAIN
    }
    correct(list(found.values()))
    return found


def summary_rows(series: Series) -> list[tuple[str, str]]:
    """What a terminal shows of a series: a label and a text per row, no label twice, the headline first."""
    if series.folder.exists("metrics.json"):
        summary = series.folder.read_json("metrics.json")
    else:
        summary = summarise(series, read_tested(series), read_baseline(series))
    primary = summary["score_name"]
    label = metric_named(primary).label
    others = [name for name in METRICS[summary["target"]["kind"]] if name != primary]
    rows = [
        ("experiment", f"{summary['experiment']} {summary['signature']}"),
        *((metric_named(name).label, with_interval(summary["test"][name])) for name in (primary, *others)),
        ("protocol", f"{summary['protocol']}, {summary['label_source']} labels"),
        ("tested on", measured_on(summary)),
    ]
    if summary["ensemble"]:
        rows.insert(2, (f"{label}, seeds as one model", with_interval(summary["ensemble"][primary])))
    if summary["baseline"]:
        found = summary["baseline"]["difference"]
        rows.insert(2, (f"{label} of the baseline", with_interval(summary["baseline"][primary])))
        if found:
            rows.insert(3, ("difference to it", with_interval(found[primary], signed=True)))
    return rows + _cautions(summary)


def search_rows(analysis: Json) -> list[tuple[str, str]]:
    """What a terminal shows of a search beside its winners, from analysis.json: the score to quote first."""
    selection, label = analysis["selection"], metric_named(analysis["score_name"]).label
    if selection is None:
        rows = [(f"test {label}", f"none yet; validation {label} chose, so it is no result")]
    else:
        rows = [
            (f"test {label}", f"{with_interval(selection['test'])}, winners trained again; quote this one"),
            (
                "optimism",
                f"{digits(selection['optimism'], signed=True)}: by so much their validation {label}, "
                f"{digits(selection['validation_score'])}, looked better",
            ),
        ]
    return rows + _cautions(analysis)


def _cautions(summary: Json) -> list[tuple[str, str]]:
    warnings = [caveat["title"] for caveat in summary["caveats"] if caveat["is_warning"]]
    return [("caution", "; ".join(warnings))] if warnings else []


def _estimates(scored: Scored, kind: str) -> Json:
    return {name: estimate(scored, metric) for name, metric in METRICS[kind].items()}


def _test_scores(tested: Tested) -> Json:
    """Each metric over all seeds, with its spread between them."""
    scores = _estimates(tested.all_seeds(), tested.target.kind)
    for name, entry in scores.items():
        metric = METRICS[tested.target.kind][name]
        values = [score(metric, *tested.of_seed(seed)[:2]) for seed in tested.seeds]
        entry["by_seed"] = {str(seed): value for seed, value in zip(tested.seeds, values, strict=True)}
        entry["sd_of_seeds"] = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return scores


def _run_scores(run: Run, split: Json, tested: Tested) -> Json:
    test, validation = (read_predictions(run, tested.target, side) for side in ("test", "validation"))
    metrics, history = run.metrics(), run.history()
    of_kind = METRICS[tested.target.kind]
    return {
        "seed": run.seed,
        "fold": run.fold,
        "name": split["name"],
        **{name: score(of_kind[name], test.truth, test.values) for name in KINDS[tested.target.kind].MAIN},
        "validation_score": score(tested.primary, validation.truth, validation.values),
        "temperature": temperature_of(run),
        "n_clips": len(test.clip_ids),
        "n_subjects": len(np.unique(test.subjects)),
        "best_epoch": metrics.get("best_epoch"),
        "n_epochs": len(history),
        "stopped": metrics.get("stopped"),
        "minutes": sum(record["seconds"] for record in history) / 60,
    }


def _baseline(tested: Tested, series: Series, baseline: Tested) -> Json:
    mine, theirs = on_shared_clips(tested, baseline)
    n_shared = len(mine.clip_ids)
    return {
        "experiment": series.experiment.name,
        "signature": series.signature,
        "family": series.experiment.model.family,
        **_estimates(baseline.all_seeds(), tested.target.kind),
        "difference": differences(mine, theirs) if n_shared else None,
        "n_shared_clips": n_shared,
    }


def n_on_both_sides(split: Json) -> int:
    """Test subjects of a split.json that were trained or validated on, as far as it is known who they are."""
    trained_on = {*split["train"]["subjects"], *split["validation"]["subjects"]}
    return sum(not is_unknown(subject) for subject in trained_on & set(split["test"]["subjects"]))


def n_validated_elsewhere(splits: Iterable[Json]) -> int:
    """Test subjects of a fold who are validation subjects of another, and not its own."""
    validated: set[str] = set()
    tested: set[str] = set()
    for split in splits:
        validated.update(split["validation"]["subjects"])
        tested.update(set(split["test"]["subjects"]) - set(split["validation"]["subjects"]))
    return len(validated & tested)


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return float(np.mean(found)) if found else math.nan
