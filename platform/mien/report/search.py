"""The report of a search, from its directory alone: analysis.json, trials.csv, figures and one page.

Validation chooses, test answers: what a trial scored on validation subjects is told as what it was chosen by, and every
statement about how good or how much better is made of the test clips of models trained again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

import mien
from mien.errors import MienError
from mien.experiment.space import Choice, Distribution, read_space
from mien.report import figures, search_figures
from mien.report.ablation import CHOSEN, ablation, read_variants, runs_of
from mien.report.caveats import Caveat, caveats_of_data, caveats_of_protocol, caveats_of_subjects, listed
from mien.report.importance import FEWEST_TRIALS, Importance, importances
from mien.report.outcomes import Outcomes
from mien.report.page import interval, render
from mien.report.page import score as digits
from mien.report.search_figures import Curve, Dot, Progress
from mien.report.settings import text
from mien.report.summary import BOOTSTRAP_SEED, LEVEL, N_RESAMPLES, as_json, n_on_both_sides, score
from mien.report.wording import LABELS, search_sentence, statement
from mien.runs import Series
from mien.trials import SearchFolder, State, Trial

STATES: tuple[State, ...] = ("done", "pruned", "failed", "running")
N_SHOWN = 8  # trials of a fold that stand in the open; the others unfold

Json = dict[str, Any]


def report_search(folder: SearchFolder) -> list[str]:
    """Write the report of a search, finished or not; returns the paths, the page first.

    Raises MienError where no trial was begun.
    """
    trials = folder.trials()
    if not trials:
        raise MienError(f"{folder.folder}: no trial was begun; `mien search {folder.folder}/search.json` goes on")
    outcomes, incomplete = read_variants(folder)
    space = dict(read_space(folder.search.experiment, folder.search.space))
    result = analyse(folder, trials, space, outcomes, incomplete)
    drawn = _draw(folder, trials, space, result)
    for name, figure in drawn.items():
        folder.folder.write_bytes(f"{name}.png", figures.png(figure))
    folder.folder.write_text("trials.csv", folder.frame().to_csv(index=False))
    folder.folder.write_json("analysis.json", result)
    drawings = {name: figures.svg(figure) for name, figure in drawn.items()}
    page = render("search.html", _page_values(folder, trials, result, drawings), drawings)
    folder.folder.write_text("report.html", page)
    written = ("report.html", "analysis.json", "trials.csv", *(f"{name}.png" for name in drawn))
    return [folder.folder.path(name) for name in written]


def analyse(
    folder: SearchFolder,
    trials: Sequence[Trial],
    space: Mapping[str, Distribution],
    outcomes: Mapping[str, Outcomes],
    incomplete: Mapping[str, Any],
) -> Json:
    """What analysis.json holds; docs/reference/search-directory.md explains each key. NaN is None."""
    search, data, chosen = folder.search, folder.data, folder.chosen
    names = _fold_names(folder, trials)
    folds = [_fold(folder, number, name, trials, space) for number, name in names.items()]
    tested = {
        name: {
            "question": variant["question"],
            "value": variant["value"],
            "uar": score(outcomes[name].all_seeds(), "uar") if name in outcomes else None,
            "missing": [missing._asdict() for missing in incomplete.get(name, ())],
        }
        for name, variant in chosen.get("variants", {}).items()
    }
    dots = _dots(folder, trials)
    done = [dot for dot in dots if dot.is_done]
    result = as_json(
        {
            "search": search.experiment.name,
            "question": search.experiment.question,
            "family": search.experiment.model.family,
            "protocol": search.experiment.protocol.kind,
            "label_source": data["label_source"],
            "method": search.method,
            "pruner": search.pruner,
            "space": dict(search.space),
            "n_trials": {state: sum(trial.state == state for trial in trials) for state in STATES},
            "minutes": sum(trial.seconds for trial in trials) / 60,
            "folds": folds,
            "importance": [
                field._asdict()
                for field in importances([dot.point for dot in done], [dot.height for dot in done], space)
            ],
            "seeds": list(chosen.get("seeds", ())),
            "variants": tested,
            "selection": _selection(folder, trials, outcomes.get(CHOSEN)),
            **ablation(folder, outcomes, incomplete),
            "interval": {
                "level": LEVEL,
                "over": "subjects",
                "method": "percentile bootstrap",
                "n_resamples": N_RESAMPLES,
                "seed": BOOTSTRAP_SEED,
            },
        }
    )
    result["caveats"] = [caveat._asdict() for caveat in _caveats(folder, result, incomplete)]
    return result


def _fold_names(folder: SearchFolder, trials: Sequence[Trial]) -> dict[int, str]:
    """Names of the folds that are searched, and of any other that holds trials, by number."""
    named = {int(fold): name for fold, name in folder.data.get("folds", {}).items()}
    return dict(sorted(({trial.fold: f"fold {trial.fold}" for trial in trials} | named).items()))


def _fold(
    folder: SearchFolder, number: int, name: str, trials: Sequence[Trial], space: Mapping[str, Distribution]
) -> Json:
    own = [trial for trial in trials if trial.fold == number]
    done = [trial for trial in own if trial.state == "done" and _is_score(trial.score)]
    winner = winner_of(own)
    return {
        "fold": number,
        "name": name,
        "n_trials": {state: sum(trial.state == state for trial in own) for state in STATES},
        "winner": asdict(winner) if winner else None,
        "minutes": sum(trial.seconds for trial in own) / 60,
        "importance": [
            {"path": field.path, "value": field.value, "low": field.low, "high": field.high}
            for field in importances(
                [trial.point for trial in done], [trial.score or 0.0 for trial in done], space, with_chance=False
            )
        ],
    }


def winner_of(trials: Sequence[Trial]) -> Trial | None:
    """The best of one fold's trials that trained to their end, as SearchFolder.winner; a score that is NaN is none."""
    return next(iter(ranked(trials)), None)


def ranked(trials: Sequence[Trial]) -> list[Trial]:
    """Those that trained to their end, the best first, of equals the first begun."""
    done = [trial for trial in trials if trial.state == "done" and _is_score(trial.score)]
    return sorted(done, key=lambda trial: (-(trial.score or 0.0), trial.number))


def _is_score(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _selection(folder: SearchFolder, trials: Sequence[Trial], outcomes: Outcomes | None) -> Json | None:
    """What the winners were chosen by, and what they are worth: mean of the folds' best validation UAR, test UAR."""
    if outcomes is None:
        return None
    variant = folder.chosen["variants"][CHOSEN]
    tested: list[Trial] = []
    overtaken: list[int] = []
    for fold in outcomes.folds:
        best = ranked([trial for trial in trials if trial.fold == fold])
        # A search that went on after its test may have another winner by now.
        tested += [trial for trial in best if trial.signature == variant["signatures"][str(fold)]] or best[:1]
        overtaken += [fold] if best and tested[-1] != best[0] else []
    validation = float(np.mean([trial.score for trial in tested])) if tested else math.nan
    test = score(outcomes.all_seeds(), "uar")
    splits = [run.folder.read_json("split.json") for run in runs_of(folder, variant).values()]
    return {
        "validation_uar": validation,
        "n_compared": [len(ranked([t for t in trials if t.fold == fold])) for fold in outcomes.folds],
        "overtaken": overtaken,
        "test": test,
        "optimism": validation - test["value"],
        "n_subjects": outcomes.n_subjects,
        "n_clips": len(outcomes.clip_ids),
        "n_folds": len(outcomes.folds),
        "n_subjects_on_both_sides": max(map(n_on_both_sides, splits)),
    }


def _dots(folder: SearchFolder, trials: Sequence[Trial]) -> list[Dot]:
    """Trials with a score; in several folds less the mean of the fold's finished ones. Folds without any are left out.

    A running or failed trial's score is of no known epoch: left out as well.
    """
    dots: list[Dot] = []
    folds = sorted({trial.fold for trial in trials})
    for fold in folds:
        own = [trial for trial in trials if trial.fold == fold]
        done = ranked(own)
        if not done:
            continue
        level = float(np.mean([trial.score or 0.0 for trial in done])) if len(folds) > 1 else 0.0
        for trial in own:
            if trial in done or (trial.state == "pruned" and _is_score(trial.score)):
                height = (trial.score or 0.0) - level
                dots.append(Dot(trial.point, height, trial.state == "done", trial == done[0]))
    return dots


# ------------------------------------------------------------------ caveats


def _caveats(folder: SearchFolder, result: Json, incomplete: Mapping[str, Any]) -> list[Caveat]:
    """All that apply, the gravest first."""
    found: list[Caveat] = []
    variants = folder.chosen.get("variants", {})
    selection = result["selection"]
    series = [Series(folder.folder, folder.search.experiment)]
    if selection:
        found += caveats_of_protocol(result["protocol"], selection["n_subjects_on_both_sides"])
        series += [folder.series(signature) for signature in variants[CHOSEN]["signatures"].values()]
    found += {caveat.kind: caveat for one in series for caveat in caveats_of_data(one)}.values()
    found += _of_progress(result, bool(variants))
    if selection and selection["overtaken"]:
        found.append(
            Caveat(
                "overtaken",
                True,
                "Tested before the search went on",
                f"In fold {listed([str(fold) for fold in selection['overtaken']])} another trial leads by now; the test "
                "scores are of those that led when they were tested. The same command tests the new ones.",
            )
        )
    if incomplete:
        parts = [f"{name}: {len(missing)} run(s), {missing[0].reason}" for name, missing in incomplete.items()]
        found.append(
            Caveat(
                "incomplete-variants",
                True,
                "Variants left out",
                f"Not all their runs are there, so they are in no comparison. {'; '.join(parts)}.",
            )
        )
    if selection:
        found += caveats_of_subjects(selection["n_subjects"])
        n_tested, n_all = selection["n_clips"], folder.data["n_clips"]
        if n_tested < n_all:
            found.append(
                Caveat(
                    "partly-tested",
                    True,
                    "Not all folds are searched",
                    f"The test scores are of {n_tested:,} of {n_all:,} clips: those of the folds that were searched.",
                )
            )
    return found


def _of_progress(result: Json, is_over: bool) -> list[Caveat]:
    n = result["n_trials"]
    if not n["done"]:
        return [
            Caveat(
                "no-trial-done",
                True,
                "No trial has finished",
                "So nothing is ranked and nothing was chosen. The table below says how far each trial came.",
            )
        ]
    if n["running"] or not is_over:
        going = f"{n['running']} trial(s) are not finished" if n["running"] else "No winner has met the test clips yet"
        return [
            Caveat(
                "unfinished",
                True,
                "The search is not over",
                f"{going}; what stands here may change. The same command goes on where it stopped.",
            )
        ]
    lacking = [fold["name"] for fold in result["folds"] if not fold["winner"]]
    if lacking:
        title = "Folds without a winner"
        return [Caveat("no-winner", True, title, f"No trial of {', '.join(lacking)} trained to its end.")]
    return []


# ------------------------------------------------------------------ figures


def _draw(
    folder: SearchFolder, trials: Sequence[Trial], space: Mapping[str, Distribution], result: Json
) -> dict[str, Any]:
    """Name to figure; only those for which there is something to draw."""
    drawn: dict[str, Any] = {}
    names = {fold["fold"]: fold["name"] for fold in result["folds"]}
    dots = _dots(folder, trials)
    done = [dot for dot in dots if dot.is_done]
    label = _height_label(names)
    estimates = [
        figures.Estimate(name, **{key: variant["uar"][key] for key in ("value", "low", "high")})
        for name, variant in result["variants"].items()
        if variant["uar"]
    ]
    if estimates:
        drawn["variants"] = figures.forest(estimates, "Test UAR, 95 % interval over subjects", mark=estimates[0].value)
    if result["importance"]:
        by_fold = [{field["path"]: field["value"] for field in fold["importance"]} for fold in result["folds"]]
        pooled = [Importance(**field) for field in result["importance"]]
        drawn["importance"] = search_figures.importance(pooled, by_fold if len(by_fold) > 1 else [])
    if len(done) > 1:
        drawn["parallel"] = search_figures.parallel(done, space, label)
        drawn["slices"] = search_figures.slices(dots, space, label)
        pair = _two_numeric(result, space)
        if pair:
            drawn["contour"] = search_figures.contour(dots, *((path, space[path]) for path in pair))
    curves = _curves(folder, trials, names)
    if any(len(curve.values) > 1 for found in curves.values() for curve in found):
        drawn["curves"] = search_figures.curves(curves)
    progress = [p for p in (_progress(names[fold], trials, fold) for fold in names) if np.isfinite(p.best).sum() > 1]
    if progress:
        drawn["budget"] = search_figures.budget(progress)
    return drawn


def _height_label(names: Mapping[int, str]) -> str:
    return "Validation UAR, less its fold's mean" if len(names) > 1 else "Validation UAR"


def _two_numeric(result: Json, space: Mapping[str, Distribution]) -> list[str]:
    """The two most important ranges; without an importance the first two. Empty where there are fewer."""
    paths = [field["path"] for field in result["importance"]] or list(space)
    numeric = [path for path in paths if not isinstance(space[path], Choice)]
    return numeric[:2] if len(numeric) > 1 else []


def _curves(folder: SearchFolder, trials: Sequence[Trial], names: Mapping[int, str]) -> dict[str, list[Curve]]:
    found: dict[str, list[Curve]] = {}
    for number, name in names.items():
        own = [trial for trial in trials if trial.fold == number]
        winner = winner_of(own)
        histories = [(trial, folder.history(trial)) for trial in own]
        found[name] = [
            Curve([_number(record.get("validation_uar")) for record in history], trial.state, trial == winner)
            for trial, history in histories
            if history
        ]
    return {name: curves for name, curves in found.items() if curves}


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _progress(name: str, trials: Sequence[Trial], fold: int) -> Progress:
    """In the order in which trials ended. Time that pruned and failed ones took counts, their scores do not."""
    ended = sorted((t for t in trials if t.fold == fold and t.ended_s is not None), key=lambda t: t.ended_s or 0.0)
    minutes = np.cumsum([trial.seconds / 60 for trial in ended])
    scores = [_number(trial.score) if trial.state == "done" else math.nan for trial in ended]
    best = np.fmax.accumulate(np.array(scores, dtype=float)) if scores else np.array([])
    return Progress(name, minutes.tolist(), best.tolist())


# ------------------------------------------------------------------ page


def _page_values(folder: SearchFolder, trials: Sequence[Trial], result: Json, drawings: Mapping[str, str]) -> Json:
    """What search.html shows, in its own order."""
    search, data, selection = folder.search, folder.data, result["selection"]
    paths = list(search.space)
    names = {fold["fold"]: fold["name"] for fold in result["folds"]}
    folds = []
    for fold in result["folds"]:
        own = [trial for trial in trials if trial.fold == fold["fold"]]
        best = ranked(own)
        rows = [_ranked_row(rank, trial, paths) for rank, trial in enumerate(best, start=1)]
        others = [trial for trial in own if trial not in best and trial.state != "failed"]
        folds.append(
            {
                "name": fold["name"],
                "counts": _counts(fold["n_trials"]),
                "minutes": fold["minutes"],
                "shown": rows[:N_SHOWN],
                "more": rows[N_SHOWN:],
                "others": [_other_row(trial, paths) for trial in sorted(others, key=lambda t: t.state)],
            }
        )
    failed = [trial for trial in trials if trial.state == "failed"]
    return {
        "result": result,
        "data": data,
        "folder": folder.folder.uri,
        "paths": paths,
        "folds": folds,
        "failed_rows": [
            (
                f"{names[t.fold]}, trial {t.number}",
                ", ".join(f"{path} {_short(value)}" for path, value in t.point.items()),
                t.reason or "no reason given",
                t.n_epochs,
                t.attempts,
            )
            for t in failed
        ],
        "statement": _statement(result) if selection else "",
        "search_sentence": search_sentence(result, search.trials),
        "label_text": LABELS.get(data["label_source"], data["label_source"]),
        "space_rows": list(search.space.items()),
        "importance_rows": _importance_rows(result),
        "fewest_trials": FEWEST_TRIALS,
        "height_label": _height_label(names),
        "variant_rows": _variant_rows(result),
        "comparison_rows": [
            (question["path"], [_comparison_row(pair) for pair in question["comparisons"]])
            for question in result["questions"]
        ],
        "most_panels": search_figures.MOST_PANELS,
        "commands": (f"mien search {folder.folder}/search.json", f"mien report {folder.folder}"),
        "alts": _alts(result, drawings),
        "mien_version": mien.__version__,
    }


def _counts(n_trials: Mapping[str, int]) -> str:
    """ "12 trials: 8 done, 3 pruned, 1 failed" """
    total = sum(n_trials.values())
    parts = ", ".join(f"{n} {state}" for state, n in n_trials.items() if n)
    return f"{total} {'trial' if total == 1 else 'trials'}: {parts}" if parts else "no trial yet"


def _ranked_row(rank: int, trial: Trial, paths: Sequence[str]) -> tuple[Any, ...]:
    return (
        "winner" if rank == 1 else f"{rank}",
        digits(trial.score),
        *(_short(trial.point.get(path)) for path in paths),
        f"{trial.epoch} of {trial.n_epochs}",
        f"{trial.seconds:,.0f}",
        trial.number,
    )


def _other_row(trial: Trial, paths: Sequence[str]) -> tuple[Any, ...]:
    score = trial.score if _is_score(trial.score) else None
    return (
        trial.number,
        trial.state,
        trial.reason or ("its score is not a number" if trial.state == "done" else ""),
        digits(score),
        f"{trial.n_epochs}",
        f"{trial.seconds:,.0f}",
        *(_short(trial.point.get(path)) for path in paths),
    )


def _short(value: Any) -> str:
    """A value as a person would note it: four digits do for a number drawn at random."""
    return f"{value:.4g}" if isinstance(value, float) else text(value)


def _importance_rows(result: Json) -> list[tuple[Any, ...]]:
    by_fold = [{f["path"]: f["value"] for f in fold["importance"]} for fold in result["folds"]]
    return [
        (
            field["path"],
            digits(field["value"]),
            interval(field),
            digits(field["chance"]),
            "more than chance" if field["value"] > field["chance"] else "not told from chance",
            *(digits(found.get(field["path"])) for found in (by_fold if len(by_fold) > 1 else [])),
        )
        for field in result["importance"]
    ]


def _variant_rows(result: Json) -> list[tuple[str, str, str]]:
    return [
        (name, digits(v["uar"]["value"]), interval(v["uar"]))
        if v["uar"]
        else (name, "incomplete", f"{len(v['missing'])} run(s) missing: {v['missing'][0]['reason']}")
        for name, v in result["variants"].items()
    ]


def _comparison_row(pair: Json) -> Json:
    return {**pair, "label": f"{pair['values'][0]} − {pair['values'][1]}"}


def _statement(result: Json) -> str:
    selection = result["selection"]
    described = {key: result[key] for key in ("protocol", "label_source", "seeds")}
    described |= {key: selection[key] for key in ("n_clips", "n_subjects", "n_folds", "n_subjects_on_both_sides")}
    return statement(described)


def _alts(result: Json, drawings: Mapping[str, str]) -> dict[str, str]:
    """What each figure shows, for those who do not see it."""
    n = result["n_trials"]
    ranking = ", ".join(f"{field['path']} {digits(field['value'])}" for field in result["importance"])
    winners = [fold["winner"]["score"] for fold in result["folds"] if fold["winner"]]
    reached = f"from {digits(min(winners))} to {digits(max(winners))}" if winners else "none yet"
    alts = {
        "variants": "Test UAR of each variant with its interval; the numbers stand in the table below.",
        "importance": f"Importance of each field: {ranking}.",
        "parallel": f"Parallel coordinates of {n['done']} finished trials; all values stand in the leaderboard.",
        "slices": f"Validation score against each field, {n['done']} finished trials as dots, {n['pruned']} pruned as "
        "crosses; all values stand in the leaderboard.",
        "contour": "Validation score over the two most important numeric fields; deeper dots scored better.",
        "curves": f"Validation UAR by epoch of all trials; {n['pruned']} were pruned, which a cross marks.",
        "budget": f"Best validation UAR so far of each fold, by minutes and by trials; the folds end {reached}.",
    }
    return {name: words for name, words in alts.items() if name in drawings}
