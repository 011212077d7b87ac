"""What search.html shows, in its own order: analysis.json and the trials as rows and sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import mien
from mien.results.json_values import Json
from mien.results.report.kinds import KINDS
from mien.results.report.page import digits, interval
from mien.results.report.search.drawings import height_label
from mien.results.report.search.importance import FEWEST_TRIALS
from mien.results.report.search.leaderboard import counts, other_row, ranked_row, short
from mien.results.report.search.pictures import MOST_PANELS
from mien.results.report.wording import LABELS, commands_again, search_sentence, statement
from mien.results.search_folder import SearchFolder, Trial

N_SHOWN = 8  # trials of a fold that stand in the open; the others unfold


def page_values(folder: SearchFolder, trials: Sequence[Trial], result: Json, drawings: Mapping[str, str]) -> Json:
    """What search.html shows, in its own order."""
    search, data, selection = folder.search, folder.data, result["selection"]
    paths = list(search.space)
    names = {fold["fold"]: fold["name"] for fold in result["folds"]}
    has_finals = any(trial.inner_score is not None for trial in trials)
    folds = []
    for fold in result["folds"]:
        own = [trial for trial in trials if trial.fold == fold["fold"]]
        best = folder.ranked(own)
        rows = [ranked_row(rank, trial, paths, has_finals=has_finals) for rank, trial in enumerate(best, start=1)]
        others = [trial for trial in own if trial not in best and trial.state != "failed"]
        folds.append(
            {
                "name": fold["name"],
                "counts": counts(fold["n_trials"]),
                "minutes": fold["minutes"],
                "shown": rows[:N_SHOWN],
                "more": rows[N_SHOWN:],
                "others": [other_row(trial, paths) for trial in sorted(others, key=lambda t: t.state)],
            }
        )
    failed = [trial for trial in trials if trial.state == "failed"]
    return {
        "result": result,
        "label": folder.metric.label,
        "lower_is_better": not folder.metric.higher_is_better,
        "measure": f"{KINDS[folder.target.kind].measure(folder.target)}, on test clips that no trial of their fold has "
        "seen",
        "data": data,
        "folder": folder.folder.uri,
        "paths": paths,
        "folds": folds,
        "has_finals": has_finals,
        "failed_rows": [
            (
                f"{names[t.fold]}, trial {t.number}",
                ", ".join(f"{path} {short(value)}" for path, value in t.point.items()),
                t.reason or "no reason given",
                t.n_epochs,
                t.attempts,
            )
            for t in failed
        ],
        "statement": _statement(result) if selection else "",
        "search_sentence": search_sentence(result, search.trials, search.grace_epochs),
        "label_text": LABELS.get(result["label_source"], result["label_source"]),
        "space_rows": list(search.space.items()),
        "importance_rows": _importance_rows(result),
        "fewest_trials": FEWEST_TRIALS,
        "height_label": height_label(names, folder.metric.label),
        "variant_rows": _variant_rows(result),
        "comparison_rows": [
            (question["path"], [_comparison_row(pair) for pair in question["comparisons"]])
            for question in result["questions"]
        ],
        "most_panels": MOST_PANELS,
        "commands": commands_again("search search.json", folder, search.experiment.execution),
        "alts": _alts(folder, result, trials, drawings),
        "mien_version": mien.__version__,
    }


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
        (name, digits(v["score"]["value"]), interval(v["score"]))
        if v["score"]
        else (name, "incomplete", f"{len(v['missing'])} run(s) missing: {v['missing'][0]['reason']}")
        for name, v in result["variants"].items()
    ]


def _comparison_row(pair: Json) -> Json:
    return {**pair, "label": f"{pair['values'][0]} − {pair['values'][1]}"}


def _statement(result: Json) -> str:
    selection = result["selection"]
    described = {key: result[key] for key in ("protocol", "group", "official", "label_source", "seeds")}
    described |= {key: selection[key] for key in ("n_clips", "n_subjects", "n_folds", "n_subjects_on_both_sides")}
    is_transductive = any(caveat["kind"] == "speaker-normalised" for caveat in result["caveats"])
    return statement(described | {"normalise": "speaker" if is_transductive else "train"})


def _alts(folder: SearchFolder, result: Json, trials: Sequence[Trial], drawings: Mapping[str, str]) -> dict[str, str]:
    """What each figure shows, for those who do not see it."""
    n, label = result["n_trials"], folder.metric.label
    ranking = ", ".join(f"{field['path']} {digits(field['value'])}" for field in result["importance"])
    done = folder.ranked([trial for trial in trials if trial.state == "done"])
    by_score = [
        sorted((t.score or 0.0 for t in done if t.fold == fold), key=folder.metric.key)
        for fold in {t.fold for t in done}
    ]
    best = [scores[-1] for scores in by_score]
    reached = f"from {digits(min(best))} to {digits(max(best))}" if best else "none yet"
    alts = {
        "variants": f"Test {label} of each variant with its interval; the numbers stand in the table below.",
        "importance": f"Importance of each field: {ranking}.",
        "parallel": f"Parallel coordinates of {n['done']} finished trials; all values stand in the leaderboard.",
        "slices": f"Validation score against each field, {n['done']} finished trials as dots, {n['pruned']} pruned as "
        "crosses; all values stand in the leaderboard.",
        "contour": "Validation score over the two most important numeric fields; deeper dots scored better.",
        "curves": f"Validation {label} by epoch of all trials; {n['pruned']} were pruned, which a cross marks.",
        "budget": f"Best validation {label} so far of each fold, by minutes and by trials; the folds end {reached}.",
    }
    return {name: words for name, words in alts.items() if name in drawings}
