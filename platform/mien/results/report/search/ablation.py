"""Ablation: the variants that a search trained again and tested, paired over subjects, and what follows in words."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np

from mien.results.intervals import Scored
from mien.results.json_values import Json, as_json
from mien.results.metrics import Metric, metric_named, score
from mien.results.report.caveats import listed
from mien.results.report.comparison import paired_difference
from mien.results.report.estimates import correct, gain, standing
from mien.results.report.page import digits, interval, p_value
from mien.results.report.tested import Missing, Tested, read_test_sides, stack
from mien.results.report.wording import too_few
from mien.results.run import Run
from mien.results.scoring import Floats
from mien.results.search_folder import CHOSEN, DECLARED, SearchFolder
from mien.results.settings import text


def read_variants(folder: SearchFolder) -> tuple[dict[str, Tested], dict[str, tuple[Missing, ...]]]:
    """Test clips of each variant that has all its runs, and what is missing of each other one.

    All are asked for the same: every seed of chosen.json on every fold for which there is a chosen one.
    """
    variants = variants_of(folder)
    if not variants:
        return {}, {}
    target, seeds = folder.target, tuple(folder.chosen["seeds"])
    folds = tuple(sorted(int(fold) for fold in variants[CHOSEN]["signatures"]))
    whole: dict[str, Tested] = {}
    incomplete: dict[str, tuple[Missing, ...]] = {}
    for name, variant in variants.items():
        runs = runs_of(folder, variant)
        absent = [Missing(seed, fold, "not started") for seed in seeds for fold in folds if (seed, fold) not in runs]
        tested, missing = read_test_sides(runs, target)
        if missing or absent or not tested:
            incomplete[name] = (*missing, *absent)
        else:
            whole[name] = stack(folder.folder, target, tested, seeds, folds)
    return whole, incomplete


def variants_of(folder: SearchFolder) -> dict[str, Any]:
    """Name to variant; empty before the search is over, and where no fold has a winner."""
    variants = folder.chosen.get("variants", {})
    return variants if variants and variants[CHOSEN]["signatures"] else {}


def runs_of(folder: SearchFolder, variant: Mapping[str, Any]) -> dict[tuple[int, int], Run]:
    """The runs of a variant whose Series is there, by seed and fold."""
    return {
        (seed, int(fold)): folder.series(signature).run(seed, int(fold))
        for seed in folder.chosen["seeds"]
        for fold, signature in sorted(variant["signatures"].items())
        if (folder.folder / signature).exists("experiment.json")
    }


def ablation(
    folder: SearchFolder,
    tested: Mapping[str, Tested],
    incomplete: Mapping[str, Any],
) -> Json:
    """The chosen against the declared, and all values of each question against each other.

    {"declared": comparison or None, "questions": [{"path", "reference", "values", "comparisons", "missing",
    "sentence"}], "n_comparisons"}. p_adjusted holds over all comparisons together (Holm). The reference of a question
    is its first value.
    """
    variants = variants_of(folder)
    declared = compared(DECLARED, CHOSEN, tested) if {DECLARED, CHOSEN} <= set(tested) else None
    questions: list[Json] = []
    for path in dict.fromkeys([*folder.search.questions, *(v["question"] for v in variants.values())]):
        if not path:
            continue
        names = [name for name, variant in variants.items() if variant["question"] == path]
        there = [name for name in names if name in tested]
        pairs = [compared(one, other, tested) for one, other in combinations(there, 2)]
        questions.append(
            {
                "path": path,
                "reference": there[0] if there else None,
                "values": names,
                "missing": [name for name in names if name in incomplete],
                "comparisons": pairs,
            }
        )
    everything = [pair for question in questions for pair in question["comparisons"]] + ([declared] if declared else [])
    paired = [pair for pair in everything if "difference" in pair]
    correct([pair["difference"] for pair in paired])
    for pair in everything:
        pair["values"] = [_value(variants[name], name) for name in (pair["variant"], pair["reference"])]
        pair["verdict"] = verdict(pair)
    for question in questions:
        question["sentence"] = question_sentence(question)
    return {"declared": declared, "questions": questions, "n_comparisons": len(paired)}


def compared(reference: str, variant: str, tested: Mapping[str, Tested]) -> Json:
    """variant minus reference on the same clips and seeds: the score's difference with interval and p, and the effect
    size; or a reason."""
    found = paired_difference(tested[variant], tested[reference])
    name, metric = tested[reference].target.primary, tested[reference].primary
    pair: Json = {"variant": variant, "reference": reference, "score_name": name}
    if name not in found:
        return {**pair, "reason": found["reason"]}
    of_subjects = [_scores_of_subjects(tested[which].all_seeds(), metric) for which in (variant, reference)]
    dz = cohens_dz(of_subjects[0] - of_subjects[1])
    return {**pair, "n_subjects": tested[variant].n_subjects, "difference": as_json(found[name]), "dz": dz}


def cohens_dz(differences: Floats) -> float | None:
    """Mean of the subjects' own differences over their standard deviation; None with one, or where all are the same.

    A difference that is not defined (NaN) is left out.

    >>> cohens_dz(np.array([0.1, 0.2, 0.3]))
    2.0
    """
    differences = differences[~np.isnan(differences)]
    spread = float(np.std(differences, ddof=1)) if len(differences) > 1 else 0.0
    return round(float(np.mean(differences)) / spread, 6) if spread > 1e-12 else None


def verdict(pair: Mapping[str, Any]) -> str:
    """What the data support of one comparison, without its numbers."""
    if "reason" in pair:
        return f"not compared: {pair['reason']}"
    variant, reference = pair["values"]
    found, kind = gain(pair["difference"], metric_named(pair["score_name"])), _kind(pair)
    if kind == "untold":
        return UNTOLD
    if kind == "few":
        return f"no difference is shown: {too_few(pair['n_subjects'])}"
    if kind == "open":
        return (
            f"these data show no difference; more than {digits(max(0.0, found['high']))} in favour of {variant}, or "
            f"{digits(max(0.0, -found['low']))} in favour of {reference}, is unlikely"
        )
    better, worse = (variant, reference) if found["value"] > 0 else (reference, variant)
    if kind == "hint":
        return f"a hint that {better} is better than {worse}, but among all comparisons here it may well be chance"
    return f"these data support that {better} is better than {worse}"


def question_sentence(question: Mapping[str, Any]) -> str:
    """One plain sentence: what the data do and do not support."""
    path, pairs = question["path"], question["comparisons"]
    missing = question["missing"]
    if not pairs:
        why = f"not all runs of {listed(missing)} are finished" if missing else "its values have not been tested yet"
        return f"{path}: no answer yet, {why}."
    left_out = f"; {listed(missing)} not finished, so left out" if missing else ""
    if len(pairs) == 1:
        variant, reference = pairs[0]["values"]
        said = f", {numbers(pairs[0])}" if "difference" in pairs[0] else ""
        return f"{path}: {variant} against {reference}{said}: {pairs[0]['verdict']}{left_out}."
    against = [pair for pair in pairs if pair["reference"] == question["reference"]]
    others = [pair for pair in pairs if pair not in against and "difference" in pair and _kind(pair) == "clear"]
    parts = [
        words.format(
            listed([f"{pair['values'][0]} ({_short(pair)})" for pair in of_kind]), "is" if len(of_kind) == 1 else "are"
        )
        for kind, sign, words in SAID
        if (of_kind := [pair for pair in against if _kind(pair) == kind and sign in (0, _sign(pair))])
    ]
    parts += [
        f"{pair['values'][0]} is {'better' if _sign(pair) > 0 else 'worse'} than {pair['values'][1]} ({_short(pair)})"
        for pair in others
    ]
    few = next((pair["n_subjects"] for pair in pairs if _kind(pair) == "few"), None)
    why = f"; {too_few(few)}" if few else ""
    return f"{path}: against {against[0]['values'][1]}, {'; '.join(parts)}{why}{left_out}."


UNTOLD = "there is no interval, so nothing can be told"

# What is said of values against the reference: kind, sign (0: either), words.
SAID = (
    ("clear", 1, "these data support that {} {} better"),
    ("clear", -1, "these data support that {} {} worse"),
    ("hint", 1, "there is no more than a hint that {} {} better"),
    ("hint", -1, "there is no more than a hint that {} {} worse"),
    ("open", 0, "these data show no difference for {}"),
    ("few", 0, "no difference is shown for {}"),
    ("untold", 0, "there is no interval for {}, so nothing can be told"),
    ("none", 0, "there is no comparison with {}"),
)


def _kind(pair: Mapping[str, Any]) -> str:
    """Its `standing`; none: not compared."""
    return "none" if "reason" in pair else standing(pair["difference"])


def _sign(pair: Mapping[str, Any]) -> int:
    """1 where the variant scored better, -1 where worse."""
    if "difference" not in pair:
        return 0
    return int(np.sign(gain(pair["difference"], metric_named(pair["score_name"]))["value"]))


def numbers(pair: Mapping[str, Any]) -> str:
    """As "+0.006 UAR, 95 % interval −0.004 to +0.018, corrected p = 0.560"."""
    found, label = pair["difference"], metric_named(pair["score_name"]).label
    if found["low"] is None:
        return f"{digits(found['value'], signed=True)} {label}, no interval"
    return (
        f"{digits(found['value'], signed=True)} {label}, 95 % interval {interval(found, signed=True)}, "
        f"corrected {p_value(found['p_adjusted'])}"
    )


def _short(pair: Mapping[str, Any]) -> str:
    """Numbers of one pair among several: what each is stands below the sentences."""
    if "reason" in pair:
        return str(pair["reason"])
    found = pair["difference"]
    numbers = f"{digits(found['value'], signed=True)}, {interval(found, signed=True)}"
    return f"{numbers}, {p_value(found['p_adjusted'])}" if found["low"] is not None else numbers


def _value(variant: Mapping[str, Any], name: str) -> str:
    """The value of a question as text; of the others the name."""
    return text(variant["value"]) if variant["question"] else name


def _scores_of_subjects(scored: Scored, metric: Metric) -> Floats:
    """Score of each subject's own clips, over all seeds, by subject."""
    truth, prediction, subjects = map(np.asarray, scored)
    return np.array(
        [score(metric, truth[own], prediction[own]) for own in (subjects == s for s in np.unique(subjects))]
    )
