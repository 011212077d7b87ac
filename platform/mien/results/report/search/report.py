"""The report of a search, from its directory alone: analysis.json, trials.csv, figures and one page.

Validation chooses, test answers: what a trial scored on validation clips is shown as what it was chosen by, and every
statement about how good or how much better is made of the test clips of models trained again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from mien.errors import MienError
from mien.experiment.space import Distribution, read_space
from mien.results.json_values import Json, as_json
from mien.results.report import figures
from mien.results.report.caveats import Caveat, caveats_of_data, caveats_of_protocol, caveats_of_subjects, listed
from mien.results.report.estimates import INTERVAL, estimate
from mien.results.report.page import render
from mien.results.report.search.ablation import ablation, read_variants, runs_of, variants_of
from mien.results.report.search.drawings import dots_of, draw
from mien.results.report.search.importance import N_REFITS, importances
from mien.results.report.search.page_values import page_values
from mien.results.report.summary import n_on_both_sides
from mien.results.report.tested import Tested
from mien.results.report.wording import official_lists
from mien.results.run import Series
from mien.results.search_folder import CHOSEN, SearchFolder, State, Trial, rank_score

STATES: tuple[State, ...] = ("done", "pruned", "failed", "running")


def report_search(folder: SearchFolder, n_refits: int = N_REFITS) -> list[str]:
    """Write the report of a search, finished or not; returns the paths, the page first.

    n_refits: of the importance, whose range is over them.

    Raises MienError where no trial was begun.
    """
    trials = folder.trials()
    if not trials:
        raise MienError(f"{folder.folder}: no trial was begun; `mien search {folder.folder}/search.json` goes on")
    tested, incomplete = read_variants(folder)
    space = dict(read_space(folder.search.experiment, folder.search.space))
    result = analyse(folder, trials, space, tested, incomplete, n_refits)
    drawn = draw(folder, trials, space, result)
    for name, figure in drawn.items():
        folder.folder.write_bytes(f"{name}.png", figures.png(figure))
    folder.folder.write_text("trials.csv", folder.frame().to_csv(index=False))
    folder.folder.write_json("analysis.json", result)
    drawings = {name: figures.svg(figure) for name, figure in drawn.items()}
    page = render("search.html", page_values(folder, trials, result, drawings), drawings)
    folder.folder.write_text("report.html", page)
    written = ("report.html", "analysis.json", "trials.csv", *(f"{name}.png" for name in drawn))
    return [folder.folder.path(name) for name in written]


def analyse(
    folder: SearchFolder,
    trials: Sequence[Trial],
    space: Mapping[str, Distribution],
    tested: Mapping[str, Tested],
    incomplete: Mapping[str, Any],
    n_refits: int = N_REFITS,
) -> Json:
    """What analysis.json holds; docs/reference/search-directory.md explains each key. NaN is None."""
    search, target, chosen = folder.search, folder.target, folder.chosen
    names = _fold_names(folder, trials)
    folds = [_fold(folder, number, name, trials, space, n_refits) for number, name in names.items()]
    variants = {
        name: {
            "question": variant["question"],
            "value": variant["value"],
            "score": estimate(tested[name].all_seeds(), folder.metric) if name in tested else None,
            "missing": [missing._asdict() for missing in incomplete.get(name, ())],
        }
        for name, variant in variants_of(folder).items()
    }
    dots = dots_of(folder, trials)
    done = [dot for dot in dots if dot.is_done]
    result = as_json(
        {
            "search": search.experiment.name,
            "question": search.experiment.question,
            "family": search.experiment.model.family,
            "protocol": search.experiment.protocol.kind,
            "group": search.experiment.protocol.group,
            "official": official_lists(search.experiment.protocol),
            "label_source": search.experiment.target.source,
            "target": {"kind": target.kind, "names": target.names, "primary": target.primary},
            "score_name": target.primary,
            "method": search.method,
            "pruner": search.pruner,
            "finalists": search.finalists,
            "keep": search.experiment.training.keep,
            "space": dict(search.space),
            "n_trials": {state: sum(trial.state == state for trial in trials) for state in STATES},
            "minutes": sum(trial.seconds for trial in trials) / 60,
            "folds": folds,
            "importance": [
                field._asdict()
                for field in importances(
                    [dot.point for dot in done], [dot.height for dot in done], space, n_refits=n_refits
                )
            ],
            "n_refits": n_refits,
            "seeds": list(chosen.get("seeds", ())),
            "variants": variants,
            "selection": _selection(folder, trials, tested.get(CHOSEN)),
            **ablation(folder, tested, incomplete),
            "interval": INTERVAL,
        }
    )
    result["caveats"] = [caveat._asdict() for caveat in _caveats(folder, result, incomplete)]
    return result


def _fold_names(folder: SearchFolder, trials: Sequence[Trial]) -> dict[int, str]:
    """Names of the folds that are searched, and of any other that holds trials, by number."""
    named = {int(fold): name for fold, name in folder.data.get("folds", {}).items()}
    return dict(sorted(({trial.fold: f"fold {trial.fold}" for trial in trials} | named).items()))


def _fold(
    folder: SearchFolder,
    number: int,
    name: str,
    trials: Sequence[Trial],
    space: Mapping[str, Distribution],
    n_refits: int,
) -> Json:
    own = [trial for trial in trials if trial.fold == number]
    done = folder.ranked(own)
    return {
        "fold": number,
        "name": name,
        "n_trials": {state: sum(trial.state == state for trial in own) for state in STATES},
        "winner": asdict(done[0]) if done else None,
        "minutes": sum(trial.seconds for trial in own) / 60,
        "importance": [
            {"path": field.path, "value": field.value, "low": field.low, "high": field.high}
            for field in importances(
                [trial.point for trial in done],
                [trial.score or 0.0 for trial in done],
                space,
                n_refits=n_refits,
                with_chance=False,
            )
        ],
    }


def _selection(folder: SearchFolder, trials: Sequence[Trial], chosen: Tested | None) -> Json | None:
    """What the winners were chosen by, and what they are worth: mean over folds of their validation score, test score.

    optimism: by how much validation looked better, whichever way the score runs.
    """
    if chosen is None:
        return None
    variant = folder.chosen["variants"][CHOSEN]
    tested: list[Trial] = []
    overtaken: list[int] = []
    for fold in chosen.folds:
        best = folder.ranked([trial for trial in trials if trial.fold == fold])
        # A search that went on after its test may have another winner by now.
        tested += [trial for trial in best if trial.signature == variant["signatures"][str(fold)]] or best[:1]
        overtaken += [fold] if best and tested[-1] != best[0] else []
    validation = float(np.mean([rank_score(trial) for trial in tested])) if tested else math.nan
    test = estimate(chosen.all_seeds(), folder.metric)
    splits = [run.split for run in runs_of(folder, variant).values()]
    return {
        "validation_score": validation,
        "n_compared": [len(folder.ranked([t for t in trials if t.fold == fold])) for fold in chosen.folds],
        "overtaken": overtaken,
        "test": test,
        "optimism": (validation - test["value"]) * (1 if folder.metric.higher_is_better else -1),
        "n_subjects": chosen.n_subjects,
        "n_clips": len(chosen.clip_ids),
        "n_folds": len(chosen.folds),
        "n_subjects_on_both_sides": max(map(n_on_both_sides, splits)),
    }


# ------------------------------------------------------------------ caveats


def _caveats(folder: SearchFolder, result: Json, incomplete: Mapping[str, Any]) -> list[Caveat]:
    """All that apply, the gravest first."""
    found: list[Caveat] = []
    variants = variants_of(folder)
    selection = result["selection"]
    series = [Series(folder.folder, folder.search.experiment)]
    if selection:
        found += caveats_of_protocol(result["protocol"], selection["n_subjects_on_both_sides"])
        series += [folder.series(signature) for signature in variants[CHOSEN]["signatures"].values()]
    elif result["protocol"] == "random-leaky":
        title = "Its protocol leaks"
        found.append(Caveat("random-leaky", True, title, "Clips are split at random: subjects stand on both sides."))
    found += {caveat.kind: caveat for one in series for caveat in caveats_of_data(one.data, one.experiment)}.values()
    found += _of_progress(result, bool(variants))
    if selection and selection["overtaken"]:
        found.append(
            Caveat(
                "overtaken",
                True,
                "Tested before the search went on",
                f"In fold {listed([str(fold) for fold in selection['overtaken']])} another trial leads by now; the "
                "test scores are of those that led when they were tested. The same command tests the new ones.",
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
                "So nothing is ranked and nothing was chosen. The table below shows how far each trial came.",
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
