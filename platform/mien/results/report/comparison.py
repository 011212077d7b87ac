"""Comparison of several Series on the clips that they share: table, forest plot and one page."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import permutations
from typing import Any

import numpy as np

import mien
from mien.errors import MienError
from mien.experiment.experiment import NOT_LEARNT
from mien.folder import Folder
from mien.results.intervals import holm
from mien.results.report import figures
from mien.results.report.outcomes import Outcomes, on_shared_clips, read_outcomes
from mien.results.report.page import family, p_value, render
from mien.results.report.settings import differing
from mien.results.report.summary import (
    NAMES,
    PAIRED,
    Json,
    as_json,
    differences,
    read_baseline,
    summarise,
    with_interval,
)
from mien.results.report.wording import PROTOCOLS, gap_sentence, measured_on
from mien.results.run import Series

GROUPED = ("by-subject", "loso")
# What compare.json repeats of each series' own summary.
KEPT = (
    *("experiment", "signature", "protocol", "label_source", "n_clips", "n_subjects", "seeds", "n_folds"),
    *("interval", "test", "caveats"),
)


def compare(series: Sequence[Series], out: str | os.PathLike[str]) -> list[str]:
    """Write compare.html, compare.json and compare.png to a folder; returns the paths, the page first.

    All are set against the first, on the clips that both tested, over the same resamples of subjects.
    Raises MienError for fewer than two, for one given twice, and where one has no finished run.
    """
    if len(series) < 2:
        raise MienError("a comparison takes two series or more; give the folders that `mien train` printed")
    if len({one.folder for one in series}) < len(series):
        raise MienError("a series is given twice; each is compared with the first, so give each once")
    outcomes = [read_outcomes(one) for one in series]
    labels = _labels(series)
    entries = [_entry(label, one, said) for label, one, said in zip(labels, series, outcomes, strict=True)]
    for entry, said in zip(entries[1:], outcomes[1:], strict=True):
        entry["difference"] = paired_difference(said, outcomes[0])
    compared = [entry["difference"]["uar"] for entry in entries[1:] if "uar" in entry["difference"]]
    for difference, p_adjusted in zip(compared, holm([one["p_value"] for one in compared]), strict=True):
        difference["p_adjusted"] = p_adjusted
    result: Json = as_json(
        {
            "reference": labels[0],
            "series": entries,
            "settings": differing([one.experiment for one in series]),
            "leakage": _leakage(series, outcomes, labels),
        }
    )
    forest = figures.forest(
        [
            figures.Estimate(e["label"], **{k: e["test"]["uar"][k] for k in ("value", "low", "high")})
            for e in result["series"]
        ],
        "Test UAR, 95 % interval over subjects",
        mark=result["series"][0]["test"]["uar"]["value"],
    )
    folder = Folder(out).make()
    folder.write_json("compare.json", result)
    folder.write_bytes("compare.png", figures.png(forest))
    values = {**result, "labels": labels, "mien_version": mien.__version__}
    folder.write_text("compare.html", render("compare.html", values, {"forest": figures.svg(forest)}))
    return [folder.path(name) for name in ("compare.html", "compare.json", "compare.png")]


def comparison_lines(result: Json) -> list[str]:
    """What a terminal shows of compare.json: the difference of each to the first, or why there is none; the gaps."""
    lines = []
    for one in result["series"][1:]:
        difference = one["difference"]
        if "reason" in difference:
            lines.append(f"{one['label']} is not compared with {result['reference']}: {difference['reason']}")
            continue
        told = [_told(NAMES[metric], difference[metric], len(result["series"]) > 2) for metric in PAIRED]
        n_clips = f"{difference['n_shared_clips']} shared clips"
        lines.append(f"{one['label']} less {result['reference']}, {n_clips}: {'; '.join(told)}")
    return lines + [gap["sentence"] for gap in result["leakage"]]


def _told(name: str, difference: Json, is_one_of_several: bool) -> str:
    adjusted = difference.get("p_adjusted")
    holm_p = f" (Holm {p_value(adjusted)})" if is_one_of_several and adjusted is not None else ""
    return f"{name} {with_interval(difference, signed=True)}, {p_value(difference['p_value'])}{holm_p}"


def _labels(series: Sequence[Series]) -> list[str]:
    """The name of each, with its signature where two have the same."""
    names = [one.experiment.name for one in series]
    return [
        name if names.count(name) == 1 else f"{name} {one.signature}" for name, one in zip(names, series, strict=True)
    ]


def _entry(label: str, series: Series, outcomes: Outcomes) -> Json:
    summary = summarise(series, outcomes, read_baseline(series))
    return {
        "label": label,
        "folder": series.folder.uri,
        "family": family(summary["family"]),
        "protocol_text": PROTOCOLS[summary["protocol"]],
        "tested_on": measured_on(summary),
        **{key: summary[key] for key in KEPT},
        "difference": None,
    }


def paired_difference(outcomes: Outcomes, reference: Outcomes) -> Json:
    """Each paired metric against the reference, and on which clips; or why there is none."""
    if outcomes.classes != reference.classes:
        return {"reason": "it tells other classes apart than the first"}
    mine, theirs = on_shared_clips(outcomes, reference)
    n_shared = len(mine.clip_ids)
    if not n_shared:
        return {"reason": "it was tested on none of the first one's clips"}
    n_relabelled = int(np.sum(mine.truth != theirs.truth))
    if n_relabelled:
        return {"reason": f"{n_relabelled} of the shared clips have another label than in the first"}
    return {
        "n_shared_clips": n_shared,
        "n_clips_of_one_only": len(outcomes.clip_ids) + len(reference.clip_ids) - 2 * n_shared,
        **differences(mine, theirs),
    }


def _leakage(series: Sequence[Series], outcomes: Sequence[Outcomes], labels: Sequence[str]) -> list[Json]:
    """The gap of each pair that differs in nothing but a grouped against a random protocol."""
    found = []
    for grouped, random in permutations(range(len(series)), 2):
        kinds = [series[i].experiment.protocol.kind for i in (grouped, random)]
        if kinds[0] not in GROUPED or kinds[1] != "random-leaky":
            continue
        if _asked(series[grouped]) != _asked(series[random]):
            continue
        difference = paired_difference(outcomes[random], outcomes[grouped])
        if "uar" not in difference:
            continue
        uar = as_json(difference["uar"])
        sentence = gap_sentence(labels[grouped], labels[random], uar, difference["n_shared_clips"])
        found.append({"grouped": labels[grouped], "random": labels[random], "uar": uar, "sentence": sentence})
    return found


def _asked(series: Series) -> Any:
    """All that decides what is learnt, but for the protocol."""
    left_out = (*NOT_LEARNT, "protocol")
    asked = {key: value for key, value in series.experiment.to_json().items() if key not in left_out}
    return asked, series.data["fingerprints"]
